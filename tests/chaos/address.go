package main

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// address is one of this machine whose port nobody else is given, whether something listens at it or not: while nothing does,
// connections to it are refused. A socket that is bound and never listens keeps it.
type address struct{ fd, port int }

// holdAddress takes a port that nobody has, until release.
func holdAddress() (*address, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("hold an address: %w", err)
	}
	unix.CloseOnExec(fd)
	a := &address{fd: fd}
	if err = share(uintptr(fd)); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		var at unix.Sockaddr
		if at, err = unix.Getsockname(fd); err == nil {
			a.port = at.(*unix.SockaddrInet4).Port
			return a, nil
		}
	}
	a.release()
	return nil, fmt.Errorf("hold an address: %w", err)
}

func (a *address) String() string { return fmt.Sprintf("127.0.0.1:%d", a.port) }

// listen listens at the address. It can do so again once that listener is closed.
func (a *address) listen() (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if rawErr := raw.Control(func(fd uintptr) { err = share(fd) }); rawErr != nil {
			return rawErr
		}
		return err
	}}
	return c.Listen(context.Background(), "tcp4", a.String())
}

// share lets a socket be bound to the port of another that shares it too, and only of this user.
func share(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func (a *address) release() { _ = unix.Close(a.fd) }
