package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const priceList = `{"claude-opus-5-5":{"litellm_provider":"anthropic","mode":"chat","input_cost_per_token":3e-6,"output_cost_per_token":15e-6}}`

// sluice runs a command against the embedded store of a folder of its own.
func sluice(t *testing.T, env map[string]string, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := run(args, env, &stdout, &stderr)
	return stdout.String(), err
}

// A list from a file or an address changes the prices that `list` shows, and a dry run none.
func TestPrices(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"DATABASE_PATH": filepath.Join(dir, "sluice.db")}
	file := filepath.Join(dir, "prices.json")
	if err := os.WriteFile(file, []byte(priceList), 0o600); err != nil {
		t.Fatal(err)
	}
	served := strings.ReplaceAll(priceList, "3e-6", "7e-6")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/list":
			_, _ = w.Write([]byte(served))
		case "/away":
			http.Redirect(w, r, "http://prices.example/list", http.StatusFound)
		case "/large":
			_, _ = w.Write(bytes.Repeat([]byte(" "), 8<<20+1))
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	opus := func() (price string) {
		out, err := sluice(t, env, "prices", "list")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); f[0] == "claude-opus-5-5" {
				price = f[1] + " " + f[len(f)-1]
			}
		}
		return price
	}
	if got := opus(); got != "4 builtin" {
		t.Errorf("at first: %s", got)
	}
	for _, c := range []struct {
		why, want, says string
		args            []string
	}{
		{"to see first", "4 builtin", "differ    1; nothing", []string{"--dry-run", file}},
		{"a file", "3 list", "changed   1", []string{file}},
		{"the same again", "3 list", "changed   0", []string{file}},
		{"an address, to see first", "3 list", "differ    1", []string{web.URL + "/list", "--dry-run"}},
		{"an address", "7 list", "changed   1", []string{web.URL + "/list"}},
	} {
		out, err := sluice(t, env, append([]string{"prices", "update"}, c.args...)...)
		if err != nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v, %q", c.why, err, out)
		}
		if got := opus(); got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
	out, err := sluice(t, env, "prices", "list", "--json")
	var all struct{ Pricing []map[string]any }
	if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all.Pricing) < 200 || all.Pricing[0]["model_id"] == nil {
		t.Errorf("%v, %.200s", err, out)
	}
	for _, c := range []struct {
		why, says string
		args      []string
	}{
		{"another's network", "must begin with https://", []string{"prices", "update", "http://prices.example/list"}},
		{"a redirect to it", "must begin with https://", []string{"prices", "update", web.URL + "/away"}},
		{"an address without a list", "answered 404", []string{"prices", "update", web.URL + "/none"}},
		{"too much", "larger than 8 MiB", []string{"prices", "update", web.URL + "/large"}},
		{"no file", "no such file", []string{"prices", "update", filepath.Join(dir, "none.json")}},
		{"no list", "no JSON", []string{"prices", "update", env["DATABASE_PATH"]}},
		{"nothing named", "sluice prices update FILE|URL", []string{"prices", "update"}},
		{"no command", "the commands are", []string{"prices"}},
		{"an unknown word", `unknown argument "x"`, []string{"prices", "list", "x"}},
		{"an account that is not", "account not found", []string{"prices", "list", "--account", "acc-nobody"}},
	} {
		if _, err := sluice(t, env, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.why, err, c.says)
		}
	}
}

// Who publishes a list does not send the command to services of this machine.
func TestPricesRedirect(t *testing.T) {
	for _, c := range []struct {
		why, from, to string
		ok            bool
	}{
		{"a mirror", "https://lists.example/a", "https://cdn.example/a", true},
		{"this machine, from elsewhere", "https://lists.example/a", "http://127.0.0.1:8000/x", false},
		{"this machine by name", "https://lists.example/a", "http://localhost/x", false},
		{"on this machine", "http://localhost:8000/a", "http://127.0.0.1:8000/b", true},
		{"another's network", "http://localhost:8000/a", "http://lists.example/a", false},
	} {
		from, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.from, nil)
		if err != nil {
			t.Fatal(err)
		}
		to, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRedirect(to, []*http.Request{from}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}
