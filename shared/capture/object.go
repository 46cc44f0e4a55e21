package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"sluice/shared/core"
)

// A capture is the magic, the length (16 bits, big endian) of its sealed key and that key, then AES-256-GCM (12 bytes of
// nonce in front) of: the length (32 bits) of the head and the head in JSON, the length of the request and the request, the
// response. Each capture has a key of its own, sealed for the account by the gateway's keyring; the object's own name is
// authenticated, so one that is copied to another place does not open there.
const (
	magic     = "SLCAP1\n"
	maxObject = 2*core.MaxCaptureBytes + 1<<20
	keySize   = 32
)

var errDamaged = errors.New("the capture is damaged, or was sealed by another master key")

func owner(account string) string { return "capture/" + account }

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

func (c *Capture) seal(name string, r *Record) ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, 8+len(head)+len(r.Request)+len(r.Response))
	plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(head))), head...)
	plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(r.Request))), r.Request...)
	plain = append(plain, r.Response...)

	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	g, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	sealed := c.o.Box.Seal(owner(r.Account), core.NewSecret(base64.StdEncoding.EncodeToString(key)))
	out := make([]byte, 0, len(magic)+2+len(sealed)+len(plain)+g.Overhead())
	out = append(out, magic...)
	out = append(binary.BigEndian.AppendUint16(out, uint16(len(sealed))), sealed...)
	return g.Seal(out, nil, plain, []byte(name)), nil
}

func (c *Capture) open(account, name string, data []byte) (*Record, error) {
	rest := data
	if len(rest) < len(magic)+2 || string(rest[:len(magic)]) != magic {
		return nil, errDamaged
	}
	rest = rest[len(magic):]
	n := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) < n {
		return nil, errDamaged
	}
	secret, err := c.o.Box.Open(owner(account), core.Sealed(rest[:n]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	key, err := base64.StdEncoding.DecodeString(secret.Reveal())
	if err != nil || len(key) != keySize {
		return nil, errDamaged
	}
	g, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	plain, err := g.Open(nil, nil, rest[n:], []byte(name))
	if err != nil {
		return nil, errDamaged
	}
	return unpack(plain)
}

// unpack reads what only this package can have written: it was authenticated.
func unpack(plain []byte) (*Record, error) {
	part := func() []byte {
		if len(plain) < 4 {
			return nil
		}
		n := int(binary.BigEndian.Uint32(plain))
		if plain = plain[4:]; n > len(plain) {
			return nil
		}
		p := plain[:n]
		plain = plain[n:]
		return p
	}
	r := &Record{}
	if err := json.Unmarshal(part(), r); err != nil {
		return nil, errDamaged
	}
	r.Request = part()
	r.Response = plain
	return r, nil
}
