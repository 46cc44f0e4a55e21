package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-quick", "-rounds", "3", "-only", "c1,e,g"})
	if err != nil || o.rounds != 3 || o.seconds >= 1 {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"-only", "x"}, {"-only", ""}, {"-targets", "apache"}, {"-rounds", "0"}, {"-seconds", "0"}, {"a"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestUpstreamTakesBehaviours(t *testing.T) {
	var out strings.Builder
	if err := serveUpstream(strings.NewReader("short\nstream\nopen\npaced\n"), &out); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Fields(out.String()); len(lines) != 7 {
		t.Errorf("got %q", lines)
	}
	for _, s := range scenarios() {
		if _, ok := behaviours()[s.behaviour]; !ok {
			t.Errorf("(%s): no behaviour %q", s.id, s.behaviour)
		}
	}
	if err := serveUpstream(strings.NewReader("other\n"), &out); err == nil {
		t.Error("an unknown behaviour was taken")
	}
}

func TestWayChecksStream(t *testing.T) {
	w := way{apiChat, apiMessages}
	whole := reply{Status: 200, Events: textDeltas + 4, Last: doneEvent}
	if err := w.check(whole); err != nil {
		t.Errorf("a whole stream: %v", err)
	}
	few, cut := whole, whole
	few.Events, cut.Last = textDeltas, "data"
	for _, r := range []reply{few, cut} {
		if w.check(r) == nil {
			t.Errorf("%v was taken", r)
		}
	}
}

// TestClocks compares the process clock and memory with what a busy child must
// have used.
func TestClocks(t *testing.T) {
	if os.Getenv("BENCH_TEST_BUSY") != "" {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestClocks$")
	cmd.Env = append(os.Environ(), "BENCH_TEST_BUSY=1")
	c, err := startChild("busy", t.TempDir(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	err = c.waitFor(t.Context(), 30*time.Second, func() error {
		cpu, err := c.cpu()
		if err == nil && cpu < 50*time.Millisecond {
			err = errors.New("not busy yet")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.memory()
	if err != nil || m.now < 1<<20 || m.peak < m.now {
		t.Errorf("memory %+v, %v", m, err)
	}
	c.stop()
	if _, err := c.cpu(); err == nil {
		t.Error("an ended process has a clock")
	}
	if err := c.waitFor(t.Context(), time.Second, func() error { return errors.New("never") }); err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Errorf("got %v", err)
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("cpu  100 1 20 9999 8888 3 4 5 77 0\ncpu0 1 2 3\n")
	if want := 1330 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, stat := range []string{"", "intr 1 2 3", "cpu 1 2", "cpu 1 2 x 4 5 6 7 8"} {
		if _, err := parseStat(stat); err == nil {
			t.Errorf("%q was taken", stat)
		}
	}
}
