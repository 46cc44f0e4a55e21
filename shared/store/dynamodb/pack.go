package dynamodb

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sluice/shared/core"
	"sluice/shared/store/internal/usage"
)

// maxSums bounds the packed sums of one hour or day of one account; fold makes larger ones fit.
const maxSums = 350_000

// maxGrown is what they may grow to by late records when there is nothing else to sum them from. An item ends at 400 KB.
const maxGrown = 390_000

// maxGroups bounds how many sums of one hour or day are kept apart while they are added up: more do not fit an item, and
// may not fit the memory of a function.
const maxGroups = 10_000

// others is the model, node or key of what fold put together.
const others = "(other)"

// group is what sums of an hour are kept apart by.
type group struct {
	Key   string `json:"k,omitempty"`
	Node  string `json:"n,omitempty"`
	Model string `json:"m,omitempty"`
}

// hourSum is one group's sum of an hour.
type hourSum struct {
	group
	Sum   core.UsageSum `json:"s"`
	Costs bool          `json:"c,omitempty"` // Sum has them; false: a program wrote it that knows none
}

// pack writes sums.
func pack(all usage.Tallies) ([]byte, error) {
	list := make([]hourSum, 0, len(all))
	for d, t := range all {
		list = append(list, hourSum{group{d.Key, d.Node, d.Model}, t.Sum(), true})
		if err := t.Err(); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	level := flate.DefaultCompression
	if len(text) <= plainSums {
		level = flate.NoCompression
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// plainSums is up to how many bytes sums are not compressed: it saves little there, and a page that reads 10,000 of them would
// spend most of its time on codes of Huffman's. The format is the same.
const plainSums = 1024

// inflaters are kept for each other: the window of one is 40 KB, and a page may unpack 10,000 sums of 200 bytes.
var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

func unpack(b []byte) (list []hourSum, err error) {
	in := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(in)
	if err = in.(flate.Resetter).Reset(bytes.NewReader(b), nil); err == nil {
		err = json.NewDecoder(io.LimitReader(in, 200*maxSums)).Decode(&list)
	}
	if err != nil {
		err = fmt.Errorf("sums are not readable: %w", err)
	}
	return list, err
}

// fold leaves at most n sums, or one: the models that cost least, and of these the ones asked for least, become one, since
// clients name models as they like; where that is not enough nodes do, then keys. All together stay what they were.
func fold(all usage.Tallies, n int) usage.Tallies {
	for i, k := range []usage.Kind{usage.ByModel, usage.ByNode, usage.ByKey} {
		if len(all) <= n {
			break
		}
		name := func(d *usage.Dims) *string { return [...]*string{&d.Model, &d.Node, &d.Key}[i] }
		var names []core.UsageSum
		for d, t := range k.Of(all) {
			s := t.Sum()
			s.Group = *name(&d)
			names = append(names, s)
		}
		slices.SortFunc(names, func(a, b core.UsageSum) int {
			return cmp.Or(cmp.Compare(b.CostUSD, a.CostUSD), cmp.Compare(b.Requests, a.Requests))
		})
		for len(all) > n && len(names) > 0 {
			names = names[:len(names)*n/len(all)]
			kept, out := make(map[string]bool), make(usage.Tallies)
			for i := range names {
				kept[names[i].Group] = true
			}
			for d, t := range all {
				if at := name(&d); !kept[*at] {
					*at = others
				}
				out.Of(d).Merge(t)
			}
			all = out
		}
	}
	return all
}

// coarse names the attribute with the sums of a kind, other than the finest, which is s.
func coarse(k usage.Kind) string { return "m" + strconv.Itoa(int(k)) }

// sumsUpdate writes the sums of an hour or a day.
type sumsUpdate struct {
	set, remove, cond string
	values            item
	folded            bool // they do not tell all apart
}

// newSums are sums of each kind. The coarser ones belong to the c that mc tells: an older program that writes s and c anew
// does not touch them. Where they do not fit beside s, they are left out; s has at most limit bytes. Without records there
// are empty sums, unless there are others: then their records are gone.
func newSums(all usage.Tallies, c int64, limit int) (*sumsUpdate, error) {
	fine, err := pack(all)
	u := &sumsUpdate{set: "s = :s"}
	for err == nil && len(fine) > limit {
		all, u.folded = fold(all, len(all)*limit/len(fine)*9/10), true
		fine, err = pack(all)
	}
	if err != nil {
		return nil, err
	}
	u.values = item{":s": bin(fine)}
	if len(all) == 0 {
		u.set = "s = if_not_exists(s, :s)"
		return u, nil
	}
	values, set, remove, size := item{":c": num(c)}, ", mc = :c", "mc", len(fine)
	for k := usage.ByAccount; k < usage.Kinds; k++ {
		packed, err := pack(k.Of(all))
		if err != nil {
			return nil, err
		}
		size += len(packed)
		set += ", " + coarse(k) + " = :" + coarse(k)
		remove += ", " + coarse(k)
		values[":"+coarse(k)] = bin(packed)
	}
	if size > maxSums {
		u.remove = remove
		return u, nil
	}
	u.set += set
	for name, v := range values {
		u.values[name] = v
	}
	return u, nil
}

// writing are new sums that count late records which came late, unless one comes meanwhile.
func writing(all usage.Tallies, late int64) (*sumsUpdate, error) {
	u, err := newSums(all, late, maxSums)
	if err != nil {
		return nil, err
	}
	u.cond = "l = :l AND attribute_not_exists(g)"
	if late == 0 {
		u.cond = "attribute_not_exists(l) AND attribute_not_exists(g)"
	}
	u.set += ", c = :l"
	u.values[":l"] = num(late)
	return u, nil
}

func (u *sumsUpdate) expression() *string {
	text := "SET " + u.set
	if u.remove != "" {
		text += " REMOVE " + u.remove
	}
	return &text
}

func (u *sumsUpdate) input(k item) *sdk.UpdateItemInput {
	return &sdk.UpdateItemInput{Key: k, UpdateExpression: u.expression(), ConditionExpression: &u.cond, ExpressionAttributeValues: u.values}
}
