package redis_test

import (
	"os/exec"
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

func TestKilled(t *testing.T) {
	storetest.RunKilled(t, func() string {
		program, err := exec.LookPath("redis-server")
		if err != nil {
			servers(t, nil) // tells that there is none
		}
		return start(t, program).url("")
	}, storetest.KilledOptions{Open: func(tb testing.TB, place string) store.Store { return open(tb, place) }})
}
