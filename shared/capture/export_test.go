package capture

import (
	"bytes"
	"context"
)

// Redact is what Keep does before it encrypts, for fuzzing without a disk.
func Redact(ctx context.Context, e *Exchange) error {
	set, err := compile(e.Settings.Redact)
	if err != nil {
		return err
	}
	return e.redact(ctx, set)
}

// Passes reports whether a rule is tried on a text at all, and whether it matches.
func Passes(pattern string, text []byte) (tried, matches, good bool) {
	u, err := compileOne(pattern)
	if err != nil {
		return false, false, false
	}
	return bytes.Contains(lower(text), u.needs), u.re.Match(text), true
}
