package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
)

// TestSecretNeverShows: whatever prints, logs or encodes a secret, alone or within something, directly or by pointer.
func TestSecretNeverShows(t *testing.T) {
	const value = "sk-ant-very-secret"
	s := core.NewSecret(value)
	type holder struct {
		S core.Secret
		P *core.Secret
		M map[string]core.Secret
		L []core.Secret
	}
	h := holder{s, &s, map[string]core.Secret{"k": s}, []core.Secret{s}}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10.3s"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, h), fmt.Sprintf(verb, &h))
	}
	out = append(out, fmt.Sprint(s), s.String(), s.GoString(), fmt.Errorf("x: %w", errors.New(s.String())).Error())
	for _, v := range []any{s, &s, h, map[string]any{"s": s}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	b, err := json.Marshal(map[core.Secret]int{s: 1})
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, string(b))
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("m", "s", s, "p", &s, "h", h, "g", slog.GroupValue(slog.Any("s", s)))
		out = append(out, b.String())
	}
	hexed := fmt.Sprintf("%x", value)
	for i, text := range out {
		if strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hexed) || strings.Contains(text, value[:8]) {
			t.Errorf("way %d shows it: %s", i, text)
		}
	}
	if s.Reveal() != value || s.IsZero() {
		t.Error("Reveal must give it")
	}
	if z := (core.Secret{}); z.String() != "" || !z.IsZero() {
		t.Error("the empty secret looks like one")
	}
	var back core.Secret
	if err := json.Unmarshal([]byte(`"x"`), &back); err != nil || back.Reveal() != "x" {
		t.Errorf("%q %v", back.Reveal(), err)
	}
}

func TestAsError(t *testing.T) {
	inner := errors.New("dial tcp 10.0.0.5: refused, password hunter2")
	e := core.AsError(inner)
	if e.Code != core.CodeInternal || strings.Contains(e.Message, "hunter2") || !errors.Is(e, inner) {
		t.Errorf("a foreign error: %+v", e)
	}
	own := &core.Error{Code: core.CodeConflict, Message: "m", Cause: inner}
	if got := core.AsError(fmt.Errorf("wrapped: %w", own)); got != own {
		t.Errorf("our own error, wrapped: %+v", got)
	}
	if !strings.Contains(own.Error(), "hunter2") || strings.Contains(own.Message, "hunter2") {
		t.Error("the cause belongs into Error, which is for the log, not into Message")
	}
}

func TestStatusOfCodes(t *testing.T) {
	for code, want := range map[core.Code]int{core.CodeInvalid: 400, core.CodeUnauthenticated: 401, core.CodeForbidden: 403, core.CodeNotFound: 404,
		core.CodeMethodNotAllowed: 405, core.CodeConflict: 409, core.CodeTooLarge: 413, core.CodeRateLimited: 429, core.CodeInternal: 500,
		core.CodeBadGateway: 502, core.CodeUnavailable: 503, core.CodeTimeout: 504, core.CodeOverloaded: 529, "nonsense": 500} {
		if got := code.Status(); got != want {
			t.Errorf("%s is %d, want %d", code, got, want)
		}
	}
}

func TestKeyUsable(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		reason string
		key    core.Key
		ok     bool
		says   string
	}{
		{"no expiry", core.Key{}, true, ""},
		{"a second left", core.Key{ExpiresAt: now.Add(time.Second)}, true, ""},
		{"the very moment", core.Key{ExpiresAt: now}, false, "expired on 2026-03-14T12:00:00Z"},
		{"revoked", core.Key{Revoked: true}, false, "revoked"},
	} {
		if ok, why := c.key.Usable(now); ok != c.ok || !strings.Contains(why, c.says) {
			t.Errorf("%s: %v %q", c.reason, ok, why)
		}
	}
	boss, client := core.Key{Scopes: []core.Scope{core.ScopeAdmin}}, core.Key{Scopes: []core.Scope{core.ScopeInference}}
	if !boss.Has(core.ScopeNodes) || !boss.Has(core.ScopeInference) || client.Has(core.ScopeNodes) || client.Has(core.ScopeAdmin) {
		t.Error("admin includes the other scopes, and nothing else does")
	}
}

