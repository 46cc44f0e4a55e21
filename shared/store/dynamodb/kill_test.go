package dynamodb_test

import (
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/storetest"
)

func TestKilled(t *testing.T) {
	storetest.RunKilled(t, func() string { return newTable(t) },
		storetest.KilledOptions{Open: func(tb testing.TB, place string) store.Store { return open(tb, place, dynamodb.Options{}) }, Kills: 8})
}
