package dynamodb

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store/internal/usage"
)

// ForgetCosts leaves the closed hours of an account as a program writes them that knows no costs, and returns how many it
// changed; those that have none are not counted.
func (s *Store) ForgetCosts(ctx context.Context, account string) (changed int, err error) {
	qerr := s.query(ctx, "", span{pk: hoursPK(account)}, func(it item) (bool, error) {
		h, err := parseHourItem(it)
		if err != nil || !h.closed {
			return true, err
		}
		list, err := unpack(h.sums)
		if err != nil {
			return false, err
		}
		for i := range list {
			if list[i].Costs {
				changed++
			}
			list[i].Costs, list[i].Sum.CostUSD, list[i].Sum.Unpriced = false, 0, 0
		}
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.DefaultCompression)
		err = errors.Join(json.NewEncoder(w).Encode(list), w.Close())
		if err == nil {
			_, _, err = s.update(ctx, "", &sdk.UpdateItemInput{Key: key(hoursPK(account), hourText(h.hour)), UpdateExpression: new("SET s = :s REMOVE mc"),
				ExpressionAttributeValues: item{":s": bin(b.Bytes())}})
		}
		return err == nil, err
	})
	return changed, qerr
}

// ForgetSums leaves an account's hours and days as an older program left those that it had no sums for: the hours are closed,
// the days wait.
func (s *Store) ForgetSums(ctx context.Context, account string) error {
	return s.query(ctx, "", span{pk: hoursPK(account)}, func(it item) (bool, error) {
		hour, err := parseHour(getS(it, "SK"))
		day := key(daysPK(account), hourText(usage.DayOf(hour)))
		if err == nil {
			_, _, err = s.update(ctx, "", &sdk.UpdateItemInput{Key: key(hoursPK(account), hourText(hour)), UpdateExpression: new("REMOVE s, c, mc, m1, m2, m3, m4")})
		}
		if err == nil {
			err = s.batch(ctx, "", []types.WriteRequest{deleteRequest(day), putRequest(pendingDay(mark{account, hour}))})
		}
		return true, err
	})
}

// PutHour writes the sums of an hour as if there had been records.
func (s *Store) PutHour(ctx context.Context, account string, hour int64, all usage.Tallies) error {
	u, err := writing(all, 0)
	if err == nil {
		_, _, err = s.update(ctx, "", u.input(key(hoursPK(account), hourText(hour))))
	}
	return errors.Join(err, s.index(ctx, mark{account, hour}, false), s.batch(ctx, "", []types.WriteRequest{putRequest(pendingDay(mark{account, hour}))}))
}

// PutPending puts an hour up for Rollup.
func (s *Store) PutPending(ctx context.Context, account string, hour int64) error {
	return s.batch(ctx, "", []types.WriteRequest{putRequest(pending(mark{account, hour}))})
}
