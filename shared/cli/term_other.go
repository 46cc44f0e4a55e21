//go:build !unix

package cli

import (
	"context"
	"os"
)

// readKeys waits until keys were pressed and returns them.
func readKeys(ctx context.Context, in *os.File) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ErrInterrupted
	}
	buf := make([]byte, 256)
	n, err := in.Read(buf)
	return buf[:n], err
}

// resized tells when the terminal got another size: never here; the next frame sees it.
func resized() (c <-chan os.Signal, stop func()) { return nil, func() {} }
