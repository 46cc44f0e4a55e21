package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" { // this program is its own processes
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "limits, a process:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestPromises is the short version of the program, on what this machine has.
func TestPromises(t *testing.T) {
	for _, name := range []string{storeMemory, storeRedis, storeDynamoDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				t.Skip("SKIPPED: it takes some 30 seconds")
			}
			o, err := parse([]string{"-quick", "-cpu=false"})
			if err != nil {
				t.Fatal(err)
			}
			rows, err := o.store(t.Context(), name)
			switch {
			case errors.Is(err, errMissing) && !required(name):
				t.Skipf("SKIPPED, NOTHING WAS SHOWN ON %s: %v", strings.ToUpper(name), err)
			case err != nil:
				t.Fatal(err)
			}
			var out strings.Builder
			if !printRows(&out, rows) {
				t.Error("a promise is broken")
			}
			t.Log("\n" + out.String())
		})
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"-store=etcd", "-processes=1", "-workers=0", "-speed=-1", "-speed=NaN", "-limit=0", "-length=1s", "more", "-url=redis://x", "-store=memory -url=redis://x"} {
		if o, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%s: taken as %+v", bad, o)
		}
	}
	if o, err := parse(nil); err != nil || o.processes != 8 || o.length.Minutes() != 3 || len(o.stores) != 2 {
		t.Errorf("defaults %+v, %v", o, err)
	}
}

func TestMissingServerIsLoud(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("SLUICE_TEST_CACHE", t.TempDir())
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORETEST_REQUIRE", "mysql")
	var out strings.Builder
	if err := o.all(t.Context(), &out); err != nil || strings.Count(out.String(), "NOT SHOWN") != 2 {
		t.Errorf("error %v, printed %q, want two stores as not shown", err, &out)
	}
	for _, name := range []string{storeRedis, storeDynamoDB} {
		t.Setenv("STORETEST_REQUIRE", "mysql,"+name)
		if err := o.all(t.Context(), &out); !errors.Is(err, errMissing) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is required: error %v", name, err)
		}
	}
}
