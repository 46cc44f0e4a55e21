//go:build unix

package tokens

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/redis"
	"sluice/shared/tokens"
	"sluice/shared/upstream"
)

// workerVariable tells a process of this program that it is one of the crew.
const workerVariable = "SLUICE_TOKENS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" { // this program is its own processes
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "tokens, a process:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// job is what a process is told to do.
type job struct {
	URL      string       `json:"url"`     // of the store
	Service  string       `json:"service"` // of the token service
	Master   string       `json:"master"`
	Keyring  seal.Keyring `json:"keyring"`
	Node     core.Node    `json:"node"`
	Holder   string       `json:"holder"`
	Requests int          `json:"requests"` // at once
	Rounds   int          `json:"rounds"`   // one after the other
	Stops    bool         `json:"stops"`    // once the token service has answered
}

// The lines that a process tells.
const (
	ready    = "ready"
	answered = "answered" // by the token service; nothing is saved yet
	ended    = "ended"
)

// line is one of them.
type line struct {
	Kind   string         `json:"kind"`
	Tokens map[string]int `json:"tokens,omitempty"` // access token -> how many requests got it
	Errors map[string]int `json:"errors,omitempty"` // class and block
}

const credential = `{"refresh_token":"from-the-login","client_id":"c","client_secret":"s"}`

func (j *job) target() upstream.Target {
	return upstream.Target{Node: &j.Node, Credential: core.NewSecret(credential)}
}

// vault opens a vault on the store as the gateway would. now is its clock.
func (j *job) vault(ctx context.Context, st store.Store, now func() time.Time, refreshed func()) (*tokens.Vault, error) {
	master, err := seal.ParseLocalKey(core.NewSecret(j.Master))
	if err != nil {
		return nil, err
	}
	box, err := j.Keyring.Open(ctx, master)
	if err != nil {
		return nil, err
	}
	return tokens.New(tokens.Options{Tables: store.NewTables(st, now), Leases: st, Box: box, Now: now, Holder: j.Holder,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Refresh: func(ctx context.Context, _, refresh core.Secret, _ core.Node) (upstream.Grant, error) {
			g, err := post(ctx, j.Service, refresh, now)
			refreshed()
			return g, err
		}}), nil
}

// post asks the token service as its protocol has it.
func post(ctx context.Context, url string, refresh core.Secret, now func() time.Time) (upstream.Grant, error) {
	var g upstream.Grant
	spent := refresh.Reveal()
	if spent == "" {
		spent = "from-the-login"
	}
	body, err := json.Marshal(map[string]string{"grantType": "refresh_token", "refreshToken": spent, "clientId": "c", "clientSecret": "s"})
	if err != nil {
		return g, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/token", bytes.NewReader(body))
	if err != nil {
		return g, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return g, err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		AccessToken, RefreshToken, Error string
		ExpiresIn                        int
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&answer); err != nil {
		return g, err
	}
	switch {
	case answer.Error == "invalid_grant":
		return g, fmt.Errorf("status %d: %w", res.StatusCode, upstream.ErrInvalidGrant)
	case res.StatusCode != http.StatusOK:
		return g, fmt.Errorf("status %d", res.StatusCode)
	}
	return upstream.Grant{Access: core.NewSecret(answer.AccessToken), Refresh: core.NewSecret(answer.RefreshToken),
		Expires: now().Add(time.Duration(answer.ExpiresIn) * time.Second)}, nil
}

// work is the whole life of a process: it reads its job, says that it is ready, reads a line to begin, makes its requests and
// tells what they got.
func work(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	var j job
	text, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := redis.Open(ctx, j.URL, redis.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	tell := json.NewEncoder(out)
	v, err := j.vault(ctx, st, time.Now, func() {
		if j.Stops {
			_ = tell.Encode(line{Kind: answered})
			<-ctx.Done() // until it is killed
			os.Exit(3)
		}
	})
	if err != nil {
		return err
	}
	if err := tell.Encode(line{Kind: ready}); err != nil {
		return err
	}
	if _, err := lines.ReadBytes('\n'); err != nil {
		return fmt.Errorf("read the start: %w", err)
	}
	return tell.Encode(j.requests(ctx, v))
}

func (j *job) requests(ctx context.Context, v *tokens.Vault) line {
	l := line{Kind: ended, Tokens: map[string]int{}, Errors: map[string]int{}}
	var mu sync.Mutex
	for range max(j.Rounds, 1) {
		var wg sync.WaitGroup
		for range j.Requests {
			wg.Go(func() {
				tok, err := v.Token(ctx, j.target())
				mu.Lock()
				defer mu.Unlock()
				var told *upstream.Error
				switch {
				case err == nil:
					l.Tokens[tok.Reveal()]++
				case errors.As(err, &told):
					l.Errors[fmt.Sprint(told.Class, " ", told.Blocked)]++
				default:
					l.Errors[err.Error()]++
				}
			})
		}
		wg.Wait()
	}
	return l
}

// member is a process of the crew.
type member struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *json.Decoder
}

// start starts a process and waits until it is ready.
func start(t *testing.T, j job) *member {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, cmd: exec.CommandContext(t.Context(), self)}
	m.cmd.Env = append(os.Environ(), workerVariable+"=1")
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.lines = json.NewDecoder(out)
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill() // it may have ended
		_ = m.cmd.Wait()
	})
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	m.say(string(text))
	m.hears(ready)
	return m
}

func (m *member) say(text string) {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, text); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) hears(kind string) line {
	m.t.Helper()
	var l line
	if err := m.lines.Decode(&l); err != nil || l.Kind != kind {
		m.t.Fatalf("a process says %+v, %v, want %q", l, err, kind)
	}
	return l
}
