package clients_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// codexConfig points Codex at the gateway. %s are the model and the address.
const codexConfig = `model = %q
model_provider = "gateway"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.gateway]
name = "gateway"
base_url = "%s/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
`

// codex runs `codex exec args... prompt` with nothing in its environment but the key, and a home of its own. Files are
// put into its working folder first.
func (s *stage) codex(prompt string, files map[string][]byte, args ...string) cliRun {
	s.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		s.Fatalf("node is missing: %v", err)
	}
	launcher, err := filepath.Abs("node_modules/@openai/codex/bin/codex.js")
	s.noError(err)
	home, err := os.MkdirTemp("", "sluice-codex-")
	s.noError(err)
	s.Cleanup(func() { _ = os.RemoveAll(home) }) // the program may leave a process that still writes
	work := filepath.Join(home, "work")
	s.noError(os.MkdirAll(filepath.Join(home, ".codex"), 0o700))
	s.noError(os.Mkdir(work, 0o700))
	s.noError(os.WriteFile(filepath.Join(home, ".codex", "config.toml"), fmt.Appendf(nil, codexConfig, s.model, s.tap.URL), 0o600))
	for name, data := range files {
		s.noError(os.WriteFile(filepath.Join(work, name), data, 0o600))
	}
	// The only command that it runs is the one of these tests, and not every machine has what its sandbox needs.
	cmd := exec.CommandContext(within(s.T, cliPatience), program,
		append([]string{launcher, "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", prompt}, args...)...)
	cmd.Dir, cmd.WaitDelay = work, 10*time.Second
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=/usr/local/bin:/usr/bin:/bin", "GATEWAY_KEY=" + proxyKey}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		s.Fatalf("codex does not start: %v", err)
	}
	if strings.Contains(errs.String(), "Missing optional dependency") || strings.Contains(errs.String(), "Cannot find module") {
		s.Fatalf("is codex installed? install.sh does that\n%s", &errs)
	}
	return cliRun{out: out.String(), errs: errs.String(), exit: err, took: time.Since(start)}
}

// eachCodex runs a test over each kind of node, for the two forms in which Codex sends its tools: models that it knows get
// them in the input, as an item of namespaces with tools that take text; all others as ever.
func eachCodex(t *testing.T, test func(s *stage)) {
	t.Helper()
	t.Parallel()
	for _, asked := range []string{gpt, model} {
		t.Run(asked, func(t *testing.T) {
			each(t, allKinds, func(s *stage) {
				if asked != s.model {
					s.mapModels(asked[:4]+"*", s.model)
					s.model = asked
				}
				test(s)
			})
		})
	}
}

// checkCodex verifies what holds for every run.
func (s *stage) checkCodex(r cliRun, printed string) {
	s.Helper()
	if r.exit != nil || strings.TrimSpace(r.out) != printed {
		s.Fatal(r)
	}
	s.checkSaid()
	for i, x := range s.asked() {
		here := read(s.T, x.Path, x.Body)
		if want := here.Tools["functions__exec"] != ""; want != (s.model == gpt) || here.Tools["exec_command"] == "" && !want {
			s.Errorf("request %d has the tools %v: is it still the form that this test is for?", i, here.Tools)
		}
	}
	for _, u := range s.gw.usages("/v1/responses", len(s.asked())) {
		if u.Session == "" || !u.Success {
			s.Errorf("recorded %+v", u)
		}
	}
}

func TestD38CodexText(t *testing.T) {
	eachCodex(t, func(s *stage) {
		s.up.Default(up.Reply(up.Text("PINE", "APPLE – 菠萝")).Usage(counted))
		s.checkCodex(s.codex("Name a fruit", nil), "PINEAPPLE – 菠萝")
		s.wantReached(1)
		s.checkUsage("/v1/responses", 1, counted)
		if !s.last().has("user", "Name a fruit") {
			s.Errorf("the upstream got %q", s.last().Turns)
		}
	})
}

