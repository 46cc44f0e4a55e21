package emf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/metrics/emf"
	"sluice/shared/store"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func options() emf.Options {
	return emf.Options{Function: "gateway-proxy", Now: func() time.Time { return start }}
}

func settled(model string) *core.Settlement {
	return &core.Settlement{Account: "a1", Key: "key-7", Session: "session-7", ServedModel: model, Status: 200,
		Tokens: core.Tokens{Input: 10, CacheRead: 90, Output: 20}, CostUSD: 1_500_001,
		StartedAt: start, EndedAt: start.Add(3 * time.Second), FirstByteMS: 700}
}

// lines reads what was written, by the rules of schema_test.go.
func lines(t *testing.T, written string) []*document {
	t.Helper()
	var ds []*document
	for l := range strings.Lines(written) {
		d, err := parse([]byte(strings.TrimSuffix(l, "\n")))
		if err != nil || !strings.HasSuffix(l, "\n") {
			t.Fatalf("%v in %s", err, l)
		}
		ds = append(ds, d)
	}
	return ds
}

// TestObserve: one request is one line, byte for byte.
func TestObserve(t *testing.T) {
	var b strings.Builder
	w := emf.New(&b, options())
	w.StoreCall("admit", 1500*time.Microsecond, false)
	w.Attempt(core.KindOpenAI, "server")
	w.Attempt(core.KindAnthropic, "ok")
	w.StoreCall("settle", 2*time.Millisecond, true)
	w.InFlight(1)
	w.Observe(settled("claude-opus-4-1"), core.KindAnthropic)
	const want = `{"_aws":{"Timestamp":1795341600000,"CloudWatchMetrics":[` +
		`{"Namespace":"Sluice","Dimensions":[["Function"],["Function","Kind","ModelFamily"]],"Metrics":[` +
		`{"Name":"Requests","Unit":"Count"},{"Name":"Errors","Unit":"Count"},{"Name":"Faults","Unit":"Count"},` +
		`{"Name":"TokensInput","Unit":"Count"},{"Name":"TokensCacheRead","Unit":"Count"},{"Name":"TokensOutput","Unit":"Count"},` +
		`{"Name":"CostUSD","Unit":"None"},{"Name":"FirstByte","Unit":"Milliseconds"},{"Name":"Duration","Unit":"Milliseconds"}]},` +
		`{"Namespace":"Sluice","Dimensions":[["Function"]],"Metrics":[{"Name":"StoreLatency","Unit":"Milliseconds"},` +
		`{"Name":"StoreErrors","Unit":"Count"},{"Name":"Attempts","Unit":"Count"},{"Name":"AttemptsFailed","Unit":"Count"}]}]}` +
		`,"Function":"gateway-proxy","Requests":1,"Errors":0,"Faults":0,"TokensInput":10,"TokensCacheRead":90,"TokensOutput":20,` +
		`"CostUSD":1.500001,"FirstByte":700,"Duration":3000,"Kind":"anthropic","ModelFamily":"claude-opus","outcome":"success",` +
		`"StoreLatency":[1.500,2.000],"StoreErrors":1,"Attempts":2,"AttemptsFailed":1,"attempts":{"ok":1,"server":1}}` + "\n"
	if got := b.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lines(t, b.String())
	b.Reset()
	if err := w.Flush(); err != nil || b.Len() > 0 {
		t.Errorf("told twice: %q, %v", b.String(), err)
	}
}

// TestUsed: a batch is a line of tokens and cost, and no request.
func TestUsed(t *testing.T) {
	var b strings.Builder
	w := emf.New(&b, options())
	w.Attempt(core.KindAnthropic, "ok")
	w.Used(&core.Settlement{ServedModel: "claude-opus-4-1", Status: 200}, core.KindAnthropic) // nothing to tell: a line needs a metric
	w.Used(settled("claude-opus-4-1"), core.KindAnthropic)
	const want = `{"_aws":{"Timestamp":1795341600000,"CloudWatchMetrics":[` +
		`{"Namespace":"Sluice","Dimensions":[["Function"],["Function","Kind","ModelFamily"]],"Metrics":[` +
		`{"Name":"TokensInput","Unit":"Count"},{"Name":"TokensCacheRead","Unit":"Count"},{"Name":"TokensOutput","Unit":"Count"},` +
		`{"Name":"CostUSD","Unit":"None"}]},{"Namespace":"Sluice","Dimensions":[["Function"]],"Metrics":[` +
		`{"Name":"Attempts","Unit":"Count"},{"Name":"AttemptsFailed","Unit":"Count"}]}]},"Function":"gateway-proxy",` +
		`"TokensInput":10,"TokensCacheRead":90,"TokensOutput":20,"CostUSD":1.500001,"Kind":"anthropic","ModelFamily":"claude-opus",` +
		`"Attempts":1,"AttemptsFailed":0,"attempts":{"ok":1}}` + "\n"
	if got := b.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lines(t, b.String())
}

