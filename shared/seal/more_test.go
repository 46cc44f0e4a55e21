package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"sluice/shared/core"
	"sluice/shared/seal"
)

// TestKeyringShowsNothing: what is stored is useless without the master key.
func TestKeyringShowsNothing(t *testing.T) {
	text := seal.NewLocalKey()
	m, err := seal.ParseLocalKey(text)
	if err != nil {
		t.Fatal(err)
	}
	ring, box, err := seal.NewKeyring(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	sealed := box.Seal("node/1", core.NewSecret("sk-ant-plain"))
	for _, s := range []string{text.Reveal(), "sluice\"", "sk-ant-plain"} {
		if bytes.Contains(stored, []byte(s)) || strings.Contains(string(sealed), s) {
			t.Errorf("%q stands in the clear", s)
		}
	}
}

// TestDamagedKeyring: an error, never a box with another pepper, under which every key would be unknown.
func TestDamagedKeyring(t *testing.T) {
	m := master(t)
	for _, c := range []struct {
		reason string
		damage func(*seal.Keyring)
	}{
		{"another version", func(k *seal.Keyring) { k.Version = 2 }},
		{"no data key", func(k *seal.Keyring) { k.Keys = nil }},
		{"a data key of another id", func(k *seal.Keyring) { k.Current = "7" }},
		{"a cut data key", func(k *seal.Keyring) { k.Keys["1"] = k.Keys["1"][:5] }},
		{"a changed data key", func(k *seal.Keyring) { k.Keys["1"][20] ^= 1 }},
		{"no check value", func(k *seal.Keyring) { k.Check = "" }},
		{"no pepper", func(k *seal.Keyring) { k.Pepper = "" }},
		{"the check value for the pepper", func(k *seal.Keyring) { k.Pepper = k.Check }},
		{"another keyring's pepper", func(k *seal.Keyring) {
			other, _, _ := seal.NewKeyring(context.Background(), m)
			k.Pepper = other.Pepper
		}},
	} {
		ring, _, err := seal.NewKeyring(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		c.damage(&ring)
		if _, err := ring.Open(t.Context(), m); err == nil {
			t.Errorf("%s: it opens", c.reason)
		}
	}
}

// TestHash: the same for the same, another for another, whatever the length, from many goroutines.
func TestHash(t *testing.T) {
	_, a, err := seal.NewKeyring(t.Context(), master(t))
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := seal.NewKeyring(t.Context(), master(t))
	if err != nil {
		t.Fatal(err)
	}
	inputs := []string{"", "x", "admin", strings.Repeat("k", 31), strings.Repeat("k", 32), strings.Repeat("k", 33), strings.Repeat("k", 512), seal.NewKey().Reveal()}
	seen := map[string]string{}
	for _, in := range inputs {
		h := a.Hash(in)
		if len(h) != 64 || seen[h] != "" || strings.Contains(h, in) && in != "" {
			t.Errorf("hash of %.10q: %q", in, h)
		}
		seen[h] = in + "."
		if b.Hash(in) == h {
			t.Errorf("%.10q hashes alike under another pepper", in)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				for _, in := range inputs {
					if seen[a.Hash(in)] != in+"." {
						t.Errorf("hash of %.10q differs", in)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestKeysAreUnlike each other and pass their own check.
func TestKeysAreUnlike(t *testing.T) {
	seen := map[string]bool{}
	for range 2000 {
		k := seal.NewKey().Reveal()
		if seen[k] || !seal.WellFormed(k) || strings.Trim(k, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") != "" {
			t.Fatalf("key %d is bad", len(seen))
		}
		seen[k] = true
	}
}

// TestURLAlphabet: keys that tools print in the other base64 alphabet are the same keys.
func TestURLAlphabet(t *testing.T) {
	std := "++++////AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	url := "----____AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	a, err := seal.ParseLocalKey(core.NewSecret(std))
	if err != nil {
		t.Fatal(err)
	}
	b, err := seal.ParseLocalKey(core.NewSecret(url))
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Wrap(t.Context(), []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unwrap(t.Context(), w); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
}
