package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/redis"
)

var now = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

// everyLimit is never reached.
var everyLimit = core.Limits{RPM: 1e6, RPD: 1e6, Concurrency: 1e6, TPM: 1e6, USDDay: 1e6, USDMonth: 1e6}

// tenant makes an account with a key and a node, whose names try to end the hash tag early.
func tenant(tb testing.TB, s store.Store, account string, l core.Limits) []store.Subject {
	tb.Helper()
	var out []store.Subject
	for _, sub := range []store.Subject{{Kind: store.KindKey, ID: "k}{x}" + account}, {Kind: store.KindAccount, ID: account}, {Kind: store.KindNode, ID: "n" + account}} {
		v, err := s.Create(tb.Context(), store.Doc{Kind: sub.Kind, ID: sub.ID, Account: account, Unique: []string{"look " + sub.ID}})
		if err != nil {
			tb.Fatal(err)
		}
		sub.Version, sub.Limits = v, l
		out = append(out, sub)
	}
	return out
}

func request(id, account string, subjects ...store.Subject) store.AdmitRequest {
	return store.AdmitRequest{Now: now, ID: id, Account: account, Subjects: subjects, Ask: store.Amount{Tokens: 5, USD: 5}, LeaseEnd: now.Add(time.Minute), Zone: time.UTC}
}

func settlement(id, account string, subjects ...store.Subject) store.SettleRequest {
	return store.SettleRequest{ID: id, Account: account, Now: now, Zone: time.UTC, Subjects: subjects, Used: store.Amount{Tokens: 7, USD: 3},
		Record: core.Settlement{RequestID: id, Account: account, Key: "1", Model: "m", Status: 200, StartedAt: now.Add(-time.Second), EndedAt: now}}
}

// everything calls each verb that runs a script, in every way that matters to its keys.
func everything(tb testing.TB, s *redis.Store, account string) {
	tb.Helper()
	ctx := tb.Context()
	ok := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	subs := tenant(tb, s, account, everyLimit)
	_, err := s.Admit(ctx, request("a"+account, account, subs[:2]...))
	ok(err)
	_, err = s.Admit(ctx, request("a"+account, account, subs[2]))
	ok(err)
	ok(s.Renew(ctx, request("a"+account, account, subs...)))
	late := request("b"+account, account, subs...)
	late.Now, late.LeaseEnd = now.Add(time.Hour), now.Add(2*time.Hour)
	_, err = s.Admit(ctx, late) // ends the leases
	ok(err)
	r := settlement("a"+account, account, subs[:2]...)
	r.Free = subs[2:]
	ok(s.Settle(ctx, r))
	ok(s.Rollup(ctx, now.Add(30*time.Hour)))
	ok(s.Uncost(ctx, account))
	ok(s.Rollup(ctx, now.Add(30*time.Hour)))
	_, err = s.Retain(ctx, now.Add(5*time.Hour), store.Retention{Records: time.Hour})
	ok(err)
	ok(s.Settle(ctx, settlement("b"+account, account, subs...))) // for a closed hour
	ok(s.Rollup(ctx, now.Add(30*time.Hour)))
	d, err := s.Get(ctx, store.KindKey, subs[0].ID)
	ok(err)
	d.Unique, d.Expires = []string{"other " + d.ID}, now.Add(time.Hour)
	_, err = s.Replace(ctx, d)
	ok(err)
	_, err = s.Create(ctx, store.Doc{Kind: store.KindSession, ID: "s" + account, Account: account, Expires: now.Add(-time.Hour)})
	ok(err)
	_, err = s.Purge(ctx, now)
	ok(err)
	ok(s.Delete(ctx, store.KindNode, subs[2].ID, 0))
	_, err = s.Acquire(ctx, "lease "+account, "me", now, time.Minute)
	ok(err)
	ok(s.Release(ctx, "lease "+account, "me"))
	ok(s.DeleteUsage(ctx, account))
}

// tag is the part of a key that decides its place in a Cluster, by the rule of the Cluster's specification.
func tag(key string) string {
	_, rest, ok := strings.Cut(key, "{")
	if tag, _, closed := strings.Cut(rest, "}"); ok && closed && tag != "" {
		return tag
	}
	return key
}

