package capture_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/capture"
)

func TestExpire(t *testing.T) {
	places(t, func(t *testing.T, r *rig, lies func() map[string]string) {
		for _, account := range []string{"short", "long", "gone"} {
			for range 3 {
				r.kept(exchange(account, "x", "y"))
			}
		}
		keep := func(id string) (int, bool) { return map[string]int{"short": 1, "long": 30}[id], id != "gone" }
		today := time.Now().UTC().Truncate(24 * time.Hour)
		for _, c := range []struct {
			why           string
			now           time.Time
			removed, left int
		}{
			{"of an account that is gone, all", today, 3, 6},
			{"nothing on the day after", today.Add(47 * time.Hour), 0, 6},
			{"a day's, when the day after it is over", today.Add(48 * time.Hour), 3, 3},
			{"not again", today.Add(48 * time.Hour), 0, 3},
			{"the longest", today.AddDate(0, 0, 31), 3, 0},
		} {
			n, err := r.Expire(t.Context(), c.now, keep)
			if err != nil || n != c.removed || len(lies()) != c.left {
				t.Errorf("%s: removed %d, left %d, %v", c.why, n, len(lies()), err)
			}
		}
		e := exchange("long", "x", "y")
		r.kept(e)
		r.advance(32 * 24 * time.Hour)
		if _, err := r.Read(t.Context(), "long", e.RequestID, 30); !errors.Is(err, capture.ErrNone) {
			t.Errorf("one whose time is over is read before it is removed: %v", err)
		}
	})
}

// What somebody else keeps in the same place looks like an account that is gone, and stays.
func TestExpireLeavesWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"backups/one/file", "logs/file", "acc/notes/file"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, "file:"+dir)
	r.kept(exchange("acc", "x", "y"))
	if n, err := r.Expire(t.Context(), time.Now(), func(string) (int, bool) { return 0, false }); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if left := tree(t, dir); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}

// TestExpireGoesOn: what cannot be removed is told, and keeps what other accounts have no longer than it may.
func TestExpireGoesOn(t *testing.T) {
	f := newFakeS3(t)
	r := newRig(t, f.place())
	for _, account := range []string{"a", "b", "c"} {
		r.kept(exchange(account, "x", "y"))
	}
	f.fail(func(w http.ResponseWriter, req *http.Request) bool {
		body, _ := io.ReadAll(req.Body)
		refused := req.Method == http.MethodPost && strings.Contains(string(body), "/b/")
		if req.Body = io.NopCloser(strings.NewReader(string(body))); refused {
			refuse(w, http.StatusForbidden, "AccessDenied")
		}
		return refused
	})
	n, err := r.Expire(t.Context(), time.Now().AddDate(0, 0, 30), func(string) (int, bool) { return 1, true })
	if left := f.keys(); err == nil || n != 2 || len(left) != 1 || !strings.Contains(left[0], "/b/") {
		t.Errorf("removed %d, left %q, %v", n, left, err)
	}
}
