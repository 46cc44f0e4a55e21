package main

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// A port that a node gave back while it was down was once taken by another server, and the run ended there.
func TestAddress_StaysTheNodes(t *testing.T) {
	a, err := holdAddress()
	if err != nil {
		t.Fatal(err)
	}
	defer a.release()
	for _, when := range []string{"before it is up", "after it was up"} {
		if l, err := net.Listen("tcp", a.String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: another server's listen = %v, %v; want the address in use", when, l, err)
		}
		if c, err := net.Dial("tcp", a.String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: a connection = %v, %v; want it refused", when, c, err)
		}
		l, err := a.listen()
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Close(), l.Close()
	}
}
