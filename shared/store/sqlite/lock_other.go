//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package sqlite

import "os"

// flock does nothing here: that only one process uses the file is up to the operator.
func flock(*os.File) error { return nil }
