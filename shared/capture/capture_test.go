package capture_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/capture"
	"sluice/shared/core"
	"sluice/shared/seal/sealtest"
	"sluice/shared/web"
)

// TestMain fails the package when a goroutine of it outlives the tests.
func TestMain(m *testing.M) {
	if limited() {
		return
	}
	code := m.Run()
	buf := make([]byte, 1<<20)
	if code == 0 && strings.Contains(string(buf[:runtime.Stack(buf, true)]), "shared/capture.(") {
		_, _ = os.Stderr.WriteString("goroutines of the package were left behind\n")
		code = 1
	}
	os.Exit(code)
}

// places are a rig over each kind of place, and what lies there: names below the folder or the prefix, and their bytes.
func places(t *testing.T, test func(t *testing.T, r *rig, lies func() map[string]string)) {
	t.Run("files", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "captures")
		test(t, newRig(t, "file:"+dir), func() map[string]string { return tree(t, dir) })
	})
	t.Run("s3", func(t *testing.T) {
		f := newFakeS3(t)
		test(t, newRig(t, f.place()), func() map[string]string {
			out := map[string]string{}
			for _, k := range f.keys() {
				name, ok := strings.CutPrefix(k, "pre/fix/")
				if !ok {
					t.Errorf("%s is not below the prefix", k)
				}
				out[name] = string(f.objects[k])
			}
			return out
		})
	})
}

func tree(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func TestKeepAndRead(t *testing.T) {
	places(t, func(t *testing.T, r *rig, lies func() map[string]string) {
		const marker = "MARKER-7d1f-of-a-prompt"
		e := exchange("acc-1", `{"text":"`+marker+`"}`, "event: x\ndata: "+marker+"\n\n")
		e.Stream, e.ErrorCode = true, "stream_cut"
		want := e.Record
		got := r.kept(e)
		if string(got.Request) != string(want.Request) || string(got.Response) != string(want.Response) {
			t.Errorf("bodies %q and %q", got.Request, got.Response)
		}
		got.Request, got.Response, want.Request, want.Response = nil, nil, nil, nil
		if got.RequestID != want.RequestID || got.Node != want.Node || !got.StartedAt.Equal(want.StartedAt) || got.ErrorCode != want.ErrorCode || !got.Stream {
			t.Errorf("head %+v, want %+v", got, want)
		}
		all := lies()
		if len(all) != 1 {
			t.Errorf("%d things lie there", len(all))
		}
		for name, data := range all {
			if want := "acc-1/" + time.Now().UTC().Format(time.DateOnly) + "/" + got.RequestID; name != want {
				t.Errorf("named %s, want %s", name, want)
			}
			for _, s := range []string{marker, "claude-x", "alpha", "stream_cut"} {
				if strings.Contains(data, s) {
					t.Errorf("%q lies there in the clear", s)
				}
			}
		}
		r.silent(marker)
		for why, id := range map[string]string{"another request": web.NewID(), "no id of ours": "../../etc/passwd", "nothing": "", "an odd one": "req_" + strings.Repeat("/", 26)} {
			if _, err := r.Read(t.Context(), "acc-1", id, 7); !errors.Is(err, capture.ErrNone) {
				t.Errorf("%s: %v", why, err)
			}
		}
		if _, err := r.Read(t.Context(), "acc-2", got.RequestID, 7); !errors.Is(err, capture.ErrNone) {
			t.Errorf("of another account: %v", err)
		}
	})
}

// Ids are those of the gateway, but of accounts the importers make some: whatever they hold, nothing leaves the place.
func TestOddNamesStayInside(t *testing.T) {
	places(t, func(t *testing.T, r *rig, lies func() map[string]string) {
		ids := []string{"..", "../../up", "/etc", ".", "a/b", "a\\b", "名前", "~", "a~b", "%2e%2e", "CON", "nul\x00", "a b"}
		for _, id := range ids {
			e := exchange(id, "request of "+id, "")
			if got := r.kept(e); string(got.Request) != "request of "+id || got.Account != id {
				t.Errorf("%q: %+v", id, got)
			}
		}
		if n := len(lies()); n != len(ids) {
			t.Errorf("%d captures of %d accounts", n, len(ids))
		}
		for name := range lies() {
			if strings.Count(name, "/") != 2 || strings.Contains(name, "..") {
				t.Errorf("a capture is named %s", name)
			}
		}
		var seen []string
		_, err := r.Expire(t.Context(), r.clock(), func(id string) (int, bool) { seen = append(seen, id); return 7, true })
		slices.Sort(seen)
		slices.Sort(ids)
		if err != nil || !slices.Equal(seen, ids) {
			t.Errorf("Expire asked for %q, %v", seen, err)
		}
		e := exchange(strings.Repeat("long", 100), "x", "")
		r.Keep(t.Context(), e)
		if r.Counts().Failed != 1 {
			t.Error("a name that is too long was not refused")
		}
	})
}

func TestDamagedAndMovedCapturesDoNotOpen(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, "file:"+dir)
	a, b := exchange("acc", "one", ""), exchange("acc", "two", "")
	c := exchange("other", "three", "")
	for _, e := range []*capture.Exchange{a, b, c} {
		r.kept(e)
	}
	day := time.Now().UTC().Format(time.DateOnly)
	path := func(e *capture.Exchange) string { return filepath.Join(dir, e.Account, day, e.RequestID) }
	whole, err := os.ReadFile(path(a))
	if err != nil {
		t.Fatal(err)
	}
	write := func(p string, data []byte) {
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for cut := range len(whole) { // never a panic, never a half
		write(path(a), whole[:cut])
		if got, err := r.Read(t.Context(), "acc", a.RequestID, 7); err == nil {
			t.Fatalf("cut at %d: %+v", cut, got)
		}
	}
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x40
		write(path(a), bad)
		if got, err := r.Read(t.Context(), "acc", a.RequestID, 7); err == nil {
			t.Fatalf("byte %d changed: %+v", i, got)
		}
	}
	write(path(b), whole)
	write(path(c), whole)
	for _, e := range []*capture.Exchange{b, c} {
		if got, err := r.Read(t.Context(), e.Account, e.RequestID, 7); err == nil {
			t.Errorf("one that was moved opens: %+v", got)
		}
	}
	write(path(a), whole)
	if _, err := r.Read(t.Context(), "acc", a.RequestID, 7); err != nil {
		t.Errorf("the whole does not open: %v", err)
	}
	// another gateway's keys, as without the master key
	o := newRig(t, "file:"+dir)
	if _, err := o.Read(t.Context(), "acc", a.RequestID, 7); err == nil || errors.Is(err, capture.ErrNone) {
		t.Errorf("another key opens it: %v", err)
	}
}

