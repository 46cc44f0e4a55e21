package dynamodb

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
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
