package logging_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/logging"
)

func TestLevelsAndFormats(t *testing.T) {
	for _, c := range []struct {
		level, format string
		lines         int
		json          bool
	}{
		{"debug", "json", 4, true}, {"info", "json", 3, true}, {"warn", "text", 2, false}, {"error", "text", 1, false},
		{"nonsense", "nonsense", 3, false}, {"", "", 3, false}, // fall back to info and text: a logger is always had
	} {
		var b bytes.Buffer
		l := logging.New(&b, c.level, c.format)
		l.Debug("d", "key", core.NewSecret("hunter2"))
		l.Info("i", "key", core.NewSecret("hunter2"))
		l.Warn("w\nforged line", "key", core.NewSecret("hunter2"))
		l.Error("e")
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != c.lines {
			t.Errorf("%s %s: %d lines, want %d:\n%s", c.level, c.format, len(lines), c.lines, &b)
		}
		if json.Valid([]byte(lines[0])) != c.json {
			t.Errorf("%s: line %s", c.format, lines[0])
		}
		if strings.Contains(b.String(), "hunter2") {
			t.Errorf("the log shows a secret: %s", &b)
		}
	}
	logging.Discard().Error("nobody hears it")
}
