//go:build unix

package sqltest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes connections on and counts round trips: a client that speaks after the server has spoken.
type proxy struct {
	l     net.Listener
	to    string
	trips atomic.Int64
	deaf  atomic.Bool // nothing comes through any more
	wg    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(tb testing.TB, to string) *proxy {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		s, err := (&net.Dialer{}).Dial("tcp", p.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, c, s)
		p.mu.Unlock()
		var answered atomic.Bool
		p.wg.Go(func() {
			p.pass(s, c, func() {
				if answered.Swap(false) {
					p.trips.Add(1)
				}
			})
		})
		p.wg.Go(func() { p.pass(c, s, func() { answered.Store(true) }) })
	}
}

func (p *proxy) pass(dst, src net.Conn, note func()) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			note()
			if p.deaf.Load() {
				continue
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
