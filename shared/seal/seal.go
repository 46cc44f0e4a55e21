// Package seal keeps two kinds of secrets. Node credentials, which must be read again, are sealed with AES-256-GCM
// under a data key that is itself wrapped by a master key. Client keys, which need only be recognised, are stored as
// HMAC-SHA-256 under a pepper.
//
// What is stored is a Keyring: the wrapped data keys, the pepper and a check value, all sealed. It is useless without
// the master key.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"

	"sluice/shared/core"
)

// ErrWrongKey is returned when the master key does not open the keyring's check value.
var ErrWrongKey = errors.New("the master key does not open this database")

// Master wraps data keys: a local key or a key service.
type Master interface {
	// Wrap encrypts a 32-byte data key, Unwrap reverses it. ErrWrongKey when it was not wrapped by this master.
	Wrap(ctx context.Context, plain []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// Keyring is the stored form: JSON, without anything in the clear.
type Keyring struct {
	Version int               `json:"version"`
	Current string            `json:"current"` // id of the data key that seals
	Keys    map[string][]byte `json:"keys"`    // id -> wrapped data key
	Check   core.Sealed       `json:"check"`
	Pepper  core.Sealed       `json:"pepper"`
}

const (
	keySize   = 32
	checkText = "sluice"
)

// NewKeyring makes a keyring with a fresh data key and pepper.
func NewKeyring(ctx context.Context, m Master) (Keyring, *Box, error) {
	data, pepper := make([]byte, keySize), make([]byte, keySize)
	_, _ = rand.Read(data) // crypto/rand.Read never fails
	_, _ = rand.Read(pepper)
	wrapped, err := m.Wrap(ctx, data)
	if err != nil {
		return Keyring{}, nil, fmt.Errorf("wrap a new data key: %w", err)
	}
	k := Keyring{Version: 1, Current: "1", Keys: map[string][]byte{"1": wrapped}}
	b, err := newBox(k.Current, map[string][]byte{"1": data}, pepper)
	if err != nil {
		return Keyring{}, nil, err
	}
	k.Check = b.Seal("check", core.NewSecret(checkText))
	k.Pepper = b.Seal("pepper", core.NewSecret(base64.StdEncoding.EncodeToString(pepper)))
	return k, b, nil
}

// Open unwraps the keyring. ErrWrongKey when the master key is not the one it was made with.
func (k Keyring) Open(ctx context.Context, m Master) (*Box, error) {
	if k.Version != 1 {
		return nil, fmt.Errorf("keyring version %d: %w", k.Version, errors.ErrUnsupported)
	}
	keys := make(map[string][]byte, len(k.Keys))
	for id, w := range k.Keys {
		plain, err := m.Unwrap(ctx, w)
		if err != nil {
			return nil, err
		}
		keys[id] = plain
	}
	b, err := newBox(k.Current, keys, nil)
	if err != nil {
		return nil, err
	}
	if check, err := b.Open("check", k.Check); err != nil || check.Reveal() != checkText {
		return nil, ErrWrongKey
	}
	p, err := b.Open("pepper", k.Pepper)
	if err != nil {
		return nil, ErrWrongKey
	}
	pepper, err := base64.StdEncoding.DecodeString(p.Reveal())
	if err != nil || len(pepper) != keySize {
		return nil, ErrWrongKey
	}
	b.setPepper(pepper)
	return b, nil
}

// Box seals, opens and hashes. It is safe for concurrent use.
type Box struct {
	current string
	aeads   map[string]cipher.AEAD
	macs    *sync.Pool // hash.Hash keyed with the pepper: keying one costs more than the hash of a key
}

func newBox(current string, keys map[string][]byte, pepper []byte) (*Box, error) {
	b := &Box{current: current, aeads: make(map[string]cipher.AEAD, len(keys))}
	for id, k := range keys {
		g, err := newGCM(k)
		if err != nil {
			return nil, err
		}
		b.aeads[id] = g
	}
	if b.aeads[current] == nil {
		return nil, fmt.Errorf("keyring has no data key %q", current)
	}
	b.setPepper(pepper)
	return b, nil
}

func (b *Box) setPepper(pepper []byte) {
	b.macs = &sync.Pool{New: func() any { return hmac.New(sha256.New, pepper) }}
}

func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("data key has %d bytes, want %d", len(key), keySize)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// Seal encrypts s for the place that owner names ("node/12"); it opens for that owner only, so a sealed value copied to
// another document is worthless. The empty secret seals to "".
func (b *Box) Seal(owner string, s core.Secret) core.Sealed {
	if s.IsZero() {
		return ""
	}
	g := b.aeads[b.current]
	nonce := make([]byte, g.NonceSize(), g.NonceSize()+len(s.Reveal())+g.Overhead())
	_, _ = rand.Read(nonce)
	out := g.Seal(nonce, nonce, []byte(s.Reveal()), []byte(owner))
	return core.Sealed("v1." + b.current + "." + base64.RawStdEncoding.EncodeToString(out))
}

// Open decrypts what Seal made for the same owner. "" opens to the empty secret.
func (b *Box) Open(owner string, v core.Sealed) (core.Secret, error) {
	if v == "" {
		return core.Secret{}, nil
	}
	parts := strings.SplitN(string(v), ".", 3)
	if len(parts) != 3 || parts[0] != "v1" {
		return core.Secret{}, errors.New("sealed value has an unknown form")
	}
	g := b.aeads[parts[1]]
	if g == nil {
		return core.Secret{}, fmt.Errorf("sealed value names the unknown data key %q", parts[1])
	}
	raw, err := base64.RawStdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) < g.NonceSize() {
		return core.Secret{}, errors.New("sealed value is damaged")
	}
	plain, err := g.Open(nil, raw[:g.NonceSize()], raw[g.NonceSize():], []byte(owner))
	if err != nil {
		return core.Secret{}, errors.New("sealed value does not open: wrong data key, wrong owner or damaged")
	}
	return core.NewSecret(string(plain)), nil
}

// Hash returns the hex HMAC-SHA-256 of a client credential under the pepper: what is stored and looked up.
func (b *Box) Hash(credential string) string {
	m := b.macs.Get().(hash.Hash)
	defer b.macs.Put(m)
	m.Reset()
	var in, sum [sha256.Size]byte
	if len(credential) <= len(in) {
		n := copy(in[:], credential)
		_, _ = m.Write(in[:n])
	} else {
		_, _ = m.Write([]byte(credential))
	}
	var out [2 * sha256.Size]byte
	hex.Encode(out[:], m.Sum(sum[:0]))
	return string(out[:])
}

// LocalKey is a master key held in memory.
type LocalKey struct{ aead cipher.AEAD }

// ParseLocalKey takes a base64 text (standard or URL alphabet) of exactly 32 bytes.
func ParseLocalKey(s core.Secret) (*LocalKey, error) {
	text := strings.TrimRight(strings.TrimSpace(s.Reveal()), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(raw) != keySize {
		return nil, errors.New("not base64 of 32 bytes; make one with: head -c 32 /dev/urandom | base64")
	}
	g, err := newGCM(raw)
	if err != nil {
		return nil, err
	}
	return &LocalKey{aead: g}, nil
}

// NewLocalKey returns the base64 text of a fresh master key.
func NewLocalKey() core.Secret {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw)
	return core.NewSecret(base64.StdEncoding.EncodeToString(raw))
}

// Wrap implements Master.
func (l *LocalKey) Wrap(_ context.Context, plain []byte) ([]byte, error) {
	nonce := make([]byte, l.aead.NonceSize())
	_, _ = rand.Read(nonce)
	return l.aead.Seal(nonce, nonce, plain, []byte("data key")), nil
}

// Unwrap implements Master.
func (l *LocalKey) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	n := l.aead.NonceSize()
	if len(wrapped) < n {
		return nil, ErrWrongKey
	}
	plain, err := l.aead.Open(nil, wrapped[:n], wrapped[n:], []byte("data key"))
	if err != nil {
		return nil, ErrWrongKey
	}
	return plain, nil
}
