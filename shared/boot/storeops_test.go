package boot_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/transfer"
	"sluice/shared/upstream/upstreamtest"
)

// unclosed lets a store in memory stand for a server that outlives its clients.
type unclosed struct{ store.Store }

func (unclosed) Close() error { return nil }

// openers have files, and servers that are stores in memory by name.
func openers(servers map[string]store.Store) map[string]boot.Opener {
	return map[string]boot.Opener{
		"sqlite": func(ctx context.Context, rest core.Secret, log *slog.Logger) (boot.Opened, error) {
			s, err := sqlite.Open(ctx, rest.Reveal(), sqlite.Options{Logger: log})
			if err != nil {
				return boot.Opened{}, err
			}
			return boot.Opened{Store: s, File: rest.Reveal(), Where: rest.Reveal()}, nil
		},
		"server": func(_ context.Context, rest core.Secret, _ *slog.Logger) (boot.Opened, error) {
			if servers[rest.Reveal()] == nil {
				servers[rest.Reveal()] = memory.New()
			}
			return boot.Opened{Store: unclosed{servers[rest.Reveal()]}, Where: "server " + rest.Reveal()}, nil
		},
	}
}

type installation struct {
	t    *testing.T
	open map[string]boot.Opener
	env  map[string]string
}

func (i *installation) config(more ...string) *config.Config {
	i.t.Helper()
	env := map[string]string{"STORE_SPOOL_DIR": filepath.Join(i.t.TempDir(), "spool")}
	for k, v := range i.env {
		env[k] = v
	}
	for n := 0; n+1 < len(more); n += 2 {
		env[more[n]] = more[n+1]
	}
	c, err := config.Parse(env)
	if err != nil {
		i.t.Fatal(err)
	}
	return c
}

func (i *installation) start(url string) (*boot.App, error) {
	i.t.Helper()
	return boot.Open(context.Background(), boot.Options{Part: boot.Everything(), Config: i.config("STORE_URL", url), Openers: i.open, Log: slog.New(slog.DiscardHandler)})
}

// serves asks a gateway on the store, and ends it.
func (i *installation) serves(url string) {
	i.t.Helper()
	app, err := i.start(url)
	if err != nil {
		i.t.Fatalf("no gateway starts on %s: %v", url, err)
	}
	w := httptest.NewRecorder()
	app.Handler.ServeHTTP(w, boottest.Request("POST", "/v1/messages", question, "x-api-key", "alpha-proxy-key-123"))
	if w.Code != 200 {
		i.t.Errorf("on %s: status %d: %s", url, w.Code, w.Body)
	}
	if err := app.Close(); err != nil {
		i.t.Error(err)
	}
}

func (i *installation) copy(from, to string, more ...string) (*transfer.Report, []string, error) {
	i.t.Helper()
	c := i.config(more...)
	log := slog.New(slog.DiscardHandler)
	source, err := boot.OpenStore(i.t.Context(), i.open, core.NewSecret(from), "FROM", log)
	if err != nil {
		return nil, nil, err
	}
	target, err := boot.OpenStore(i.t.Context(), i.open, core.NewSecret(to), "TO", log)
	if err != nil {
		i.t.Fatal(err)
	}
	r, notes, err := boot.CopyStore(i.t.Context(), c, source, target, time.Now, nil)
	if cerr := errors.Join(source.Store.Close(), target.Store.Close()); cerr != nil {
		i.t.Error(cerr)
	}
	return r, notes, err
}