// A body of escapes alone must not take many times its size: it is not kept.
func TestBodyOfEscapes(t *testing.T) {
	for _, c := range []struct {
		why, body string
		kept      bool
	}{
		{"Chinese that an encoder escaped", strings.Repeat(`\u4f60`, 300_000), true},
		{"nothing but the shortest", strings.Repeat(`\n`, 1_000_000), false},
		{"in many small pieces of a stream", strings.Repeat(`{"text":"a\n"}`, 150_000), true},
		{"in too many", strings.Repeat(`{"text":"\n\n\n\n\n\n\n\n"}`, 75_000), false},
	} {
		r := newRig(t, "file:"+t.TempDir())
		e := exchange("acc", "x", c.body)
		e.Stream, e.Settings.MaxBytes = true, core.MaxCaptureBytes
		r.Keep(t.Context(), e)
		if n := r.Counts(); n.Written == 1 != c.kept || n.Failed == 0 != c.kept || !c.kept && !strings.Contains(r.log.String(), "escapes") {
			t.Errorf("%s: %+v, %s", c.why, n, r.log.String())
		}
	}
}

func TestDrop(t *testing.T) {
	places(t, func(t *testing.T, r *rig, lies func() map[string]string) {
		for range 5 {
			r.kept(exchange("a", "x", ""))
		}
		r.kept(exchange("a-b", "x", ""))
		for range 2 { // also of what is not there
			if err := r.Drop(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		if all := lies(); len(all) != 1 {
			t.Errorf("left: %v", all)
		}
	})
}

func TestFilesAreForTheirOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "captures")
	r := newRig(t, "file:"+dir)
	r.kept(exchange("acc", "x", ""))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A link that somebody put into the folder leads nowhere.
func TestLinksAreNotFollowed(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := os.Symlink(out, filepath.Join(dir, "acc")); err != nil {
		t.Skip(err)
	}
	r := newRig(t, "file:"+dir)
	r.Keep(t.Context(), exchange("acc", "x", ""))
	if n := r.Counts(); n.Failed != 1 || len(tree(t, out)) != 0 {
		t.Errorf("%+v, outside: %v", n, tree(t, out))
	}
}

func TestPlaceThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		p, err := capture.ParsePlace("file:" + dir)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := capture.Open(capture.Options{Place: p, Box: sealtest.Box(t)}); err == nil {
			c.Close()
			t.Errorf("%s was taken", dir)
		}
	}
}

