//go:build !unix

package main

import (
	"errors"
	"time"
)

// processCPU cannot tell on this system.
func processCPU() (time.Duration, error) {
	return 0, errors.New("CPU time is not known on this system: run with -cpu=false")
}
