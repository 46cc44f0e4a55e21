package main

import (
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/tests/lambda/stores"
)

func defaults(t *testing.T) *options {
	t.Helper()
	o, err := parse([]string{"-seed=1"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestScripts: whatever the seed, every fault happens, one node has none, and a dead one has time to come back.
func TestScripts(t *testing.T) {
	o := defaults(t)
	for seed := range uint64(300) {
		s := newScript(seed, o.timing, o.gateways)
		if again := newScript(seed, o.timing, o.gateways); !reflect.DeepEqual(s, again) {
			t.Fatalf("seed %d gives two scripts", seed)
		}
		met, good, back := map[string]bool{}, 0, false
		kinds := map[string]bool{}
		for _, n := range s.Nodes {
			kinds[n.Kind] = true
			if n.Good {
				good++
				if len(n.Phases) > 0 {
					t.Errorf("seed %d: the good node has %v", seed, n.Phases)
				}
			}
			for i, p := range n.Phases {
				met[p.Fault] = true
				if i > 0 && p.From < n.Phases[i-1].To || p.To <= p.From || p.To > o.timing.Duration {
					t.Errorf("seed %d: %s: phase %d of %v", seed, n.Name, i, n.Phases)
				}
				next := o.timing.Duration
				if i+1 < len(n.Phases) {
					next = n.Phases[i+1].From
				}
				back = back || p.Fault == faultRefused && next-p.To >= backWithin(o.timing.Interval)
			}
		}
		if len(met) != 15 || good != 1 || !back || len(kinds) != 4 {
			t.Errorf("seed %d: %d faults, %d good nodes, %d kinds, a dead one comes back: %v", seed, len(met), good, len(kinds), back)
		}
		for i, r := range s.Requests {
			if i > 0 && r.After < s.Requests[i-1].After {
				t.Fatalf("seed %d: requests are out of order", seed)
			}
		}
	}
	if reflect.DeepEqual(newScript(1, o.timing, 4), newScript(2, o.timing, 4)) {
		t.Error("the seed means nothing")
	}
}

// TestMarkers: a marker is found in each form in which a prompt reaches an upstream, and requests have one each.
func TestMarkers(t *testing.T) {
	for body, want := range map[string]string{
		`{"content":"mark-7-0a1b Tell me"}`: "mark-7-0a1b", `{"text":"mark-8-x"}`: "mark-8-x", `{"text":"mark-9\n"}`: "mark-9", `{"content":"hi"}`: "",
	} {
		if got := marker(body); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	seen := map[string]bool{}
	for _, r := range newScript(1, defaults(t).timing, 4).Requests {
		if seen[r.Marker] {
			t.Errorf("%s stands twice", r.Marker)
		}
		seen[r.Marker] = true
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"-store=etcd", "-store=", "-duration=1s", "-duration=2h", "-rate=0", "-rate=NaN", "-gateways=0", "more", "-seed=-1"} {
		if o, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%s: taken as %+v", bad, o)
		}
	}
	if _, err := parse([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	if o := defaults(t); len(o.stores) != 3 || o.gateways != 4 || o.timing.Interval != 3*time.Second {
		t.Errorf("defaults %+v", o)
	}
	if o, err := parse([]string{"-long"}); err != nil || o.timing.Interval != 30*time.Second || o.timing.Duration != 6*time.Minute || o.seed == 0 {
		t.Errorf("-long: %+v, %v", o, err)
	}
}

// TestMissingServerIsLoud: a store that this machine does not have is said, and is a failure where it is required.
func TestMissingServerIsLoud(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("SLUICE_TEST_CACHE", t.TempDir())
	for _, name := range []string{stores.Redis, stores.DynamoDB} {
		o := defaults(t)
		o.stores, o.binary = []string{name}, "none"
		t.Setenv("STORETEST_REQUIRE", "mysql")
		var out strings.Builder
		if err := o.all(t.Context(), &out); err != nil || !strings.Contains(out.String(), "NOTHING WAS SHOWN ON "+strings.ToUpper(name)) {
			t.Errorf("%s: error %v, printed %q", name, err, &out)
		}
		t.Setenv("STORETEST_REQUIRE", "mysql,"+name)
		if err := o.all(t.Context(), io.Discard); !errors.Is(err, stores.ErrMissing) {
			t.Errorf("%s is required: error %v", name, err)
		}
	}
}

// TestPrintTellsFailures: a broken promise is printed, and decides.
func TestPrintTellsFailures(t *testing.T) {
	o, l := defaults(t), wellKept()
	var out strings.Builder
	if !o.print(&out, l) {
		t.Errorf("a good run fails:\n%s", &out)
	}
	out.Reset()
	l.index = nil
	l.records = append(l.records, l.records[3])
	if o.print(&out, l) || !strings.Contains(out.String(), "FAIL") || !strings.Contains(out.String(), "has 2 records") {
		t.Errorf("a broken promise passes:\n%s", &out)
	}
}

// TestNodeDies: a node that goes down refuses connections, comes back at its address, and its answers under way do not count
// as given.
func TestNodeDies(t *testing.T) {
	l := &ledger{}
	n, err := openNode(l, nodePlan{Name: "node-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.down()
	c := newClients([]string{"http://" + n.String()})
	defer c.transport.CloseIdleConnections()
	ask := func(m string, onText func()) *request {
		r := &request{planned: planned{Marker: m, API: apiMessages, Model: modelClaude, Stream: true}, onText: onText}
		r.direct = true
		c.do(t.Context(), r)
		return r
	}
	if r := ask("mark-1-x", nil); r.End != endWhole || r.Text != answerText("1-x/node-1/1") {
		t.Errorf("a whole answer: %+v", r)
	}
	if r := ask("mark-last-x", n.down); r.End != endBroken || r.Text == "" {
		t.Errorf("an answer under way: %+v", r)
	}
	if r := ask("mark-2-x", nil); r.End != endBroken || !strings.Contains(r.Error, "refused") {
		t.Errorf("a dead node: %+v", r)
	}
	if err := n.up(); err != nil {
		t.Fatal(err)
	}
	if r := ask("mark-3-x", nil); r.End != endWhole {
		t.Errorf("well again: %+v", r)
	}
	n.down()
	whole := map[string]bool{}
	for _, a := range l.attempts {
		whole[a.Marker] = a.Whole
	}
	if want := map[string]bool{"mark-1-x": true, "mark-last-x": false, "mark-3-x": true}; !maps.Equal(whole, want) {
		t.Errorf("answered: %v, want %v", whole, want)
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil && l.attempts[1].Fault != faultClosing {
		t.Errorf("what broke off: %+v", l.attempts[1])
	}
}
