package dynamodb

import (
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is a row of the table, or the values of an expression.
type item = map[string]types.AttributeValue

func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// bin is bytes; nil counts as none of them, not as no value.
func bin(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{}
	}
	return &types.AttributeValueMemberB{Value: b}
}

func strs(ss []string) types.AttributeValue {
	l := make([]types.AttributeValue, len(ss))
	for i, s := range ss {
		l[i] = str(s)
	}
	return &types.AttributeValueMemberL{Value: l}
}

// getN reads a number; ok is false when there is none.
func getN(it item, name string) (n int64, ok bool) {
	v, ok := it[name].(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	return n, err == nil
}

func getS(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

func getB(it item, name string) []byte {
	if v, ok := it[name].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	return nil
}

func getStrs(it item, name string) []string {
	l, ok := it[name].(*types.AttributeValueMemberL)
	if !ok {
		return nil
	}
	var out []string
	for _, v := range l.Value {
		if s, ok := v.(*types.AttributeValueMemberS); ok {
			out = append(out, s.Value)
		}
	}
	return out
}

// key is the primary key of an item.
func key(pk, sk string) item { return item{"PK": str(pk), "SK": str(sk)} }

func docKey(kind, id string) item     { return key("D#"+kind+"#"+id, "D") }
func uniqueKey(kind, u string) item   { return key("U#"+kind+"#"+u, "U") }
func hotKey(kind, id string) item     { return key("H#"+kind+"#"+id, "H") }
func genKey(account string) item      { return key("G#"+account, "G") }
func hoursPK(account string) string   { return "Y#" + account }
func ownList(kind, acc string) string { return "L#" + kind + "#" + acc }

// epoch keeps numbers in sort keys positive and of one length, so that bytes sort as numbers do.
const epoch = 1_000_000_000

// hourText and dayText write the number of an hour or day for a sort key.
func hourText(hour int64) string { return fmt.Sprintf("%010d", hour+epoch) }

func parseHour(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n - epoch, err
}

// timeText writes microseconds for a sort key.
func timeText(us int64) string { return fmt.Sprintf("%019d", us+1<<62) }

// spread chooses one of n partitions by a text.
func spread(s string, n uint32) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return int(h.Sum32() % n)
}
