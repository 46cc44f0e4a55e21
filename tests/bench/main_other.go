//go:build !linux

package main

import (
	"fmt"
	"os"
)

// The measurements are those of /proc and of Linux's process clocks.
func main() {
	fmt.Fprintln(os.Stderr, "bench: this benchmark reads /proc and runs on Linux only")
	os.Exit(1)
}
