//go:build unix

package sqltest

import (
	"testing"

	"sluice/shared/store/storetest"
)

// Killed checks that usage is exact while processes are killed. It starts a server of its own.
func Killed(t *testing.T, b Backend) {
	storetest.RunKilled(t, func() string { return b.Empty(t, b.Start(t)) }, storetest.KilledOptions{Open: b.open})
}
