//go:build unix

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// readKeys waits until keys were pressed and returns them. It looks at ctx ten times a second: a read that began cannot be
// taken back, and would take the keys that belong to the shell.
func readKeys(ctx context.Context, in *os.File) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		if ctx.Err() != nil {
			return nil, ErrInterrupted
		}
		fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		if n <= 0 {
			continue
		}
		if n, err = unix.Read(int(in.Fd()), buf); errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.EOF
		}
		return buf[:n], nil
	}
}

// resized tells when the terminal got another size. stop must be called.
func resized() (c <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGWINCH)
	return ch, func() { signal.Stop(ch) }
}
