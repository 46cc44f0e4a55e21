// Package logging makes the one logger of a process. Rules: errors are returned or logged, never both; no prompt, no
// completion and no credential is ever an attribute (core.Secret redacts itself if one slips in).
package logging

import (
	"io"
	"log/slog"
)

// New returns a logger that writes to w. level is debug, info, warn or error (else info); format json, else text.
func New(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// Discard returns a logger that drops everything.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
