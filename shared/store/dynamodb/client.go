package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// Why a call could not be served. Every error that is not one of the contract's, or the context's, is one of these.
var (
	ErrThrottled   = errors.New("DynamoDB takes no more now")               // by partition, table or account; also when one item is in too much demand
	ErrUnavailable = errors.New("DynamoDB does not answer")                 // no connection, a timeout or an internal error
	ErrDenied      = errors.New("DynamoDB refuses the credentials")         // missing, wrong, or without a permission
	ErrTable       = errors.New("not a table of this program")              // missing, or of another schema
	ErrTooLarge    = errors.New("larger than this store can keep")          // a document, or one of its names
	ErrBadCall     = errors.New("DynamoDB does not understand the request") // ours to repair
	errClosed      = errors.New("dynamodb store is closed")
)

const (
	// attemptTimeout ends a try that hangs, so that there is time for another.
	attemptTimeout = 2 * time.Second
	// tries bounds the tries after throttling and failures, conflicts those after a collision with a transaction.
	tries, conflicts = 4, 12
	// firstPause is the mean pause before the second try; it doubles.
	firstPause = 15 * time.Millisecond
)

// verdict is what an error means for the next step.
type verdict int

const (
	final  verdict = iota
	again          // the try changed nothing
	unsure         // the try may have been carried out
	collided
)

// call does one request, again where that helps, within ctx and the store's timeout. resent tells that an earlier try
// may have been carried out without us hearing of it.
func call[O any](ctx context.Context, s *Store, op string, once func(context.Context) (O, error)) (out O, resent bool, err error) {
	if s.closed.Load() {
		return out, false, errClosed
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for n := 1; ; n++ {
		attempt, stop := context.WithTimeout(ctx, attemptTimeout)
		out, err = once(attempt)
		stop()
		if err == nil {
			return out, resent, nil
		}
		v := judge(err)
		most := tries
		switch v {
		case final:
			return out, resent, err
		case unsure:
			resent = true
		case collided:
			most = conflicts
		}
		if n >= most || wait(ctx, n) != nil {
			return out, resent, s.fail(ctx, op, err)
		}
	}
}

// wait pauses before the next try, at random so that callers spread.
func wait(ctx context.Context, n int) error {
	t := time.NewTimer(time.Duration(rand.Int64N(int64(firstPause) << min(n, 5))))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// throttles are the codes of errors and of reasons in a cancelled transaction that mean: slower.
func throttled(code string) bool {
	switch code {
	case "ProvisionedThroughputExceededException", "ProvisionedThroughputExceeded", "ThrottlingException", "ThrottlingError",
		"RequestLimitExceeded", "Throttling", "LimitExceededException":
		return true
	}
	return false
}

func judge(err error) verdict {
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		v := final
		for _, r := range cancelled.CancellationReasons {
			switch code := text(r.Code); {
			case code == "ConditionalCheckFailed":
				return final
			case code == "TransactionConflict":
				v = collided
			case throttled(code):
				v = again
			}
		}
		return v
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		if errors.Is(err, context.Canceled) {
			return final
		}
		var denied *credentialsError
		if errors.As(err, &denied) {
			return final
		}
		return unsure // the network
	}
	switch code := api.ErrorCode(); {
	case throttled(code):
		return again
	case code == "TransactionConflictException", code == "TransactionInProgressException":
		return collided
	case code == "InternalServerError", code == "ServiceUnavailable", api.ErrorFault() == smithy.FaultServer:
		return unsure
	}
	return final
}

// credentialsError tells that no credentials could be had.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// fail gives an error of the SDK its kind and one line. The contract's errors pass. ctx is the caller's.
func (s *Store) fail(ctx context.Context, op string, err error) error {
	for _, known := range []error{ErrThrottled, ErrUnavailable, ErrDenied, ErrTable, ErrTooLarge, ErrBadCall, errClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return fmt.Errorf("dynamodb: %s: %w", op, ctx.Err())
	}
	why, kind := classify(err)
	return fmt.Errorf("dynamodb: %s: %w: %s%w", op, kind, why, hidden{err})
}

// hidden keeps an error for errors.Is and errors.As without its text, which names hosts and requests.
type hidden struct{ error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.error }

func classify(err error) (why string, kind error) {
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		codes := ""
		for _, r := range cancelled.CancellationReasons {
			if c := text(r.Code); c != "" && c != "None" {
				codes = c
			}
		}
		if codes == "ValidationError" {
			return codes, ErrBadCall
		}
		return "transaction cancelled: " + codes, ErrThrottled
	}
	var denied *credentialsError
	if errors.As(err, &denied) {
		return "no AWS credentials were found", ErrDenied
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		if errors.Is(err, context.DeadlineExceeded) {
			return "no answer in time", ErrUnavailable
		}
		return "no connection", ErrUnavailable
	}
	switch code := api.ErrorCode(); {
	case throttled(code), code == "TransactionConflictException", code == "TransactionInProgressException":
		return code, ErrThrottled
	case code == "ResourceNotFoundException":
		return "there is no such table in this region", ErrTable
	case code == "AccessDeniedException", code == "UnrecognizedClientException", code == "InvalidSignatureException",
		code == "ExpiredTokenException", code == "MissingAuthenticationTokenException", code == "InvalidClientTokenId",
		code == "IncompleteSignatureException", code == "NotAuthorized":
		return code, ErrDenied
	case code == "ItemCollectionSizeLimitExceededException":
		return code, ErrTooLarge
	case judge(err) == unsure:
		return code, ErrUnavailable
	default:
		return code + ": " + api.ErrorMessage(), ErrBadCall
	}
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// unmet reports whether a condition failed, and the item as it was then; nil when there is none.
func unmet(err error) (old item, ok bool) {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return failed.Item, true
	}
	return nil, false
}

