package dynamodb

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store"
)

// listShards is over how many partitions the list of a kind is spread: more than one where each request may make a
// document.
func listShards(kind string) int {
	if kind == store.KindResponse || kind == store.KindResource {
		return 16
	}
	return 1
}

func wholeList(kind string, shard int) string {
	if listShards(kind) == 1 {
		return "L#" + kind
	}
	return "L#" + kind + "##" + strconv.Itoa(shard)
}

// listEntries are the keys of a document's entries in lists.
func listEntries(d *store.Doc) []item {
	out := []item{key(wholeList(d.Kind, spread(d.ID, uint32(listShards(d.Kind)))), d.ID)}
	if d.Account != "" {
		out = append(out, key(ownList(d.Kind, d.Account), d.ID))
	}
	return out
}

// List implements store.Docs: it reads ids from the list and then the documents.
func (s *Store) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var out []store.Doc
	for len(out) < limit {
		ids, err := s.ids(ctx, kind, account, after, limit-len(out))
		if err != nil || len(ids) == 0 {
			return out, err
		}
		docs, err := s.documents(ctx, kind, ids)
		if err != nil {
			return nil, err
		}
		out = append(out, docs...)
		after = ids[len(ids)-1] // a document that went meanwhile leaves room for the next
	}
	return out, nil
}

// ids returns up to limit ids of a list that follow after, in order.
func (s *Store) ids(ctx context.Context, kind, account, after string, limit int) ([]string, error) {
	if account != "" {
		return s.listed(ctx, ownList(kind, account), after, limit)
	}
	n := listShards(kind)
	lists := make([][]string, n)
	err := parallel(n, n, func(i int) (err error) {
		lists[i], err = s.listed(ctx, wholeList(kind, i), after, limit)
		return err
	})
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all[:min(limit, len(all))], err
}

func (s *Store) listed(ctx context.Context, pk, after string, limit int) ([]string, error) {
	var out []string
	q := span{pk: pk, from: after, fields: "SK", limit: int32(min(limit+1, 1000))}
	err := s.query(ctx, "list documents", q, func(it item) (bool, error) {
		if id := getS(it, "SK"); id != after {
			out = append(out, id)
		}
		return len(out) < limit, nil
	})
	return out, err
}

// documents reads documents by id, in that order, leaving out those that are gone.
func (s *Store) documents(ctx context.Context, kind string, ids []string) ([]store.Doc, error) {
	rows := make(map[string]item, len(ids))
	for from := 0; from < len(ids); from += 100 {
		var keys []item
		for _, id := range ids[from:min(from+100, len(ids))] {
			keys = append(keys, docKey(kind, id))
		}
		for n := 1; len(keys) > 0; n++ {
			in := &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{s.table: {Keys: keys, ConsistentRead: yes()}}}
			out, _, err := call(ctx, s, "read documents", func(ctx context.Context) (*sdk.BatchGetItemOutput, error) { return s.db.BatchGetItem(ctx, in) })
			if err != nil {
				return nil, s.fail(ctx, "read documents", err)
			}
			for _, it := range out.Responses[s.table] {
				rows[strings.TrimPrefix(getS(it, "PK"), "D#"+kind+"#")] = it
			}
			if keys = out.UnprocessedKeys[s.table].Keys; len(keys) > 0 && (n >= 100 || wait(ctx, 3) != nil) {
				return nil, s.fail(ctx, "read documents", ErrThrottled)
			}
		}
	}
	var out []store.Doc
	for _, id := range ids {
		it, ok := rows[id]
		if !ok {
			continue
		}
		r := parseRow(kind, id, it)
		if whole, err := s.assemble(ctx, &r); err != nil {
			return nil, err
		} else if whole {
			out = append(out, r.Doc)
		}
	}
	return out, nil
}

// parallel calls work for 0 to n-1, at most width at once, and returns the first error after all have ended.
func parallel(n, width int, work func(i int) error) error {
	if n == 1 {
		return work(0)
	}
	var wg sync.WaitGroup
	errs, slots := make([]error, n), make(chan struct{}, width)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = work(i)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