func TestTokens(t *testing.T) {
	a := core.Tokens{Input: 1, CacheRead: 2, CacheWrite5m: 4, CacheWrite1h: 8, Output: 16}
	if a.TotalInput() != 15 || a.Add(a) != (core.Tokens{Input: 2, CacheRead: 4, CacheWrite5m: 8, CacheWrite1h: 16, Output: 32}) {
		t.Errorf("sums: %d %+v", a.TotalInput(), a.Add(a))
	}
	for _, c := range []struct {
		status int
		code   string
		want   bool
	}{{200, "", true}, {204, "", true}, {200, "upstream_error", false}, {400, "", false}, {499, "", false}, {0, "", false}} {
		if s := (&core.Settlement{Status: c.status, ErrorCode: c.code}); s.Success() != c.want {
			t.Errorf("status %d code %q: success %v", c.status, c.code, s.Success())
		}
	}
}

// TestKeyRotate: what a rotation replaces works until its overlap ends; rotating again never prolongs that.
func TestKeyRotate(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	k := core.Key{Hashes: []string{"a"}, Prefix: "aaaa"}
	works := func(at time.Duration, hashes string) {
		t.Helper()
		got := ""
		for _, h := range k.Hashes {
			if ok, why := k.Current(h, now.Add(at)); ok {
				got += h
			} else if !strings.Contains(why, "was replaced") {
				t.Errorf("%s: %q", h, why)
			}
		}
		if got != hashes {
			t.Errorf("after %v %q work, want %q", at, got, hashes)
		}
	}
	works(0, "a")
	k.Rotate("b", "bbbb", now.Add(time.Hour), now)
	works(time.Hour-1, "ba")
	works(time.Hour, "b")
	now = now.Add(30 * time.Minute)
	k.Rotate("c", "cccc", now.Add(24*time.Hour), now)
	works(30*time.Minute-1, "cba")
	works(30*time.Minute, "cb")
	now = now.Add(time.Hour)
	k.Rotate("d", "", now, now) // no overlap: all that was before ends, also what had time left
	works(0, "d")
	if len(k.Hashes) != 1 || len(k.Retiring) != 0 || k.Prefix != "" {
		t.Errorf("what is over is kept: %+v", k)
	}
	k.Retiring = []core.Retiring{{Hash: "d", Until: now}} // set anew by other means since
	works(time.Hour, "d")
}

func TestKeyAllowsFrom(t *testing.T) {
	k := core.Key{}
	if !k.AllowsFrom(netip.Addr{}) {
		t.Error("no list allows all")
	}
	k.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	for addr, want := range map[string]bool{"192.0.2.255": true, "192.0.3.0": false, "::ffff:192.0.2.1": true, "2001:db8::9": true, "2001:db8:0:1::9": false} {
		if got := k.AllowsFrom(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if k.AllowsFrom(netip.Addr{}) {
		t.Error("an unknown address is on no list")
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		l                     core.Limits
		zero, metered, leased bool
	}{
		{core.Limits{}, true, false, false}, {core.Limits{RPM: 1, RPD: 1}, false, false, false}, {core.Limits{Concurrency: 1}, false, false, true},
		{core.Limits{TPM: 1}, false, true, true}, {core.Limits{USDDay: 1}, false, true, true}, {core.Limits{USDMonth: 1}, false, true, true},
	} {
		if c.l.IsZero() != c.zero || c.l.Metered() != c.metered || c.l.Leased() != c.leased {
			t.Errorf("%+v: zero %v, metered %v, leased %v", c.l, c.l.IsZero(), c.l.Metered(), c.l.Leased())
		}
	}
}
