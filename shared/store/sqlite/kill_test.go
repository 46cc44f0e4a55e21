package sqlite_test

import (
	"testing"

	"sluice/shared/store/storetest"
)

func TestKilled(t *testing.T) {
	storetest.RunKilled(t, func() string { return t.TempDir() }, storetest.KilledOptions{Open: openDir, Alone: true, Kills: 6})
}
