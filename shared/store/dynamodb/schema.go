package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store"
)

// schemaVersion is what this program writes; it can serve tables whose compatible version is not above it.
const schemaVersion = 1

func schemaKey() item { return key("S", "S") }

// CreateTable makes the table that the URL names, on demand and with TTL, and waits until it can be used. A table that is
// there already is checked and left as it is, but for TTL, which is switched on where it is off. It needs the permissions
// dynamodb:CreateTable, DescribeTable, DescribeTimeToLive, UpdateTimeToLive, GetItem and PutItem.
func CreateTable(ctx context.Context, rawURL string) error {
	s, err := connect(ctx, rawURL, Options{})
	if err != nil {
		return err
	}
	_, _, err = call(ctx, s, "create the table", func(ctx context.Context) (*sdk.CreateTableOutput, error) {
		return s.db.CreateTable(ctx, &sdk.CreateTableInput{
			TableName: &s.table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{attribute("PK"), attribute("SK")},
			KeySchema:            []types.KeySchemaElement{element("PK", types.KeyTypeHash), element("SK", types.KeyTypeRange)},
		})
	})
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return s.explain(ctx, "create the table", err)
	}
	if err := s.active(ctx); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.expire(ctx)
}

func attribute(name string) types.AttributeDefinition {
	return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
}

func element(name string, t types.KeyType) types.KeySchemaElement {
	return types.KeySchemaElement{AttributeName: &name, KeyType: t}
}

// active waits until the table can be used.
func (s *Store) active(ctx context.Context) error {
	for {
		out, _, err := call(ctx, s, "describe the table", func(ctx context.Context) (*sdk.DescribeTableOutput, error) {
			return s.db.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: &s.table})
		})
		if err != nil {
			return s.explain(ctx, "describe the table", err)
		}
		if st := out.Table.TableStatus; st == types.TableStatusActive || st == types.TableStatusUpdating {
			return nil
		}
		t := time.NewTimer(500 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%s is not ready: %w", s.where, ctx.Err())
		case <-t.C:
		}
	}
}

// expire switches TTL on.
func (s *Store) expire(ctx context.Context) error {
	out, _, err := call(ctx, s, "describe TTL", func(ctx context.Context) (*sdk.DescribeTimeToLiveOutput, error) {
		return s.db.DescribeTimeToLive(ctx, &sdk.DescribeTimeToLiveInput{TableName: &s.table})
	})
	if err != nil {
		return s.explain(ctx, "describe TTL", err)
	}
	if d := out.TimeToLiveDescription; d != nil && (d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling) {
		if text(d.AttributeName) != "ttl" {
			return fmt.Errorf("%s: %w: its TTL is on the attribute %q, not on ttl", s.where, ErrTable, text(d.AttributeName))
		}
		return nil
	}
	_, _, err = call(ctx, s, "switch TTL on", func(ctx context.Context) (*sdk.UpdateTimeToLiveOutput, error) {
		return s.db.UpdateTimeToLive(ctx, &sdk.UpdateTimeToLiveInput{TableName: &s.table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: new("ttl"), Enabled: yes()}})
	})
	if err != nil {
		return s.explain(ctx, "switch TTL on", err)
	}
	return nil
}

// check makes sure that the table is ours and that we can serve it. One read where all is well: starts of functions are
// many.
func (s *Store) check(ctx context.Context) error {
	it, err := s.get(ctx, "read the schema", schemaKey(), "")
	if err != nil {
		return s.explain(ctx, "read the schema", err)
	}
	if it == nil {
		if err := s.adopt(ctx); err != nil {
			return err
		}
		if it, err = s.get(ctx, "read the schema", schemaKey(), ""); err != nil {
			return s.explain(ctx, "read the schema", err)
		}
	}
	oldest, ok := getN(it, "c")
	if !ok {
		return fmt.Errorf("%s: %w: its schema has no version; name another table", s.where, ErrTable)
	}
	if oldest > schemaVersion {
		return fmt.Errorf("%s needs a newer version of this program: %w", s.where, store.ErrNewer)
	}
	return nil
}

// adopt writes the schema's item into an empty table, as a template makes it.
func (s *Store) adopt(ctx context.Context) error {
	out, _, err := call(ctx, s, "look into the table", func(ctx context.Context) (*sdk.ScanOutput, error) {
		return s.db.Scan(ctx, &sdk.ScanInput{TableName: &s.table, Limit: new(int32(1)), ConsistentRead: yes()})
	})
	if err == nil && len(out.Items) > 0 && getS(out.Items[0], "PK") != "S" {
		return fmt.Errorf("%s: %w: it holds something else; name another table", s.where, ErrTable)
	}
	if err != nil { // without dynamodb:Scan nothing can be said about it
		if !errors.Is(s.fail(ctx, "look into the table", err), ErrDenied) {
			return s.explain(ctx, "look into the table", err)
		}
	}
	it := schemaKey()
	it["v"], it["c"] = num(schemaVersion), num(schemaVersion)
	_, err = s.put(ctx, "write the schema", &sdk.PutItemInput{Item: it, ConditionExpression: new("attribute_not_exists(PK)")})
	if _, raced := unmet(err); err != nil && !raced {
		return s.explain(ctx, "write the schema", err)
	}
	return nil
}

// explain says in one line what is wrong with the table and what to do.
func (s *Store) explain(ctx context.Context, op string, err error) error {
	err = s.fail(ctx, op, err)
	var none *credentialsError
	switch {
	case errors.Is(err, ErrTable):
		return fmt.Errorf("%s: %w: there is no such table there; correct table and region or create it with: sluice store init", s.where, ErrTable)
	case errors.Is(err, ErrDenied) && !errors.As(err, &none):
		return fmt.Errorf("%s: %w (%s): to %s the credentials need the permissions on this table that README.md lists", s.where, ErrDenied, code(err), op)
	case errors.Is(err, ErrDenied):
		return fmt.Errorf("%s: no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role: %w", s.where, ErrDenied)
	case errors.Is(err, ErrBadCall) && code(err) == "ValidationException":
		return fmt.Errorf("%s: %w: its key is not PK and SK (strings); name another table or create one with: sluice store init", s.where, ErrTable)
	case errors.Is(err, ErrUnavailable):
		return fmt.Errorf("%s: %w: is the region right, and can this machine reach it?", s.where, err)
	}
	return fmt.Errorf("%s: %w", s.where, err)
}

// code is the error's code as DynamoDB names it.
func code(err error) string {
	var api interface{ ErrorCode() string }
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