// The keys of each run of a script share a tag, also where names contain braces.
func TestKeysShareATag(t *testing.T) {
	w := &watch{}
	s := openWith(t, "redis://"+miniredis.RunT(t).Addr(), redis.Options{}.WithHooks(w))
	seen := map[string]bool{}
	for _, account := range []string{"acme", "", "}", "{", "a{b}c", "%7D"} {
		if account != "" {
			everything(t, s, account)
		}
		for _, cmd := range w.take() {
			hash, keys, ok := scriptKeys(cmd)
			if !ok {
				continue
			}
			name := s.ScriptName(hash)
			seen[name] = true
			for _, k := range keys {
				if tag(k) != tag(keys[0]) || !strings.HasPrefix(k, "sluice:{") {
					t.Errorf("account %q, %s: keys %q", account, name, keys)
				}
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(seen)), s.ScriptNames(); !slices.Equal(got, want) {
		t.Errorf("ran %v, want all scripts: %v", got, want)
	}
}

// What a script touches it has declared. The server tells by MONITOR what scripts really do.
func TestKeysAreDeclared(t *testing.T) {
	plain(t, func(t *testing.T, program string) {
		srv := start(t, program)
		s := open(t, srv.url(""))
		everything(t, s, "first") // so that every script is known by its hash
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(conn)
		if _, err := fmt.Fprint(conn, "MONITOR\r\n"); err != nil || !lines.Scan() {
			t.Fatal(err, lines.Err())
		}
		everything(t, s, "second")
		if err := s.DB().Echo(t.Context(), "the end").Err(); err != nil {
			t.Fatal(err)
		}
		declared, touched := []string(nil), 0
		for lines.Scan() && !strings.Contains(lines.Text(), `"the end"`) {
			lua := strings.Contains(lines.Text(), " lua] ")
			words := monitored(lines.Text())
			switch {
			case !lua && strings.EqualFold(words[0], "evalsha"):
				n, err := strconv.Atoi(words[2])
				if err != nil {
					t.Fatal(err)
				}
				declared = words[3 : 3+n]
			case lua && !strings.EqualFold(words[0], "time"):
				touched++
				keys := words[1:2]
				if strings.EqualFold(words[0], "del") {
					keys = words[1:]
				}
				for _, k := range keys {
					if !slices.Contains(declared, k) {
						t.Errorf("%q touches %q, declared are %q", words, k, declared)
					}
				}
			}
		}
		if touched < 50 {
			t.Errorf("the server told of %d commands of scripts", touched)
		}
	})
}

// monitored reads a line of MONITOR: time, source in brackets, then quoted words.
func monitored(line string) []string {
	var out []string
	_, line, _ = strings.Cut(line, "] ")
	for line != "" {
		word, err := strconv.QuotedPrefix(line)
		if err != nil {
			break
		}
		text, err := strconv.Unquote(word)
		if err != nil {
			text = word
		}
		out = append(out, text)
		line = strings.TrimPrefix(line[len(word):], " ")
	}
	if len(out) == 0 {
		out = []string{""}
	}
	return out
}

// Admit and Settle are one round trip each, whatever is limited, and so are Renew and a plain Replace.
func TestRoundTrips(t *testing.T) {
	w := &watch{}
	s := openWith(t, "redis://"+miniredis.RunT(t).Addr(), redis.Options{}.WithHooks(w))
	for _, c := range []struct {
		why    string
		limits core.Limits
	}{
		{"nothing is limited", core.Limits{}},
		{"requests are limited, which needs no lease", core.Limits{RPM: 100, RPD: 100}},
		{"everything is limited", everyLimit},
	} {
		account := "acc " + c.why
		subs := tenant(t, s, account, c.limits)
		verbs := []struct {
			name string
			call func(id string) error
		}{
			{"Admit", func(id string) error { _, err := s.Admit(t.Context(), request(id, account, subs[:2]...)); return err }},
			{"Admit again", func(id string) error { _, err := s.Admit(t.Context(), request(id, account, subs[2])); return err }},
			{"Renew", func(id string) error { return s.Renew(t.Context(), request(id, account, subs[:2]...)) }},
			{"Settle", func(id string) error { return s.Settle(t.Context(), settlement(id, account, subs...)) }},
			{"Generation", func(string) error { _, err := s.Generation(t.Context(), account); return err }},
		}
		for i := range 3 {
			for _, v := range verbs {
				w.take()
				if err := v.call(fmt.Sprint(account, i)); err != nil {
					t.Fatal(err)
				}
				if n := len(w.take()); n != 1 && i > 0 { // scripts are new to the server at first, and the account to the list
					t.Errorf("%s, %s: %d round trips, want 1", v.name, c.why, n)
				}
			}
		}
	}
	d, err := s.Get(t.Context(), store.KindAccount, "acc nothing is limited")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w.take()
		if d.Version, err = s.Replace(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if n := len(w.take()); n != 1 && i > 0 {
			t.Errorf("Replace: %d round trips, want 1", n)
		}
	}
}

// A server that forgets its scripts, as after a restart, is told them again.
func TestForgottenScripts(t *testing.T) {
	plain(t, func(t *testing.T, program string) {
		s := open(t, start(t, program).url(""))
		for i := range 3 {
			everything(t, s, fmt.Sprint("acc", i))
			if err := s.DB().ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A refusal reports the same under many workers on a real server as storetest's Hammer, with leases and money in it.
func TestExactAmongWorkers(t *testing.T) {
	plain(t, func(t *testing.T, program string) {
		srv := start(t, program)
		stores := []*redis.Store{open(t, srv.url("")), open(t, srv.url("")), open(t, srv.url(""))}
		subs := tenant(t, stores[0], "acme", core.Limits{USDDay: 500, Concurrency: 120, RPM: 1000})
		subs[1].Limits = core.Limits{TPM: 450, USDMonth: 5000}
		in := make(chan string, 1000)
		done := make(chan error)
		for w := range 100 {
			go func() {
				var last error
				for i := range 5 {
					id := fmt.Sprint(w, "-", i)
					_, err := stores[w%3].Admit(context.WithoutCancel(t.Context()), request(id, "acme", subs[:2]...))
					var r *store.Refusal
					switch {
					case err == nil:
						in <- id
					case !errors.As(err, &r):
						last = err
					}
				}
				done <- last
			}()
		}
		for range 100 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		close(in)
		if len(in) != 90 { // 450 tokens at 5 each come before 100 by money and 120 by concurrency
			t.Fatalf("%d admitted, want 90", len(in))
		}
		for id := range in {
			if err := stores[0].Settle(t.Context(), settlement(id, "acme", subs[:2]...)); err != nil {
				t.Fatal(err)
			}
		}
		res, err := stores[1].Admit(t.Context(), request("x", "acme", subs[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range res.Figures {
			want := map[store.LimitName]int64{store.LimitUSDDay: 500 - 90*3 - 5, store.LimitConcurrency: 119, store.LimitRPM: 1000 - 91}[f.Limit]
			if f.Remaining != want {
				t.Errorf("%+v, want %d remaining", f, want)
			}
		}
	})
}
