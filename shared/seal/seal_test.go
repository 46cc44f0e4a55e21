package seal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/seal"
)

func master(t *testing.T) *seal.LocalKey {
	t.Helper()
	m, err := seal.ParseLocalKey(seal.NewLocalKey())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestKeyringSurvivesStorage(t *testing.T) {
	ctx, m := context.Background(), master(t)
	ring, box, err := seal.NewKeyring(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	sealed, hashed := box.Seal("node/1", core.NewSecret("sk-ant-secret")), box.Hash("client-key")

	stored, err := json.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	var back seal.Keyring
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	box2, err := back.Open(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := box2.Open("node/1", sealed)
	if err != nil || got.Reveal() != "sk-ant-secret" {
		t.Errorf("opened %q, %v", got.Reveal(), err)
	}
	if box2.Hash("client-key") != hashed {
		t.Error("the pepper did not survive: every stored key would be lost")
	}
	if _, err := back.Open(ctx, master(t)); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another master key: %v, want ErrWrongKey", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, box, err := seal.NewKeyring(context.Background(), master(t))
	if err != nil {
		t.Fatal(err)
	}
	good := box.Seal("node/1", core.NewSecret("s3cret-value"))
	for _, c := range []struct {
		reason, owner string
		value         core.Sealed
	}{
		{"copied to another node", "node/2", good},
		{"truncated", "node/1", good[:len(good)-4]},
		{"a bit changed", "node/1", good[:len(good)-1] + core.Sealed(string(good[len(good)-1]^1))},
		{"unknown data key", "node/1", "v1.9." + core.Sealed(strings.SplitN(string(good), ".", 3)[2])},
		{"unknown form", "node/1", "plain text"},
		{"too short to hold a nonce", "node/1", "v1.1.AAAA"},
	} {
		if s, err := box.Open(c.owner, c.value); err == nil {
			t.Errorf("%s: opened to %d bytes", c.reason, len(s.Reveal()))
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error holds the secret: %v", c.reason, err)
		}
	}
	if s, err := box.Open("node/1", ""); err != nil || !s.IsZero() {
		t.Errorf("an absent credential: %v, %v; want the empty secret", s, err)
	}
	if a, b := box.Seal("n", core.NewSecret("x")), box.Seal("n", core.NewSecret("x")); a == b {
		t.Error("the same text sealed twice looks the same: the nonce repeats")
	}
}

func TestParseLocalKey(t *testing.T) {
	for _, c := range []struct {
		reason, text string
		ok           bool
	}{
		{"standard base64", seal.NewLocalKey().Reveal(), true},
		{"with a newline, as a file has", seal.NewLocalKey().Reveal() + "\n", true},
		{"without padding", strings.TrimRight(seal.NewLocalKey().Reveal(), "="), true},
		{"16 bytes", "AAAAAAAAAAAAAAAAAAAAAA==", false},
		{"a password", "correct horse battery staple", false},
		{"empty", "", false},
	} {
		if _, err := seal.ParseLocalKey(core.NewSecret(c.text)); (err == nil) != c.ok {
			t.Errorf("%s: err %v, want ok=%v", c.reason, err, c.ok)
		}
	}
}

func TestKeyFormat(t *testing.T) {
	key := seal.NewKey().Reveal()
	if len(key) != 56 || !strings.HasPrefix(key, "sluice_") {
		t.Fatalf("key has the form %q", fmt.Sprintf("%d chars", len(key)))
	}
	flip := func(i int) string {
		c := byte('0')
		if key[i] == c {
			c = '1'
		}
		return key[:i] + string(c) + key[i+1:]
	}
	for _, c := range []struct {
		reason, key string
		want        bool
	}{
		{"as made", key, true},
		{"a mistyped character", flip(20), false},
		{"a mistyped checksum", flip(len(key) - 1), false},
		{"cut", key[:40], false},
		{"longer", key + "a", false},
		{"chosen by the operator", "default-proxy-key", true},
		{"one character, chosen by the operator", "x", true},
		{"empty", "", false},
	} {
		if got := seal.WellFormed(c.key); got != c.want {
			t.Errorf("%s: WellFormed = %v", c.reason, got)
		}
	}
	for _, c := range []struct{ key, want string }{
		{key, key[7:11]},
		{"alpha-proxy-key-123", "alph"},
		{"short-key", ""},
	} {
		if got := seal.Prefix(c.key); got != c.want {
			t.Errorf("Prefix(%d chars) = %q, want %q", len(c.key), got, c.want)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	m, _ := seal.ParseLocalKey(seal.NewLocalKey())
	_, box, err := seal.NewKeyring(context.Background(), m)
	if err != nil {
		b.Fatal(err)
	}
	key := seal.NewKey().Reveal()
	b.ReportAllocs()
	for b.Loop() {
		_ = box.Hash(key)
	}
}
