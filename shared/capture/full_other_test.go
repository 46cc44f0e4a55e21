//go:build !linux

package capture_test

func limited() bool { return false }
