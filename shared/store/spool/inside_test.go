package spool

import (
	"bytes"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// FuzzDecode: a damaged line is an error, never a panic; what is read can be written again.
func FuzzDecode(f *testing.F) {
	line, err := encode(&store.SettleRequest{ID: "a", Account: "acme", Now: time.Unix(1, 0), Zone: time.UTC,
		Subjects: []store.Subject{{Kind: store.KindKey, ID: "1", Version: 2, Limits: core.Limits{TPM: 3}}}, Record: core.Settlement{RequestID: "a", Account: "acme"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(line[:len(line)/2])
	f.Add([]byte(`{"id":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := decode(line)
		if err != nil {
			return
		}
		again, err := encode(&r)
		if err != nil || bytes.Count(again, []byte{'\n'}) != 1 || again[len(again)-1] != '\n' {
			t.Fatalf("%q, %v", again, err)
		}
		if r2, err := decode(again); err != nil || !reflect.DeepEqual(r2.Record, r.Record) || r2.ID != r.ID {
			t.Fatalf("%+v, %v; was %+v", r2, err, r)
		}
	})
}

// TestFullDisk: of a line that a full disk took in part nothing stays, and the lines around it are whole.
func TestFullDisk(t *testing.T) {
	d := newFolder(t.TempDir(), DefaultMaxBytes)
	full := false
	d.write = func(f *os.File, b []byte, at int64) (int, error) {
		if full {
			n, _ := f.WriteAt(b[:len(b)/2], at)
			return n, syscall.ENOSPC
		}
		return f.WriteAt(b, at)
	}
	for i, line := range []string{"one\n", "a longer line that is lost\n", "two\n"} {
		full = i == 1
		if err := d.add([]byte(line)); (err != nil) != full {
			t.Errorf("%q: %v", line, err)
		}
	}
	seg, err := d.oldest()
	if err != nil {
		t.Fatal(err)
	}
	if lines, err := seg.read(); err != nil || len(lines) != 2 || string(lines[0]) != "one" || string(lines[1]) != "two" || d.waiting() != 2 || d.total != 8 {
		t.Errorf("%q, %v, %d waiting, %d bytes", lines, err, d.waiting(), d.total)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
