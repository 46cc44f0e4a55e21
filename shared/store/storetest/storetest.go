// Package storetest is the contract of package store as tests. A backend's test is a call of Run with a function that
// opens an empty store; what only some backends promise has an entry point of its own, with the reason in its comment.
//
// Do not rely on: times finer than a microsecond, counters without gaps, the text of errors.
//
// The package has more than 1,500 lines because it is one list of promises, each with its case; a file per part of the
// contract keeps it in order.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// start is the time at which every case begins. The store never sees the real time.
var start = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

// Opener opens an empty store that shares nothing with others. The suite closes it.
type Opener func(tb testing.TB) store.Store

// Options are what a backend states about itself. No case is weakened for the others.
type Options struct {
	// Lag is how far a token bucket may lie behind the clock: 2 s of refill more than the bound may be let in.
	Lag time.Duration
	// Hasty: subjects are asked one by one, and while one refuses it holds its share of the other for a moment. So of
	// requests at one moment some may be refused although there is room; never may too many be let in.
	Hasty bool
	// PurgesItself: what expired is removed without Purge, at a time that nobody knows.
	PurgesItself bool
}

// testcase is one promise. why is printed when it fails.
type testcase struct {
	name, why string
	run       func(t *T)
}

// T is a case at work: a store, a clock that only the case moves, and short ways to call the store.
type T struct {
	testing.TB
	S   store.Store
	Ctx context.Context
	Now time.Time
	Opt Options
}

// Run checks everything that every backend promises, within what it states about itself.
func Run(t *testing.T, open Opener, o ...Options) {
	var opt Options
	if len(o) > 0 {
		opt = o[0]
	}
	for _, g := range []struct {
		name  string
		cases []testcase
	}{
		{"Docs", docCases}, {"Admission", admissionCases}, {"Budgets", budgetCases}, {"Raise", raiseCases}, {"Leases", leaseCases}, {"Usage", usageCases}, {"Keeping", keepingCases}, {"Batches", batchCases}, {"Store", storeCases},
	} {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) { c.try(t, open, opt) })
			}
		})
	}
}

func (c testcase) try(t *testing.T, open Opener, o Options) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("The contract says: " + c.why)
		}
	})
	s := open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	c.run(&T{TB: t, S: s, Ctx: t.Context(), Now: start, Opt: o})
}

// ok ends the case when a call failed.
func (t *T) ok(err error, what string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(what, args...), err)
	}
}

// is checks for one of the contract's errors.
func (t *T) is(err, want error, what string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", fmt.Sprintf(what, args...), err, want)
	}
}

// create stores a document and returns it at version 1.
func (t *T) create(kind, id, account string, unique ...string) store.Doc {
	t.Helper()
	d := store.Doc{Kind: kind, ID: id, Account: account, Unique: unique, Body: []byte(`{"n":0}`)}
	v, err := t.S.Create(t.Ctx, d)
	t.ok(err, "create %s %s", kind, id)
	d.Version = v
	return d
}

// replace stores d over its version and returns it at the new one.
func (t *T) replace(d store.Doc) store.Doc {
	t.Helper()
	v, err := t.S.Replace(t.Ctx, d)
	t.ok(err, "replace %s %s", d.Kind, d.ID)
	d.Version = v
	return d
}

// key creates a key's document and returns it as a subject with limits.
func (t *T) key(id string, l core.Limits) store.Subject {
	t.Helper()
	return t.keyOf("acme", id, l)
}

// keyOf is key for another account.
func (t *T) keyOf(account, id string, l core.Limits) store.Subject {
	t.Helper()
	return store.Subject{Kind: store.KindKey, ID: id, Version: t.create(store.KindKey, id, account).Version, Limits: l}
}

// account creates an account's document and returns it as a subject with limits.
func (t *T) account(id string, l core.Limits) store.Subject {
	t.Helper()
	return store.Subject{Kind: store.KindAccount, ID: id, Version: t.create(store.KindAccount, id, id).Version, Limits: l}
}

func (t *T) request(id string, subjects ...store.Subject) store.AdmitRequest {
	account := "acme"
	for _, s := range subjects {
		if s.Kind == store.KindAccount {
			account = s.ID
		}
	}
	return store.AdmitRequest{Now: t.Now, ID: id, Account: account, Subjects: subjects, LeaseEnd: t.Now.Add(3 * time.Minute), Zone: time.UTC}
}

// admit lets a request in or ends the case.
func (t *T) admit(id string, subjects ...store.Subject) store.AdmitResult {
	t.Helper()
	res, err := t.S.Admit(t.Ctx, t.request(id, subjects...))
	t.ok(err, "admit %s", id)
	return res
}

// refuse expects a refusal.
func (t *T) refuse(id string, subjects ...store.Subject) *store.Refusal {
	t.Helper()
	res, err := t.S.Admit(t.Ctx, t.request(id, subjects...))
	var r *store.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("admit %s: %+v, error %v, want a refusal", id, res, err)
	}
	return r
}

// settle ends a request with a record that ends now.
func (t *T) settle(id string, subjects ...store.Subject) {
	t.Helper()
	r := t.record(id)
	t.ok(t.S.Settle(t.Ctx, store.SettleRequest{ID: id, Account: r.Account, Now: t.Now, Subjects: subjects, Record: r}), "settle %s", id)
}

func (t *T) record(id string) core.Settlement {
	return core.Settlement{
		RequestID: id, Account: "acme", Key: "1", Node: "2", Endpoint: "/v1/messages", Dialect: core.DialectAnthropic,
		Model: "model-a", Status: 200, Attempts: 1, Tokens: core.Tokens{Input: 10, Output: 5},
		StartedAt: t.Now.Add(-1500 * time.Millisecond), EndedAt: t.Now, FirstByteMS: 200, StreamMillis: 1300, Bytes: 700, CostUSD: 105,
	}
}

// put stores a record as it is.
func (t *T) put(r core.Settlement) {
	t.Helper()
	t.ok(t.S.Settle(t.Ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Record: r}), "settle %s", r.RequestID)
}

// records returns all records that a filter selects, page by page.
func (t *T) records(f store.UsageFilter) (all []core.Settlement) {
	t.Helper()
	cursor := ""
	for range 10_000 {
		out, next, err := t.S.Records(t.Ctx, f, cursor, 100_000)
		t.ok(err, "records")
		if all = append(all, out...); next == "" {
			return all
		}
		cursor = next
	}
	t.Fatal("records: the pages do not end")
	return nil
}

func (t *T) sums(f store.UsageFilter, by store.GroupBy) []core.UsageSum {
	t.Helper()
	out, err := t.S.Sums(t.Ctx, f, by)
	t.ok(err, "sums")
	return out
}

// figure finds the figure of a subject's limit.
func (t *T) figure(fs []store.Figure, subject string, n store.LimitName) store.Figure {
	t.Helper()
	for _, f := range fs {
		if f.Subject == subject && f.Limit == n {
			return f
		}
	}
	t.Fatalf("no figure of the %s's %s in %+v", subject, n, fs)
	return store.Figure{}
}

// remaining checks what a figure says is left.
func (t *T) remaining(fs []store.Figure, subject string, n store.LimitName, want int64) {
	t.Helper()
	if f := t.figure(fs, subject, n); f.Remaining != want {
		t.Errorf("%s, %s: %d remaining, want %d", subject, n, f.Remaining, want)
	}
}

// same compares by JSON, which is how values are stored.
func same(a, b any) (string, bool) {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	if err = errors.Join(err, err2); err != nil {
		return err.Error(), false
	}
	return fmt.Sprintf("got  %s\nwant %s", x, y), string(x) == string(y)
}
