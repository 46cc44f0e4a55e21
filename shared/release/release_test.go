package release

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	at := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	vcs := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-03-01T04:00:00Z"}, {Key: "vcs.modified", Value: modified}}}
	}
	for _, c := range []struct {
		why, commit, date string
		info              *debug.BuildInfo
		want              Info
	}{
		{"the linker's word", "fff", "2026-03-01T12:00:00+08:00", vcs("true"), Info{Commit: "fff", Date: at}},
		{"what go build found", "", "", vcs("false"), Info{Commit: "abc", Date: at}},
		{"with changes", "", "", vcs("true"), Info{Commit: "abc-dirty", Date: at}},
		{"a date that is none", "fff", "yesterday", &debug.BuildInfo{}, Info{Commit: "fff"}},
		{"nothing is known", "", "", nil, Info{}},
	} {
		c.want.Go = runtime.Version()
		if got := read(c.commit, c.date, c.info); got != c.want {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
	if Read().Go == "" {
		t.Error("no version of Go")
	}
}