func newInstallation(t *testing.T, more ...string) *installation {
	up := upstreamtest.NewAnthropic(t)
	return &installation{t: t, open: openers(map[string]store.Store{}), env: upstreamEnv(up, append(more, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_ALLOW_PRIVATE", "true")...)}
}

// TestCopiedStoreServes: after a copy a gateway starts on the target and serves with the old keys and credentials,
// wherever the master key lies.
func TestCopiedStoreServes(t *testing.T) {
	master := seal.NewLocalKey().Reveal()
	for _, c := range []struct {
		name     string
		env      []string
		from, to string // FILE is a path of its own
		says     string
	}{
		{"file to file", nil, "sqlite:FILE", "sqlite:FILE", "the master key was copied to"},
		{"file to server", nil, "sqlite:FILE", "server:a", "warning: the master key was copied into server a itself"},
		{"server to file", nil, "server:a", "sqlite:FILE", "the master key was copied to"},
		{"server to server", nil, "server:a", "server:b", "warning: the master key was copied into server b itself"},
		{"with a master key of the operator's", []string{"SLUICE_MASTER_KEY", master}, "sqlite:FILE", "server:a", "needs the same SLUICE_MASTER_KEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newInstallation(t, c.env...)
			path := func(url string) string { return strings.ReplaceAll(url, "FILE", filepath.Join(t.TempDir(), "s.db")) }
			from, to := path(c.from), path(c.to)
			i.serves(from)
			r, notes, err := i.copy(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if r.Requests != 1 || !strings.Contains(strings.Join(notes, "\n"), c.says) {
				t.Errorf("%d requests, notes %q", r.Requests, notes)
			}
			if strings.HasPrefix(to, "sqlite:") {
				key := strings.TrimPrefix(to, "sqlite:") + ".key"
				if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", key, fi, err)
				}
			}
			// the variables are gone: what serves comes from the copy
			delete(i.env, "UPSTREAM_API_KEY")
			delete(i.env, "UPSTREAM_BASE_URL")
			if _, _, err := i.copy(from, to); err != nil {
				t.Errorf("the copy cannot be run again: %v", err)
			}
			i.serves(to)
			i.serves(from)
			if _, _, err := i.copy(from, to); !errors.Is(err, transfer.ErrOther) || !strings.Contains(err.Error(), "TO: ") {
				t.Errorf("a copy over a store that has served: %v", err)
			}
		})
	}
}

// TestCopyRefusals: one clear line, and nothing changed.
func TestCopyRefusals(t *testing.T) {
	i := newInstallation(t)
	dir := t.TempDir()
	from, to := "sqlite:"+filepath.Join(dir, "a.db"), "sqlite:"+filepath.Join(dir, "b.db")
	i.serves(from)
	if _, _, err := i.copy("server:empty", to); !errors.Is(err, transfer.ErrEmpty) || !strings.Contains(err.Error(), "FROM: server empty") {
		t.Errorf("an empty source: %v", err)
	}
	if _, _, err := i.copy(from, to, "SLUICE_MASTER_KEY", seal.NewLocalKey().Reveal()); err == nil || !strings.Contains(err.Error(), "SLUICE_MASTER_KEY") {
		t.Errorf("another master key: %v", err)
	}
	if _, err := i.start(to); !errors.Is(err, transfer.ErrUnfinished) || !strings.Contains(err.Error(), "STORE_URL: ") {
		t.Errorf("a gateway starts on a copy that never began: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.db.key"), []byte(seal.NewLocalKey().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.copy(from, to); err == nil || !strings.Contains(err.Error(), "b.db.key is another master key") {
		t.Errorf("a key file of another: %v", err)
	}
	app, err := i.start(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.copy(from, to); !errors.Is(err, sqlite.ErrInUse) || !strings.HasPrefix(err.Error(), "FROM: ") {
		t.Errorf("a running gateway has it: %v", err)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// TestCheckStore tells of a healthy store, and of what keeps a gateway from starting on one; it makes nothing.
func TestCheckStore(t *testing.T) {
	i := newInstallation(t)
	path := filepath.Join(t.TempDir(), "s.db")
	check := func(url string, more ...string) (*boot.Checked, error) {
		return boot.CheckStore(t.Context(), boot.Options{Part: boot.Everything(), Config: i.config(append(more, "STORE_URL", url)...), Openers: i.open, Log: slog.New(slog.DiscardHandler)})
	}
	r, err := check("sqlite:" + path)
	if err != nil || !strings.HasPrefix(r.Keyring, "none yet") {
		t.Errorf("before the first start: %+v, %v", r, err)
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a check made a master key")
	}
	i.serves("sqlite:" + path)
	r, err = check("sqlite:" + path)
	if err != nil || !strings.Contains(r.Keyring, path+".key") || r.Requests != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, n := range r.Counts {
		if want := map[string]int{store.KindAccount: 1, store.KindKey: 2, store.KindNode: 1}[n.Kind]; want != 0 && n.Source != want {
			t.Errorf("%+v, want %d", n, want)
		}
	}
	if _, err := check("sqlite:"+path, "SLUICE_MASTER_KEY", seal.NewLocalKey().Reveal()); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("another master key: %v", err)
	}
	if err := os.Remove(path + ".key"); err != nil {
		t.Fatal(err)
	}
	if _, err := check("sqlite:" + path); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("without its key: %v", err)
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a check made a master key")
	}
	if _, err := check("cassandra:x"); err == nil || !strings.Contains(err.Error(), "STORE_URL: ") {
		t.Errorf("a store that is not linked: %v", err)
	}
}
