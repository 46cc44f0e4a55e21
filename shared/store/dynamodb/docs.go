package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store"
)

const (
	maxUnique = 40   // a transaction has 100 items, and an item 400 KB
	maxID     = 900  // a sort key has 1,024 bytes
	maxString = 1900 // a partition key has 2,048
)

var errAccount = errors.New("the account of a document cannot change")

func missing(kind, id string) error {
	return fmt.Errorf("%s %s: %w", kind, id, store.ErrNotFound)
}

// row is a document as it lies in its item.
type row struct {
	store.Doc
	token  string // of the pieces of its body; "": the body is in the item
	pieces int64
	length int64
}

func parseRow(kind, id string, it item) row {
	r := row{Doc: store.Doc{Kind: kind, ID: id, Account: getS(it, "a"), Unique: getStrs(it, "u"), Body: getB(it, "b")}}
	r.Version, _ = getN(it, "v")
	if us, ok := getN(it, "x"); ok {
		r.Expires = time.UnixMicro(us).UTC()
	}
	r.token = getS(it, "k")
	r.pieces, _ = getN(it, "kn")
	r.length, _ = getN(it, "kl")
	return r
}

// docItem is the item of a document at a version, and the TTL of everything that belongs to it.
func docItem(d *store.Doc, version int64, parts pieces) item {
	it := docKey(d.Kind, d.ID)
	it["a"], it["v"] = str(d.Account), num(version)
	if len(d.Unique) > 0 {
		it["u"] = strs(d.Unique)
	}
	if parts.token != "" {
		it["k"], it["kn"], it["kl"] = str(parts.token), num(int64(parts.n)), num(int64(len(d.Body)))
	} else {
		it["b"] = bin(d.Body)
	}
	if !d.Expires.IsZero() {
		it["x"] = num(d.Expires.UnixMicro())
	}
	return expiring(it, d)
}

// expiring adds the TTL of a document to an item that belongs to it: whole seconds, not before the end.
func expiring(it item, d *store.Doc) item {
	if !d.Expires.IsZero() {
		it["ttl"] = num(d.Expires.Unix() + 1)
	}
	return it
}

// valid refuses what the table cannot keep.
func valid(d *store.Doc) error {
	switch {
	case d.ID == "" || d.Kind == "":
		return fmt.Errorf("a document needs a kind and an id: %w", ErrBadCall)
	case len(d.ID) > maxID || len(d.Account) > maxID || len(d.Unique) > maxUnique:
		return fmt.Errorf("names of %s document: %w", d.Kind, ErrTooLarge)
	case len(d.Body) > maxBody:
		return fmt.Errorf("%s %s of %d bytes: %w", d.Kind, d.ID, len(d.Body), ErrTooLarge)
	}
	for i, u := range d.Unique {
		if len(u) > maxString {
			return fmt.Errorf("look-up string of %s %s: %w", d.Kind, d.ID, ErrTooLarge)
		}
		if slices.Contains(d.Unique[:i], u) {
			return fmt.Errorf("look-up string of %s %s is there twice: %w", d.Kind, d.ID, store.ErrExists)
		}
	}
	return nil
}

// Get implements store.Docs.
func (s *Store) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := s.usable(ctx); err != nil {
		return store.Doc{}, err
	}
	for range tries {
		it, err := s.get(ctx, "read a document", docKey(kind, id), "")
		if err != nil {
			return store.Doc{}, err
		}
		if it == nil {
			return store.Doc{}, missing(kind, id)
		}
		r := parseRow(kind, id, it)
		whole, err := s.assemble(ctx, &r)
		if err != nil || whole {
			return r.Doc, err
		}
	} // its pieces go away under our hands: it is being replaced, or what is left of it expires
	return store.Doc{}, missing(kind, id)
}

// Find implements store.Docs.
func (s *Store) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	if err := s.usable(ctx); err != nil {
		return store.Doc{}, err
	}
	notFound := fmt.Errorf("%s by look-up string: %w", kind, store.ErrNotFound)
	if len(unique) > maxString {
		return store.Doc{}, notFound
	}
	for range 2 {
		it, err := s.get(ctx, "look a document up", uniqueKey(kind, unique), "")
		if err != nil {
			return store.Doc{}, err
		}
		if it == nil {
			break
		}
		d, err := s.Get(ctx, kind, getS(it, "id"))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return store.Doc{}, err
		}
		if err == nil && slices.Contains(d.Unique, unique) {
			return d, nil
		} // the string moved between the two reads
	}
	return store.Doc{}, notFound
}

// change is a transaction over one document and what belongs to it.
type change struct {
	s      *Store
	writes []types.TransactWriteItem
	what   []func(old item) error // what a failed condition of the write means
}

