// Package sealtest makes what seals for tests.
package sealtest

import (
	"context"
	"testing"

	"sluice/shared/seal"
)

// Box makes a box under a new master key. It fails the test when it cannot.
func Box(t testing.TB) *seal.Box {
	t.Helper()
	master, err := seal.ParseLocalKey(seal.NewLocalKey())
	if err != nil {
		t.Fatal(err)
	}
	_, box, err := seal.NewKeyring(context.Background(), master)
	if err != nil {
		t.Fatal(err)
	}
	return box
}
