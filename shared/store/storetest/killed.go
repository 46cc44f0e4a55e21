package storetest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// killedVariable tells a process of RunKilled what it is and where the store is.
const killedVariable = "SLUICE_STORETEST_KILLED"

// KilledOptions are for RunKilled.
type KilledOptions struct {
	// Open opens the store at a place, as one process of several.
	Open func(tb testing.TB, place string) store.Store
	// Alone: one process at a time can have the store open. It settles, rolls up and removes, and saves in groups.
	Alone bool
	// Kills is how many processes are killed; 0: 12.
	Kills int
}

// What is asked of the processes.
const (
	keptRecords = 40 * time.Hour
	keptHours   = 70 * time.Hour
	oldest      = 110 * time.Hour
	perKill     = 40 // requests between two kills, up to twice as many
	perWriter   = 60 // requests of each of four writers in a process
	tokensEach  = 7
	costEach    = 3
)

// RunKilled checks that usage is exact while processes that settle, roll up and remove are killed, and after: at every
// moment, by every grouping, sums have all that was settled, each once. It starts the test that calls it, which must not be
// a subtest, as those processes; place is called only in the first, and makes an empty store.
func RunKilled(t *testing.T, place func() string, o KilledOptions) {
	if text := os.Getenv(killedVariable); text != "" {
		role, where, _ := strings.Cut(text, " ")
		(&killed{T: t, role: role, s: o.Open(t, where)}).work(o.Alone)
		return
	}
	k := &killing{T: t, o: o, place: place(), begun: make(map[string]time.Time), safe: make(map[string]bool)}
	if k.o.Kills == 0 {
		k.o.Kills = 12
	}
	if o.Alone {
		k.alone()
	} else {
		k.together()
	}
}

// killed is one of the processes.
type killed struct {
	*testing.T
	role string
	s    store.Store
	out  sync.Mutex
}

func (k *killed) say(words ...any) {
	k.out.Lock()
	defer k.out.Unlock()
	fmt.Println("\n! " + strings.TrimSpace(fmt.Sprintln(words...))) // a write at once: nothing is lost with the process
}

func (k *killed) work(alone bool) {
	var wg sync.WaitGroup
	if alone || strings.HasPrefix(k.role, "janitor") {
		wg.Go(func() { k.janitor(alone) })
	}
	if alone || strings.HasPrefix(k.role, "writer") {
		for w := range 4 {
			wg.Go(func() { k.writer(w, alone) })
		}
	}
	wg.Wait()
	<-k.Context().Done() // to be killed
}

// janitor sums up and removes until it is killed. A round may fail where others get in its way all the time; not each.
func (k *killed) janitor(alone bool) {
	for failed := 0; ; {
		err := housekeep(k.T, k.s)
		switch {
		case err == nil && !alone:
			k.say("round")
		case err != nil && failed == 20:
			k.say("failed", err)
			return
		case err != nil:
			failed++
			continue
		}
		failed = 0
	}
}

func housekeep(t *testing.T, s store.Store) error {
	now := time.Now()
	err := s.Rollup(t.Context(), now)
	if err == nil {
		_, err = s.Retain(t.Context(), now, store.Retention{Records: keptRecords, Hours: keptHours})
	}
	return err
}

// writer settles requests that end now, and late ones of hours whose records are kept, or gone, or whose sums are gone.
// Where it is not killed before, it ends: those who sum up must get to it.
func (k *killed) writer(w int, alone bool) {
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(w)))
	for i := range perWriter {
		end := time.Now()
		if rng.IntN(3) > 0 {
			end = end.Add(-time.Duration(rng.Int64N(int64(oldest))))
		}
		id := fmt.Sprintf("%s-%d-%d", k.role, w, i)
		k.say("begin", id, end.UnixMicro())
		err := settleKilled(k.T, k.s, id, end)
		if err == nil && alone {
			err = k.s.Flush(k.Context())
		}
		if err != nil {
			k.say("failed", err)
			return
		}
		k.say("safe", id)
	}
}

func settleKilled(t *testing.T, s store.Store, id string, end time.Time) error {
	n := len(id) + int(id[len(id)-1])
	r := core.Settlement{RequestID: id, Account: fmt.Sprint("acme", n%2), Key: fmt.Sprint(n % 3), Node: "1", Model: fmt.Sprint(n % 5), Status: 200, Attempts: 1,
		Tokens: core.Tokens{Input: tokensEach}, CostUSD: costEach, StartedAt: end.Add(-time.Duration(n) * time.Millisecond), EndedAt: end, FirstByteMS: 1}
	return s.Settle(t.Context(), store.SettleRequest{ID: id, Account: r.Account, Now: time.Now(), Zone: time.UTC, Record: r})
}

// killing is the first process.
type killing struct {
	*testing.T
	o     KilledOptions
	place string
	procs int

	mu    sync.Mutex
	begun map[string]time.Time // when those requests ended that a process was about to settle
	safe  map[string]bool      // those it told to be settled
}

// process is one that was started.
type process struct {
	role   string
	cmd    *exec.Cmd
	events chan struct{} // one for each thing done; closed at its end
}

func (k *killing) start(kind string) *process {
	k.Helper()
	k.procs++
	p := &process{role: fmt.Sprint(kind, k.procs), events: make(chan struct{}, 1<<20)}
	p.cmd = exec.CommandContext(k.Context(), os.Args[0], "-test.run=^"+k.Name()+"$", "-test.v")
	p.cmd.Env = append(os.Environ(), killedVariable+"="+p.role+" "+k.place)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		k.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			k.hear(p, lines.Text())
		}
	}()
	k.Cleanup(func() { k.end(p) })
	return p
}