func (c *change) add(w types.TransactWriteItem, failed func(old item) error) {
	c.writes, c.what = append(c.writes, w), append(c.what, failed)
}

func (c *change) put(it item, cond string, values item, failed func(item) error) {
	p := &types.Put{TableName: &c.s.table, Item: it}
	if cond != "" {
		p.ConditionExpression, p.ReturnValuesOnConditionCheckFailure = &cond, types.ReturnValuesOnConditionCheckFailureAllOld
		if len(values) > 0 {
			p.ExpressionAttributeValues = values
		}
	}
	c.add(types.TransactWriteItem{Put: p}, failed)
}

func (c *change) remove(k item) {
	c.add(types.TransactWriteItem{Delete: &types.Delete{TableName: &c.s.table, Key: k}}, nil)
}

func (c *change) update(k item, expr string, values item) {
	c.add(types.TransactWriteItem{Update: &types.Update{TableName: &c.s.table, Key: k, UpdateExpression: &expr, ExpressionAttributeValues: values}}, nil)
}

// claim takes a look-up string.
func (c *change) claim(d *store.Doc, u string) {
	it := uniqueKey(d.Kind, u)
	it["id"] = str(d.ID)
	c.put(expiring(it, d), "attribute_not_exists(PK) OR id = :id", item{":id": str(d.ID)}, func(item) error {
		return fmt.Errorf("look-up string of %s %s: %w", d.Kind, d.ID, store.ErrExists)
	})
}

// tell makes the change known to admission and to the other instances. version 0: the document is gone.
func (c *change) tell(d *store.Doc, version int64) {
	if subjectKind(d.Kind) {
		switch version {
		case 0:
			c.remove(hotKey(d.Kind, d.ID))
		case 1:
			it := hotKey(d.Kind, d.ID)
			// n goes on from here also when an item of this name was there before
			it["v"], it["n"], it["lz"] = num(1), num(c.s.clock.correct(time.Now()).UnixMicro()), &types.AttributeValueMemberM{Value: item{}}
			c.put(it, "", nil, nil)
		default:
			c.update(hotKey(d.Kind, d.ID), "SET v = :v, lz = if_not_exists(lz, :m) ADD n :o",
				item{":v": num(version), ":o": num(1), ":m": &types.AttributeValueMemberM{Value: item{}}})
		}
	}
	if store.Generational(d.Kind) {
		account := d.Account
		if d.Kind == store.KindAccount {
			account = d.ID
		}
		c.update(genKey(account), "ADD n :o", item{":o": num(1)})
	}
}

func (c *change) do(ctx context.Context, op string) error {
	err := c.s.transact(ctx, op, c.writes)
	if err == nil {
		return nil
	}
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		for i, r := range cancelled.CancellationReasons {
			if text(r.Code) == "ConditionalCheckFailed" && i < len(c.what) && c.what[i] != nil {
				return c.what[i](r.Item)
			}
		}
	}
	return c.s.fail(ctx, op, err)
}

// subjectKind reports whether documents of the kind can be subjects of an admission.
func subjectKind(kind string) bool {
	return kind == store.KindKey || kind == store.KindAccount || kind == store.KindNode
}

// Create implements store.Docs.
func (s *Store) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := valid(&d); err != nil {
		return 0, err
	}
	parts, err := s.cut(ctx, &d)
	if err != nil {
		return 0, err
	}
	c := change{s: s}
	c.put(docItem(&d, 1, parts), "attribute_not_exists(PK)", nil, func(item) error {
		return fmt.Errorf("%s %s: %w", d.Kind, d.ID, store.ErrExists)
	})
	for _, u := range d.Unique {
		c.claim(&d, u)
	}
	for _, l := range listEntries(&d) {
		c.put(expiring(l, &d), "", nil, nil)
	}
	c.tell(&d, 1)
	if err := c.do(ctx, "create a document"); err != nil {
		s.discard(ctx, &d, parts.token, int64(parts.n))
		return 0, err
	}
	return 1, nil
}

// replacement says what the last version must look like for a change to hold; old is what the condition found else.
const replacement = "v = :v AND a = :a AND "

// Replace implements store.Docs. It assumes that look-up strings stay as they are and the body was whole, which the
// condition checks; when that is wrong the answer says what was there, and the second try knows.
func (s *Store) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := valid(&d); err != nil {
		return 0, err
	}
	parts, err := s.cut(ctx, &d)
	if err != nil {
		return 0, err
	}
	old := row{Doc: store.Doc{Kind: d.Kind, ID: d.ID, Unique: d.Unique}}
	for range 2 {
		var found *row
		if found, err = s.replace(ctx, &d, &old, parts); err == nil {
			s.discard(ctx, &d, old.token, old.pieces)
			return d.Version + 1, nil
		}
		if found == nil {
			break
		}
		old = *found
	}
	s.discard(ctx, &d, parts.token, int64(parts.n))
	return 0, err
}

