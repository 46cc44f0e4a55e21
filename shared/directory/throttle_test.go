package directory_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"sluice/shared/directory"
)

func TestThrottle(t *testing.T) {
	now := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	th := directory.NewThrottle(3, func() time.Time { return now })
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 3 {
		if wait := th.Take(a); wait != 0 {
			t.Fatalf("failure %d: wait %v", i, wait)
		}
		now = now.Add(time.Second)
	}
	if wait := th.Take(a); wait != 57*time.Second {
		t.Errorf("wait %v, want the rest of the minute", wait)
	}
	if wait := th.Take(b); wait != 0 {
		t.Errorf("another address waits %v", wait)
	}
	th.GiveBack(a)
	if wait := th.Take(a); wait != 0 {
		t.Errorf("after one was given back: wait %v", wait)
	}
	now = now.Add(57 * time.Second)
	if wait := th.Take(a); wait != 0 {
		t.Errorf("a minute after the first: wait %v", wait)
	}
	th.GiveBack(netip.MustParseAddr("192.0.2.9")) // never failed
}

// An IPv6 client has 2^64 addresses to itself: they are one.
func TestThrottleTakesNetworks(t *testing.T) {
	now := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	th := directory.NewThrottle(1, func() time.Time { return now })
	th.Take(netip.MustParseAddr("2001:db8::1"))
	if th.Take(netip.MustParseAddr("2001:db8::ffff:2")) == 0 {
		t.Error("the same network fails on")
	}
	if th.Take(netip.MustParseAddr("2001:db8:0:1::1")) != 0 {
		t.Error("another network waits")
	}
}

// A flood from everywhere neither grows the memory for ever nor shuts anybody out.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	th := directory.NewThrottle(2, func() time.Time { return now })
	for i := range uint32(200_000) {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], i)
		if th.Take(netip.AddrFrom4(raw)) != 0 {
			t.Fatal("a first failure waits")
		}
		if n := th.Len(); n > 10_000 {
			t.Fatalf("%d addresses are remembered", n)
		}
	}
}
