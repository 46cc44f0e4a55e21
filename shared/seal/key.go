package seal

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"strings"

	"sluice/shared/core"
)

// KeyPrefix begins every client key that the gateway makes.
const KeyPrefix = "sluice_"

const (
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	bodyChars = 43 // 32 bytes in base62
	sumChars  = 6  // CRC-32 in base62
)

// NewKey makes a client key: "sluice_", 32 random bytes in base62 (43 characters), 6 characters of checksum.
func NewKey() core.Secret {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	body := base62Text(new(big.Int).SetBytes(raw[:]), bodyChars)
	return core.NewSecret(KeyPrefix + body + checksum(body))
}

// WellFormed reports whether a presented credential can exist: one with our prefix must have its length and checksum
// right, so that a mistyped key is refused without a look at the store; any other non-empty text may have been chosen
// by the operator.
func WellFormed(credential string) bool {
	rest, ours := strings.CutPrefix(credential, KeyPrefix)
	if !ours {
		return credential != ""
	}
	return len(rest) == bodyChars+sumChars && checksum(rest[:bodyChars]) == rest[bodyChars:]
}

// Prefix returns what lists may show of a credential: 4 characters, nothing of one under 12.
func Prefix(credential string) string {
	if len(credential) < 12 {
		return ""
	}
	// our own prefix says nothing, the characters behind it tell keys apart
	rest := strings.TrimPrefix(credential, KeyPrefix)
	return rest[:4]
}

func checksum(body string) string {
	return base62Text(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), sumChars)
}

func base62Text(n *big.Int, width int) string {
	out := make([]byte, width)
	mod, b := new(big.Int), big.NewInt(int64(len(base62)))
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, b, mod)
		out[i] = base62[mod.Int64()]
	}
	return string(out)
}
