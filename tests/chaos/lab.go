package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/shared/seal"
	"sluice/shared/store/dynamodb"
	"sluice/tests/lambda/stores"
)

// storeMemory is each process's own.
const storeMemory = "memory"

// lab is one store with the gateways and the fake upstreams of a run.
type lab struct {
	o        *options
	script   *script
	ledger   *ledger
	nodes    map[string][]*node // of each account
	gateways []*gateway
	clients  *clients
	addr     string // of the store; empty: it is in the processes
}

// try runs the script on a store. The error is of the program's own surroundings: what the gateway does wrong is in the ledger.
func try(ctx context.Context, o *options, store, dir string) (*ledger, error) {
	ctx, cancel := context.WithCancel(ctx)
	b := &lab{o: o, script: newScript(o.seed, o.timing, o.gateways), ledger: &ledger{Store: store, Shared: store != storeMemory, Interval: o.timing.Interval,
		Fails: failThreshold, Gateways: o.gateways, Kinds: map[string]string{}}}
	defer b.close(cancel)
	env, stop, err := b.storeEnv(ctx, store, dir)
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := b.open(ctx, dir, env); err != nil {
		return nil, err
	}
	if err := b.play(ctx); err != nil {
		return nil, err
	}
	if err := b.settle(ctx); err != nil {
		return nil, err
	}
	b.end(ctx)
	for n := range b.all() {
		n.look()
	}
	b.ledger.away = map[string]bool{}
	for _, g := range b.gateways {
		if err := g.read(b.ledger); err != nil {
			return nil, err
		}
	}
	return b.ledger, ctx.Err()
}

