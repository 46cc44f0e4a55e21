package core

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a credential in the clear. Every way of printing, logging or encoding it yields "[redacted]" (or "" when
// it is empty); Reveal is the one way to read it. It is never part of a stored document: those hold Sealed.
type Secret struct{ value string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal returns the credential itself, for the one place that must send or compare it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is empty. It also serves the omitzero JSON option.
func (s Secret) IsZero() bool { return s.value == "" }

// String implements fmt.Stringer without the value.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return redacted
}

// GoString covers %#v.
func (s Secret) GoString() string { return s.String() }

// Format covers every other verb, among them %x and %q, which would otherwise print the field.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer without the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON encodes the redacted form.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText encodes the redacted form.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value as it stands, so that configuration can be parsed straight into a Secret.
func (s *Secret) UnmarshalText(b []byte) error {
	s.value = string(b)
	return nil
}

// UnmarshalJSON takes a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &s.value) }

// Sealed is an encrypted credential as seal.Box writes it: text that is safe to store, useless without the data key.
type Sealed string