// TestD42CodexTool: Codex runs the command that the upstream asks for, and its output goes back upstream.
func TestD42CodexTool(t *testing.T) {
	eachCodex(t, func(s *stage) {
		s.up.Default(up.Func(func(r up.Request) up.Behaviour {
			there := read(s.T, r.Path, r.Body)
			if there.has("result", "") {
				return up.Reply(up.Text("It printed a word: MANGO"))
			}
			const command, code = `echo sluice-$((40+2))`, `const r = await tools.exec_command({cmd: "echo sluice-$((40+2))"}); text(r.output);`
			if there.Tools["exec_command"] != "" {
				return up.Reply(up.Text("I will."), up.ToolUse("call_1", "exec_command", `{"cmd":`, `"`+command+`"}`))
			}
			name := "functions__exec"
			if there.Tools[name] != free {
				return up.Reply(up.Text("I will."), up.ToolUse("call_1", name, `{"input":`, canonical(code), `}`))
			}
			if s.wire == "responses" { // Codex's own words came through
				name = "exec"
			}
			return up.Reply(up.Text("I will."), up.CustomToolUse("call_1", name, code[:9], code[9:]))
		}))
		s.checkCodex(s.codex("Print a word", nil), "It printed a word: MANGO")
		s.wantReached(2)
		if there := s.last(); !there.has("result 1", "sluice-42") || !there.has("assistant", "I will.") {
			s.Errorf("the upstream got %q", there.Turns)
		}
	})
}

func TestCodexImage(t *testing.T) {
	eachCodex(t, func(s *stage) {
		s.up.Default(up.Reply(up.Text("A DOT")))
		data, err := base64.StdEncoding.DecodeString(pixel)
		s.noError(err)
		s.checkCodex(s.codex("What is this?", map[string][]byte{"dot.png": data}, "--image", "dot.png"), "A DOT")
		if there := s.last(); !there.has("image", "data:image/png;base64,") {
			s.Errorf("the upstream got %q", there.Turns)
		}
	})
}

func TestCodexSchema(t *testing.T) {
	eachCodex(t, func(s *stage) {
		s.up.Default(up.Reply(up.Text(`{"fruit":"quince"}`)))
		s.checkCodex(s.codex("Name a fruit", map[string][]byte{"fruit.json": []byte(canonical(fruit))}, "--output-schema", "fruit.json"), `{"fruit":"quince"}`)
		if there := s.last(); there.Schema != canonical(fruit) {
			s.Errorf("the upstream got the schema %q", there.Schema)
		}
	})
}

// TestD40CodexRecovers: Codex gives up on a 429, so the gateway waits; what breaks in mid-stream Codex asks for again.
func TestD40CodexRecovers(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		statuses  []int
	}{
		{"RateLimit", "waited out by the gateway", up.RateLimited(time.Second), []int{200}},
		{"Overloaded", "the gateway's second try", up.Overloaded(), []int{200}},
		{"Cut", "no terminal event: Codex connects again", up.Events(6).Cut(up.AfterDeltas(2), up.EndClean), []int{200, 200}},
		{"ErrorEvent", "response.failed with a code that passes", up.Events(6).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), []int{200, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, allKinds, func(s *stage) {
				s.up.Queue(tt.behaviour)
				s.up.Default(up.Reply(up.Text("PAPAYA")))
				r := s.codex("Name a fruit", nil)
				if r.exit != nil || strings.TrimSpace(r.out) != "PAPAYA" {
					s.Errorf("%s: %s", tt.why, r)
				}
				s.wantStatuses("/v1/responses", tt.statuses...)
				s.wantReached(2)
			})
		})
	}
}

// TestD41CodexTooLong: a prompt that is too long ends at once, in words that Codex understands.
func TestD41CodexTooLong(t *testing.T) {
	each(t, allKinds, func(s *stage) {
		s.up.Default(up.PromptTooLong(210_000, 200_000))
		r := s.codex("Name a fruit", nil)
		if r.exit == nil || r.took > time.Minute || !strings.Contains(r.errs, "ran out of room in the model's context window") {
			s.Error(r)
		}
		s.wantStatuses("/v1/responses", http.StatusBadRequest)
	})
}