// all are the nodes of all accounts.
func (b *lab) all() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, nodes := range b.nodes {
			for _, n := range nodes {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// failThreshold is PROXY_FAIL_THRESHOLD's default.
const failThreshold = 3

// storeEnv starts the store and returns what the gateways need of it.
func (b *lab) storeEnv(ctx context.Context, name, dir string) (env []string, stop func(), err error) {
	env = []string{"SLUICE_MASTER_KEY=" + seal.NewLocalKey().Reveal(), fmt.Sprintf("PROXY_HEALTH_INTERVAL_SEC=%d", int(b.o.timing.Interval.Seconds()))}
	if name == storeMemory {
		return append(env, "STORE_URL=memory:"), func() {}, nil
	}
	s, err := stores.Start(ctx, name, dir)
	if err != nil {
		return nil, nil, err
	}
	b.addr = s.Addr
	env = append(env, "STORE_URL="+s.URL)
	if name == stores.DynamoDB {
		env = append(env, stores.Credentials()...)
		err = createTable(ctx, s.URL)
	}
	if err != nil {
		s.Stop()
		return nil, nil, err
	}
	return env, s.Stop, nil
}

// createTable makes DynamoDB Local's table, with its credentials and nothing of the user's.
func createTable(ctx context.Context, url string) error {
	for _, v := range stores.Credentials() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return dynamodb.CreateTable(ctx, url)
}

// open starts nodes and gateways, at once, and seeds them.
func (b *lab) open(ctx context.Context, dir string, env []string) error {
	b.nodes = map[string][]*node{}
	add := func(account string, p nodePlan) error {
		n, err := openNode(b.ledger, p)
		if err == nil {
			n.dark = account == accountDark
			b.nodes[account] = append(b.nodes[account], n)
		}
		return err
	}
	for _, p := range b.script.Nodes {
		b.ledger.Kinds[p.Name] = p.Kind
		if p.Good {
			b.ledger.Good = p.Name
		}
		if err := add(accountMain, p); err != nil {
			return err
		}
	}
	for i, kind := range []string{kindAnthropic, kindOpenAI} {
		if err := add(accountDark, nodePlan{Name: fmt.Sprint(accountDark, "-", i+1), Kind: kind}); err != nil {
			return err
		}
	}
	if err := add(accountNarrow, b.script.Narrow); err != nil {
		return err
	}
	for i := range b.o.gateways {
		g, err := startGateway(ctx, b.o.binary, dir, i, env)
		if err != nil {
			return err
		}
		b.gateways = append(b.gateways, g)
	}
	var urls []string
	for _, g := range b.gateways {
		if err := g.ready(ctx); err != nil {
			return err
		}
		urls = append(urls, g.URL)
	}
	b.clients = newClients(urls)
	for i, g := range b.gateways {
		if i > 0 && b.ledger.Shared {
			continue
		}
		if err := g.seed(b.nodes); err != nil {
			return err
		}
	}
	return b.warm(ctx)
}

// warm waits until every gateway knows the nodes, then counts what it has open. The requests are the first of the record.
func (b *lab) warm(ctx context.Context) error {
	if b.ledger.Shared && !pause(ctx, hearsay) {
		return ctx.Err()
	}
	for g, gw := range b.gateways {
		r := b.clients.send(ctx, planned{Marker: fmt.Sprintf("mark-warm-%d", g), Account: accountMain, Gateway: g, API: apiMessages, Model: modelClaude, Stream: true})
		if r.End != endWhole {
			return fmt.Errorf("gateway %d does not work before anything has happened: %s (%s)", g, r.Error, r.End)
		}
		b.ledger.addRequest(r)
		before, _ := gw.descriptors(b.addr)
		b.ledger.procs = append(b.ledger.procs, process{Before: before})
	}
	return nil
}

// play lets the script happen, and returns when all its requests have ended.
func (b *lab) play(ctx context.Context) error {
	start := time.Now()
	var wg sync.WaitGroup
	nodes := slices.Collect(b.all())
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		wg.Go(func() { errs[i] = n.run(ctx, start) })
	}
	for _, p := range b.script.Requests {
		if !pause(ctx, time.Until(start.Add(p.After))) {
			break
		}
		wg.Go(func() { b.ledger.addRequest(b.clients.send(ctx, p)) })
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// settle waits until every request has its record, and reads all. One that is missing after that time is in the ledger.
func (b *lab) settle(ctx context.Context) error {
	ask := b.gateways
	if b.ledger.Shared {
		ask = ask[len(ask)-1:]
	}
	deadline := time.Now().Add(settled)
	for {
		var all []record
		for _, g := range ask {
			rs, err := g.records()
			if err != nil {
				return err
			}
			all = append(all, rs...)
		}
		b.ledger.records = all
		if len(all) >= len(b.ledger.requests) || time.Now().After(deadline) {
			break
		}
		if !pause(ctx, 500*time.Millisecond) {
			return ctx.Err()
		}
	}
	b.ledger.sums = map[string]int64{}
	for _, g := range ask {
		s, err := g.summary()
		if err != nil {
			return err
		}
		for name, n := range s {
			b.ledger.sums[name] += n
		}
	}
	return nil
}

// idleFor is how long connections that were closed may take to be gone.
const idleFor = 10 * time.Second

// end counts what the gateways have open when nothing is left to do, and ends them with a stream under way.
func (b *lab) end(ctx context.Context) {
	b.clients.transport.CloseIdleConnections()
	for n := range b.all() { // which closes the gateways' connections to them
		n.down()
		if err := n.up(); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
		}
	}
	var wg sync.WaitGroup
	for i, g := range b.gateways {
		wg.Go(func() { b.stop(ctx, g, &b.ledger.procs[i]) })
	}
	wg.Wait()
}

// stop ends one gateway.
func (b *lab) stop(ctx context.Context, g *gateway, p *process) {
	select {
	case <-g.done:
		p.Early = fmt.Sprint("exit: ", g.err)
		return
	default:
	}
	for deadline := time.Now().Add(idleFor); ; {
		if p.After, p.Pool = g.descriptors(b.addr); p.After <= p.Before+spare || time.Now().After(deadline) || !pause(ctx, 200*time.Millisecond) {
			break
		}
	}
	p.MemoryMB = g.memory()
	p.Asked = 2
	whole := make(chan bool, p.Asked)
	began := make(chan struct{}, p.Asked)
	for i := range p.Asked {
		go func() { whole <- b.lastWords(ctx, g, i, began) }() // ends with its request, which has a deadline
	}
	for range p.Asked {
		<-began
	}
	told := time.Now()
	if err := g.terminate(); err != nil {
		p.Early = err.Error()
	}
	for range p.Asked {
		if <-whole {
			p.Drained++
		}
	}
	p.Exit = g.ended()
	p.Stop = time.Since(told)
}

// lastWords makes a stream that lasts some seconds and reports whether it came whole. began hears of its first content, or of
// its end.
func (b *lab) lastWords(ctx context.Context, g *gateway, i int, began chan<- struct{}) bool {
	r := &request{planned: planned{Marker: fmt.Sprintf("mark-last-%d-%d", g.index, i), Account: accountMain, Gateway: g.index, API: apiMessages, Model: modelClaude, Stream: true}}
	once := sync.OnceFunc(func() { began <- struct{}{} })
	defer once()
	r.onText = once
	b.clients.do(ctx, r)
	return r.End == endWhole && len(r.Text) > pieces
}

// close ends what is left.
func (b *lab) close(cancel func()) {
	cancel()
	for _, g := range b.gateways {
		<-g.done
	}
	for n := range b.all() {
		n.down()
		n.release()
	}
	if b.clients != nil {
		b.clients.transport.CloseIdleConnections()
	}
}

// missing reports whether a store is not there and need not be.
func missing(name string, err error) bool {
	return errors.Is(err, stores.ErrMissing) && !stores.Required(name)
}