// get reads one item, strongly consistent; nil when there is none. fields "" means all of it.
func (s *Store) get(ctx context.Context, op string, k item, fields string) (item, error) {
	in := &sdk.GetItemInput{TableName: &s.table, Key: k, ConsistentRead: yes()}
	if fields != "" {
		in.ProjectionExpression = &fields
	}
	out, _, err := call(ctx, s, op, func(ctx context.Context) (*sdk.GetItemOutput, error) { return s.db.GetItem(ctx, in) })
	if err != nil {
		return nil, s.fail(ctx, op, err)
	}
	return out.Item, nil
}

func (s *Store) put(ctx context.Context, op string, in *sdk.PutItemInput) (resent bool, err error) {
	in.TableName = &s.table
	_, resent, err = call(ctx, s, op, func(ctx context.Context) (*sdk.PutItemOutput, error) { return s.db.PutItem(ctx, in) })
	return resent, err
}

func (s *Store) update(ctx context.Context, op string, in *sdk.UpdateItemInput) (new item, resent bool, err error) {
	in.TableName = &s.table
	out, resent, err := call(ctx, s, op, func(ctx context.Context) (*sdk.UpdateItemOutput, error) { return s.db.UpdateItem(ctx, in) })
	if err != nil {
		return nil, resent, err
	}
	return out.Attributes, resent, nil
}

func (s *Store) transact(ctx context.Context, op string, writes []types.TransactWriteItem) error {
	in := &sdk.TransactWriteItemsInput{TransactItems: writes}
	_, _, err := call(ctx, s, op, func(ctx context.Context) (*sdk.TransactWriteItemsOutput, error) {
		return s.db.TransactWriteItems(ctx, in)
	})
	return err
}

// span is a range of sort keys in one partition, both ends inclusive. The ends "" are open.
type span struct {
	pk       string
	from, to string
	down     bool   // the last first
	fields   string // "": all
	limit    int32  // of a page; 0: none
}

// query calls fn for the items of a span in order until fn returns false or an error.
func (s *Store) query(ctx context.Context, op string, q span, fn func(item) (more bool, err error)) error {
	cond, values := "PK = :p", item{":p": str(q.pk)}
	switch {
	case q.from != "" && q.to != "":
		if q.from > q.to {
			return nil
		}
		cond, values[":a"], values[":b"] = cond+" AND SK BETWEEN :a AND :b", str(q.from), str(q.to)
	case q.from != "":
		cond, values[":a"] = cond+" AND SK >= :a", str(q.from)
	case q.to != "":
		cond, values[":b"] = cond+" AND SK <= :b", str(q.to)
	}
	up := !q.down
	in := &sdk.QueryInput{TableName: &s.table, ConsistentRead: yes(), KeyConditionExpression: &cond, ExpressionAttributeValues: values, ScanIndexForward: &up}
	if q.fields != "" {
		in.ProjectionExpression = &q.fields
	}
	if q.limit > 0 {
		in.Limit = &q.limit
	}
	for {
		out, _, err := call(ctx, s, op, func(ctx context.Context) (*sdk.QueryOutput, error) { return s.db.Query(ctx, in) })
		if err != nil {
			return s.fail(ctx, op, err)
		}
		for _, it := range out.Items {
			if more, err := fn(it); err != nil || !more {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// batch writes many items, each by itself, until all are.
func (s *Store) batch(ctx context.Context, op string, writes []types.WriteRequest) error {
	for n := 1; len(writes) > 0; n++ {
		k := min(len(writes), 25)
		in := &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{s.table: writes[:k]}}
		out, _, err := call(ctx, s, op, func(ctx context.Context) (*sdk.BatchWriteItemOutput, error) { return s.db.BatchWriteItem(ctx, in) })
		if err != nil {
			return s.fail(ctx, op, err)
		}
		writes = writes[k:]
		if left := out.UnprocessedItems[s.table]; len(left) > 0 {
			if n >= 100 {
				return s.fail(ctx, op, ErrThrottled)
			}
			writes = append(left, writes...)
			if err := wait(ctx, 3); err != nil {
				return s.fail(ctx, op, err)
			}
		}
	}
	return nil
}

func putRequest(it item) types.WriteRequest {
	return types.WriteRequest{PutRequest: &types.PutRequest{Item: it}}
}

func deleteRequest(k item) types.WriteRequest {
	return types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: k}}
}

func yes() *bool { return new(true) }
