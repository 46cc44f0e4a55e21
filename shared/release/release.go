// Package release tells which build a program is.
package release

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Set by the linker: -X sluice/shared/release.commit=... -X sluice/shared/release.date=... (RFC 3339).
var (
	commit string
	date   string
)

// Info is which build the program is.
type Info struct {
	Commit string    // the whole hash; empty: not known. "-dirty" behind it: and what was not committed
	Date   time.Time // of the commit, in UTC, where nobody named another: the same sources are the same program; zero: not known
	Go     string    // version of the compiler, "go1.26.8"
}

// Read tells what the linker was told, else what the go command found when it built.
func Read() Info {
	b, _ := debug.ReadBuildInfo()
	return read(commit, date, b)
}

func read(commit, date string, b *debug.BuildInfo) Info {
	i := Info{Commit: commit, Date: moment(date), Go: runtime.Version()}
	if b == nil {
		return i
	}
	found := map[string]string{}
	for _, s := range b.Settings {
		found[s.Key] = s.Value
	}
	if i.Commit == "" {
		if i.Commit = found["vcs.revision"]; i.Commit != "" && found["vcs.modified"] == "true" {
			i.Commit += "-dirty"
		}
	}
	if i.Date.IsZero() {
		i.Date = moment(found["vcs.time"])
	}
	return i
}

func moment(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