func TestObserve_Failed(t *testing.T) {
	var b strings.Builder
	w := emf.New(&b, options())
	s := settled("gpt-5")
	s.ErrorCode, s.Unpriced, s.Estimated, s.CostUSD, s.FirstByteMS = "stream_cut", true, true, 0, 0
	w.Observe(s, core.KindOpenAI)
	refused := &core.Settlement{Status: 429, ErrorCode: "rate_limited", StartedAt: start, EndedAt: start}
	w.Refused(string(store.LimitRPM))
	w.Observe(refused, "")
	ds := lines(t, b.String())
	want := []map[string]string{
		{"Errors": "1", "Faults": "1", "Unpriced": "1", "Estimated": "1", "outcome": `"upstream"`, "Kind": `"openai"`, "ModelFamily": `"gpt"`, "FirstByte": "", "CostUSD": ""},
		{"Errors": "1", "Faults": "0", "outcome": `"rate_limited"`, "Kind": `"none"`, "ModelFamily": `"none"`, "LimitRefusals": "1",
			"refusals": `{"requests_minute":1}`, "TokensInput": "", "Duration": "0"},
	}
	if len(ds) != len(want) {
		t.Fatalf("%d lines", len(ds))
	}
	for i, members := range want {
		for name, v := range members {
			if got := string(ds[i].Root[name]); got != v {
				t.Errorf("line %d: %s is %q, want %q", i, name, got, v)
			}
		}
	}
}

// What belongs to no request is told at the end of the invocation, and a hundred calls fill a line.
func TestFlush(t *testing.T) {
	var b strings.Builder
	w := emf.New(&b, options())
	for range 250 {
		w.StoreCall("get", time.Millisecond, false)
	}
	w.TokenRefresh(core.KindAmazonQ, "ok")
	w.TokenRefresh(core.KindAmazonQ, "login_needed")
	w.TokenRefresh(core.KindAmazonQ, "failed")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	ds, calls := lines(t, b.String()), 0
	for _, d := range ds {
		calls += strings.Count(string(d.Root["StoreLatency"]), "1.000")
	}
	if len(ds) != 3 || calls != 250 {
		t.Errorf("%d lines with %d calls", len(ds), calls)
	}
	last := ds[len(ds)-1].Root
	if string(last["TokenRefreshes"]) != "3" || string(last["TokenRefreshFailures"]) != "2" {
		t.Errorf("%s refreshes, %s failures", last["TokenRefreshes"], last["TokenRefreshFailures"])
	}
}