// A place that fails costs the log a line a minute and, after three failures, the requests nothing.
func TestPlaceThatFails(t *testing.T) {
	const marker = "MARKER-of-a-prompt-0042"
	down := func(t *testing.T, r *rig, heal func()) {
		for range 5 {
			r.Keep(t.Context(), exchange("acc", marker, marker))
		}
		if n := r.Counts(); n.Failed != 3 || n.Skipped != 2 || n.Written != 0 {
			t.Errorf("%+v", n)
		}
		if n := strings.Count(r.log.String(), "not captured"); n != 1 {
			t.Errorf("%d lines: %s", n, r.log.String())
		}
		r.silent(marker)
		heal()
		r.advance(31 * time.Second)
		r.kept(exchange("acc", "x", ""))
		r.advance(time.Minute)
		r.Skip("there is no room")
		if !strings.Contains(r.log.String(), "there is no room") {
			t.Errorf("the log: %s", r.log.String())
		}
	}
	t.Run("folder that is gone, with a file in its place", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "acc"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		down(t, newRig(t, "file:"+dir), func() { _ = os.Remove(filepath.Join(dir, "acc")) })
	})
	t.Run("folder that may not be written", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		dir := t.TempDir()
		r := newRig(t, "file:"+dir)
		_ = os.Chmod(dir, 0o500)
		down(t, r, func() { _ = os.Chmod(dir, 0o700) })
	})
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"S3 refuses": func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 403, "AccessDenied"); return true },
		"S3 is down": func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 503, "SlowDown"); return true },
		"S3 sends elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
			return true
		},
		"S3 hangs up": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"S3 says nonsense": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(500)
			_, _ = w.Write([]byte("<Code>" + marker + "\n"))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeS3(t)
			r := newRig(t, f.place())
			f.fail(fault)
			down(t, r, func() { f.fail(nil) })
		})
	}
	t.Run("once is not at all", func(t *testing.T) {
		f := newFakeS3(t)
		r := newRig(t, f.place())
		first := true
		f.fail(func(w http.ResponseWriter, _ *http.Request) bool {
			was := first
			first = false
			if was {
				refuse(w, 500, "InternalError")
			}
			return was
		})
		r.kept(exchange("acc", "x", ""))
	})
}

// S3 that does not answer holds a request for the bound, not longer.
func TestPlaceThatHangs(t *testing.T) {
	f := newFakeS3(t)
	r := newRig(t, f.place())
	gone := make(chan struct{})
	f.fail(func(_ http.ResponseWriter, q *http.Request) bool { <-q.Context().Done(); close(gone); return true })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	r.Keep(ctx, exchange("acc", "x", ""))
	if took := time.Since(began); took < time.Second || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	<-gone
	if r.Counts().Failed != 1 {
		t.Errorf("%+v", r.Counts())
	}
}

// TestForeignObjectsAreLeftAlone: a bucket is shared, and a name that is not ours is not removed.
func TestForeignObjectsAreLeftAlone(t *testing.T) {
	f := newFakeS3(t)
	r := newRig(t, f.place())
	r.kept(exchange("acc", "x", ""))
	for _, k := range []string{"pre/fix/notes.txt", "pre/fix/acc/read me.txt", "other/acc/2020-01-01/req_1"} {
		f.objects[k] = []byte("foreign")
	}
	_, err := r.Expire(t.Context(), time.Now().AddDate(1, 0, 0), func(string) (int, bool) { return 0, false })
	if err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("error %v", err)
	}
	for _, k := range []string{"pre/fix/notes.txt", "pre/fix/acc/read me.txt", "other/acc/2020-01-01/req_1"} {
		if f.objects[k] == nil {
			t.Errorf("%s was removed", k)
		}
	}
}

func TestServerSideEncryptionIsAskedFor(t *testing.T) {
	f := newFakeS3(t)
	r := newRig(t, f.place()+"&sse=aws:kms&kms_key=alias/captures")
	r.kept(exchange("acc", "x", ""))
	for _, h := range f.headers {
		if h.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "alias/captures" {
			t.Errorf("headers %v", h)
		}
	}
}

func TestParsePlace(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{"file:data/captures", "files in data/captures", ""},
		{"file:///var/captures", "files in /var/captures", ""},
		{"s3://bucket/pre/fix?region=eu-central-1", "s3://bucket/pre/fix in eu-central-1", ""},
		{"s3://bucket?region=us-east-1", "s3://bucket/ in us-east-1", ""},
		{"s3://bucket/p?region=x&endpoint=http://127.0.0.1:9000/", "s3://bucket/p in x at http://127.0.0.1:9000", ""},
		{"", "", "neither"},
		{"file:", "", "folder"},
		{"http://bucket", "", "neither"},
		{"s3://bucket/p", "", "region"},
		{"s3:///p?region=x", "", "bucket"},
		{"s3://Bucket_1/p?region=x", "", "bucket"},
		{"s3://bucket/../x?region=x", "", "prefix"},
		{"s3://bucket/a%20b?region=x", "", "prefix"},
		{"s3://user:secret@bucket/p?region=x", "", "neither"},
		{"s3://bucket/p?region=x&reigon=y", "", "reigon"},
		{"s3://bucket/p?region=x&endpoint=ftp://x", "", "endpoint"},
		{"s3://bucket/p?region=x&endpoint=https://u:p@x", "", "endpoint"},
		{"s3://bucket/p?region=x&sse=rot13", "", "sse"},
		{"s3://bucket/p?region=x&kms_key=k", "", "kms_key"},
		{"s3://bucket/p?region=x;y", "", "query"},
	} {
		p, err := capture.ParsePlace(c.in)
		switch {
		case c.err == "" && (err != nil || p.String() != c.want):
			t.Errorf("%q: %v, %v", c.in, p, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%q: %v", c.in, err)
		}
	}
}