// replace stores d over old. When old is not what is there but d may still replace that, it is returned with the error.
func (s *Store) replace(ctx context.Context, d *store.Doc, old *row, parts pieces) (*row, error) {
	cond, values := replacement, item{":v": num(d.Version), ":a": str(d.Account)}
	if len(old.Unique) > 0 {
		cond, values[":u"] = cond+"u = :u AND ", strs(old.Unique)
	} else {
		cond += "attribute_not_exists(u) AND "
	}
	if old.token != "" {
		cond, values[":k"] = cond+"k = :k", str(old.token)
	} else {
		cond += "attribute_not_exists(k)"
	}
	var found *row
	failed := func(it item) error {
		if it == nil {
			return missing(d.Kind, d.ID)
		}
		r := parseRow(d.Kind, d.ID, it)
		switch {
		case r.Version != d.Version:
			return fmt.Errorf("%s %s: %w", d.Kind, d.ID, store.ErrConflict)
		case r.Account != d.Account:
			return fmt.Errorf("%s %s: %w", d.Kind, d.ID, errAccount)
		}
		found = &r
		return fmt.Errorf("%s %s: %w", d.Kind, d.ID, store.ErrConflict)
	}
	it := docItem(d, d.Version+1, parts)
	expires := !d.Expires.IsZero() || !old.Expires.IsZero()
	if !store.Generational(d.Kind) && slices.Equal(old.Unique, d.Unique) && !expires {
		cond += " AND attribute_not_exists(x)"
		_, err := s.put(ctx, "replace a document", &sdk.PutItemInput{Item: it, ConditionExpression: &cond, ExpressionAttributeValues: values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld})
		if old, ok := unmet(err); ok {
			return found, failed(old)
		}
		if err != nil {
			return nil, s.fail(ctx, "replace a document", err)
		}
		return nil, nil
	}
	c := change{s: s}
	c.put(it, cond, values, failed)
	for _, u := range d.Unique {
		if expires || !slices.Contains(old.Unique, u) {
			c.claim(d, u)
		}
	}
	for _, u := range old.Unique {
		if !slices.Contains(d.Unique, u) {
			c.remove(uniqueKey(d.Kind, u))
		}
	}
	if expires { // the end may have moved
		for _, l := range listEntries(d) {
			c.put(expiring(l, d), "", nil, nil)
		}
	}
	c.tell(d, d.Version+1)
	err := c.do(ctx, "replace a document")
	return found, err
}

// Delete implements store.Docs.
func (s *Store) Delete(ctx context.Context, kind, id string, version int64) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	for n := 1; ; n++ {
		it, err := s.get(ctx, "read a document", docKey(kind, id), "")
		if err != nil {
			return err
		}
		if it == nil {
			return missing(kind, id)
		}
		r := parseRow(kind, id, it)
		conflict := fmt.Errorf("%s %s: %w", kind, id, store.ErrConflict)
		if version != 0 && version != r.Version {
			return conflict
		}
		c := change{s: s}
		c.add(types.TransactWriteItem{Delete: &types.Delete{TableName: &s.table, Key: docKey(kind, id),
			ConditionExpression: new("v = :v"), ExpressionAttributeValues: item{":v": num(r.Version)}}}, func(item) error { return conflict })
		for _, u := range r.Unique {
			c.remove(uniqueKey(kind, u))
		}
		for _, l := range listEntries(&r.Doc) {
			c.remove(l)
		}
		c.tell(&r.Doc, 0)
		if err := c.do(ctx, "delete a document"); err == nil {
			s.discard(ctx, &r.Doc, r.token, r.pieces)
			return nil
		} else if !errors.Is(err, store.ErrConflict) || version != 0 || n >= conflicts {
			return err
		}
	}
}

// Next implements store.Docs.
func (s *Store) Next(ctx context.Context, counter string) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	it, _, err := s.update(ctx, "count", &sdk.UpdateItemInput{Key: key("N#"+counter, "N"), UpdateExpression: new("ADD n :o"),
		ExpressionAttributeValues: item{":o": num(1)}, ReturnValues: types.ReturnValueUpdatedNew})
	if err != nil {
		return 0, s.fail(ctx, "count", err)
	}
	n, _ := getN(it, "n")
	return n, nil
}

// Purge implements store.Docs. The table's TTL removes what expired, free of charge, so there is nothing to do.
func (s *Store) Purge(ctx context.Context, _ time.Time) (int, error) { return 0, s.usable(ctx) }

// Generation implements store.Admission.
func (s *Store) Generation(ctx context.Context, account string) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	it, err := s.get(ctx, "read a generation", genKey(account), "")
	n, _ := getN(it, "n")
	return n, err
}