func (k *killing) hear(p *process, line string) {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "!" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case words[1] == "begin" && len(words) == 4:
		us, err := strconv.ParseInt(words[3], 10, 64)
		if err != nil {
			return
		}
		k.begun[words[2]] = time.UnixMicro(us)
	case words[1] == "safe" && len(words) == 3:
		k.safe[words[2]] = true
		p.events <- struct{}{}
	case words[1] == "round":
		p.events <- struct{}{}
	case words[1] == "failed":
		k.Errorf("%s: %s", p.role, line)
	}
}

// await waits until a process has done n things more.
func (k *killing) await(p *process, n int) {
	k.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for range n {
		select {
		case _, ok := <-p.events:
			if !ok {
				k.Fatalf("%s ended", p.role)
			}
		case <-limit.C:
			k.Fatalf("%s does nothing", p.role)
		}
	}
}

// end kills a process and reads what it told to its end.
func (k *killing) end(p *process) {
	_ = p.cmd.Process.Kill() // it may be killed already
	for range p.events {
	}
	_ = p.cmd.Wait() // it was killed, which is an error
}

func (k *killing) together() {
	rng := rand.New(rand.NewPCG(11, 13))
	s := k.o.Open(k, k.place)
	if err := housekeep(k.T, s); err != nil {
		k.Fatal(err)
	}
	procs := []*process{k.start("writer"), k.start("writer"), k.start("janitor"), k.start("janitor")}
	for range k.o.Kills {
		i := rng.IntN(len(procs))
		if i < 2 {
			k.await(procs[i], perKill+rng.IntN(perKill))
		} else {
			k.await(procs[i], 1)
		}
		k.end(procs[i])
		k.sums(s, "on the way")
		procs[i] = k.start(strings.TrimRight(procs[i].role, "0123456789"))
	}
	for _, p := range procs {
		k.end(p)
	}
	k.settled(s)
}

func (k *killing) alone() {
	rng := rand.New(rand.NewPCG(11, 13))
	for range k.o.Kills {
		p := k.start("all")
		k.await(p, perKill+rng.IntN(perKill))
		k.end(p)
		s := k.o.Open(k, k.place)
		k.sums(s, "after a kill")
		if err := s.Close(); err != nil {
			k.Fatal(err)
		}
	}
	s := k.o.Open(k, k.place)
	k.settled(s)
	if err := s.Close(); err != nil {
		k.Error(err)
	}
}

func (k *killing) counts() (begun, safe int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(len(k.begun)), int64(len(k.safe))
}

var killedGroupings = []store.GroupBy{store.GroupNone, store.GroupAccount, store.GroupKey, store.GroupModel, store.GroupHour, store.GroupDay, store.GroupMonth}

// sums checks that sums have what is settled, and no more than what was begun.
func (k *killing) sums(s store.Store, when string) {
	k.Helper()
	for _, by := range killedGroupings {
		_, least := k.counts()
		n := k.total(s, store.UsageFilter{}, by, when)
		if most, _ := k.counts(); n < least || n > most {
			k.Errorf("%s, by %q: %d requests, want %d to %d", when, by, n, least, most)
		}
	}
}

// total is how many requests the sums count; what else they count must go with that.
func (k *killing) total(s store.Store, f store.UsageFilter, by store.GroupBy, when string) (n int64) {
	k.Helper()
	sums, err := s.Sums(k.Context(), f, by)
	if err != nil {
		k.Fatalf("%s: %v", when, err)
	}
	for _, u := range sums {
		if n += u.Requests; u.Tokens.Input != tokensEach*u.Requests || u.CostUSD != costEach*u.Requests || u.Total.Count() != u.Requests || u.FirstByte.Count() != u.Requests {
			k.Errorf("%s, by %q: %+v does not agree with itself", when, by, u)
		}
	}
	return n
}

// settled ends what was begun, as callers do that got no answer, and checks everything exactly.
func (k *killing) settled(s store.Store) {
	k.Helper()
	unsure := int64(0)
	for id, end := range k.begun {
		switch {
		case k.safe[id]:
		case time.Since(end) > keptRecords-time.Hour: // once its record is gone nobody knows that it was settled
			unsure++
		default:
			if err := settleKilled(k.T, s, id, end); err != nil {
				k.Fatal(err)
			}
			k.safe[id] = true
		}
	}
	if err := s.Flush(k.Context()); err != nil {
		k.Fatal(err)
	}
	first := int64(-1)
	for _, when := range []string{"at the end", "after one more Rollup and Retain"} {
		for _, by := range killedGroupings {
			n := k.total(s, store.UsageFilter{}, by, when)
			if first < 0 {
				first = n
			}
			if least := int64(len(k.safe)); n != first || n < least || n > least+unsure {
				k.Errorf("%s, by %q: %d requests, want %d, which is %d to %d", when, by, n, first, least, least+unsure)
			}
		}
		recent := store.UsageFilter{From: time.Now().Add(2*time.Hour - keptRecords)}
		records, wanted := k.listed(s, recent), 0
		for _, end := range k.begun {
			if !end.Before(recent.From.Truncate(time.Microsecond)) {
				wanted++
			}
		}
		if n := k.total(s, recent, store.GroupNone, when); n != int64(records) || records != wanted {
			k.Errorf("%s: of what is kept there are %d records, sums count %d, want %d", when, records, n, wanted)
		}
		if err := housekeep(k.T, s); err != nil {
			k.Fatal(err)
		}
	}
	k.Logf("%d requests settled, %d that nobody knows of", len(k.safe), unsure)
}

func (k *killing) listed(s store.Store, f store.UsageFilter) (n int) {
	k.Helper()
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := s.Records(k.Context(), f, cursor, 1000)
		if err != nil {
			k.Fatal(err)
		}
		n, cursor = n+len(page), next
	}
	return n
}
