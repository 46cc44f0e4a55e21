//go:build unix

package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"syscall"
	"testing"
)

// TestLoginInterrupted: Ctrl-C ends a login at once, with the code of an interrupted program.
func TestLoginInterrupted(t *testing.T) {
	g := newGatewayFake(t, func(w http.ResponseWriter, _ string, _ int) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
		reply(t, w, 200, map[string]any{"id": "1", "verification_uri": "https://device.example/", "expires_in": 3600, "interval": 60})
	})
	var stdout, stderr bytes.Buffer
	err := run([]string{"login", "amazonq"}, g.env, &stdout, &stderr)
	if !errors.Is(err, errInterrupted) || exitCode(err) != 130 || stdout.Len() > 0 {
		t.Errorf("%v, exit code %d, %q", err, exitCode(err), stdout.String())
	}
	if exitCode(errors.New("other")) != 1 {
		t.Error("other errors do not end the program with 1")
	}
}