// What the compatibility table leaves out is one metric, whatever its name: the names are a member that nothing is billed for.
func TestDropped(t *testing.T) {
	var b strings.Builder
	w := emf.New(&b, options())
	w.Dropped("invoke", "beta:files-api-2025-04-14")
	w.Dropped("invoke", "beta:files-api-2025-04-14")
	w.Dropped("messages-mantle", "beta:files-api-2025-04-14")
	w.Dropped("elsewhere", "a\"b\\\xff")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	root := lines(t, b.String())[0].Root
	if n, by := string(root["BedrockDropped"]), string(root["dropped"]); n != "4" ||
		by != `{"invoke beta:files-api-2025-04-14":2,"messages-mantle beta:files-api-2025-04-14":1,"other a?b??":1}` {
		t.Errorf("%s dropped: %s", n, by)
	}
	b.Reset()
	for i := range 1000 {
		w.Dropped("invoke", fmt.Sprintf("row-%d", i))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var by map[string]int
	root = lines(t, b.String())[0].Root
	if err := json.Unmarshal(root["dropped"], &by); err != nil || len(by) != 64 || by["other"] != 1000-63 || string(root["BedrockDropped"]) != "1000" {
		t.Errorf("%v: %d names, %d others, of %s", err, len(by), by["other"], root["BedrockDropped"])
	}
}

func TestNodes(t *testing.T) {
	var b strings.Builder
	emf.New(&b, options()).Nodes(func(yield func(core.Kind, core.Condition) bool) {
		for _, c := range []core.Condition{core.Online, core.Degraded, core.HalfOpen, core.Cooling, core.Failed, core.BlockedLogin, core.Disabled} {
			if !yield(core.KindAmazonQ, c) {
				return
			}
		}
		yield(core.KindAnthropic, core.Disabled)
	})
	ds := lines(t, b.String())
	if len(ds) != 1 {
		t.Fatalf("%d lines", len(ds))
	}
	for name, want := range map[string]string{"NodesServing": "3", "NodesDown": "3", "NodesBlocked": "1", "Kind": `"amazonq"`} {
		if got := string(ds[0].Root[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestFlush_Error(t *testing.T) {
	w := emf.New(&broken{left: 1}, options())
	w.Observe(settled("gpt-5"), core.KindOpenAI)
	if err := w.Flush(); err != nil {
		t.Errorf("the first line was written: %v", err)
	}
	w.Observe(settled("gpt-5"), core.KindOpenAI)
	if err := w.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the second was not: %v", err)
	}
	if err := w.Flush(); err != nil {
		t.Errorf("an error is told once: %v", err)
	}
}

// Names that clients and operators choose neither break a line nor make a metric.
func TestHostile(t *testing.T) {
	for _, name := range []string{"", " ", ":", "\xff", "a\"b\\c\nd", "::x", "<é>", strings.Repeat("x", 4000), strings.Repeat("é", 300)} {
		var b strings.Builder
		w := emf.New(&b, emf.Options{Function: name, Namespace: name})
		s := settled(name)
		s.ErrorCode, s.Status, s.Account, s.CostUSD, s.FirstByteMS = name, -1, name, -5, -5
		s.Tokens, s.EndedAt = core.Tokens{Input: -1, Output: 1 << 62}, start.Add(-time.Hour)
		w.Attempt(core.Kind(name), name)
		w.Refused(name)
		w.TokenRefresh(core.Kind(name), name)
		w.StoreCall(name, -time.Second, true)
		w.Observe(s, core.Kind(name))
		if ds := lines(t, b.String()); len(ds) != 1 || string(ds[0].Root["Duration"]) != "0" || ds[0].Timestamp < start.UnixMilli()/2 {
			t.Errorf("%q: %s", name, b.String())
		}
	}
}

func TestCardinality(t *testing.T) {
	var b bytes.Buffer
	w, sets := emf.New(&b, options()), map[string]bool{}
	for i := range 10_000 {
		b.Reset()
		w.Observe(settled(fmt.Sprintf("%s-%d", []string{"evil", "opus", "gpt"}[i%3], i)), core.Kind(fmt.Sprintf("kind-%d", i)))
		d, err := parse(bytes.TrimSpace(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range d.Directives {
			for _, set := range dir.Dimensions {
				key := ""
				for _, k := range set {
					key += k + "=" + string(d.Root[k]) + ","
				}
				sets[key] = true
			}
		}
		if strings.Contains(b.String(), "-7") || b.Len() > 2048 {
			t.Fatalf("a key or session, or %d bytes: %s", b.Len(), b.String())
		}
	}
	if len(sets) != 4 {
		t.Errorf("%d sets of dimensions: %v", len(sets), sets)
	}
}

func TestConcurrent(t *testing.T) {
	var b strings.Builder // written under the writer's lock alone
	w := emf.New(&b, options())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				w.Attempt(core.KindAnthropic, "ok")
				w.StoreCall("admit", time.Millisecond, false)
				w.Observe(settled("claude-haiku-4-5"), core.KindAnthropic)
			}
		})
	}
	wg.Wait()
	requests := 0
	for _, d := range lines(t, b.String()) {
		if d.Root["Requests"] != nil {
			requests++
		}
	}
	if requests != 400 {
		t.Errorf("%d requests", requests)
	}
}

// TestLinksNoPrometheus: functions stay small.
func TestLinksNoPrometheus(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "sluice/shared/metrics/emf").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "sluice/shared/core") {
		t.Fatal("the list is not what it should be: the test would pass on nothing")
	}
	for _, d := range deps {
		if first, _, _ := strings.Cut(d, "/"); strings.Contains(first, ".") || d == "sluice/shared/metrics" {
			t.Errorf("emf reaches %s", d)
		}
	}
}

func TestObserve_Allocations(t *testing.T) {
	w, s := emf.New(io.Discard, options()), settled("claude-opus-4-1")
	f := func() {
		w.Attempt(core.KindAnthropic, "ok")
		w.StoreCall("admit", time.Millisecond, false)
		w.Observe(s, core.KindAnthropic)
	}
	f()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	w, s := emf.New(io.Discard, options()), settled("claude-opus-4-1")
	b.ReportAllocs()
	for b.Loop() {
		w.StoreCall("admit", time.Millisecond, false)
		w.Attempt(core.KindAnthropic, "ok")
		w.StoreCall("settle", time.Millisecond, false)
		w.Observe(s, core.KindAnthropic)
	}
}
