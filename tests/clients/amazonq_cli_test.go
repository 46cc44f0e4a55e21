package clients_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// checkPoolCLIRun verifies what holds for every run of Claude Code over the pool that ends well.
func (p *pool) checkPoolCLIRun(r cliRun, printed string) {
	p.Helper()
	if r.exit != nil || !strings.Contains(r.out, printed) {
		p.Fatal(r)
	}
	p.checkPool()
	p.checkSaid()
}

// checkPoolCLI also verifies that none of its requests failed.
func (p *pool) checkPoolCLI(r cliRun, printed string) {
	p.Helper()
	p.checkPoolCLIRun(r, printed)
	for i, u := range p.gw.usages("/v1/messages", len(p.asked())) {
		x := p.asked()[i]
		if want := x.Header.Get("X-Claude-Code-Session-Id"); u.Session != want || want == "" || !u.Success || u.NodeName != "works" {
			p.Errorf("sent session %q, recorded %+v", want, u)
		}
	}
}

func TestPoolCLIText(t *testing.T) {
	p := poolOn(t)
	p.q.Default(up.Reply(up.Thinking("sig==", "Hm."), up.Text("PINE", "APPLE – 菠萝")).Usage(counted))
	r := p.claude(with(asToken), "Name a fruit", "--output-format", "json")
	p.checkPoolCLI(r, "PINEAPPLE – 菠萝")
	var got struct {
		IsError bool `json:"is_error"`
		Usage   struct {
			Input     int64 `json:"input_tokens"`
			CacheRead int64 `json:"cache_read_input_tokens"`
		}
	}
	p.noError(json.Unmarshal([]byte(r.out), &got))
	if got.IsError || got.Usage.Input != 11 || got.Usage.CacheRead != 2000 {
		p.Errorf("Claude Code counted %+v", got)
	}
	checkTokens(p.T, p.gw.usages("/v1/messages", 1)[0], counted)
}

// TestPoolCLITools: a loop of five turns with Claude Code's own tools, two of them in one turn, one of which fails.
func TestPoolCLITools(t *testing.T) {
	p := poolOn(t)
	var note string // the file's path, which Claude Code tells the model
	one := func(name string, input func() object) func(*poolSaid) []up.Block {
		return func(there *poolSaid) []up.Block { return []up.Block{call(there, 1, name, input())} }
	}
	p.q.Default(p.walk("It is a MANGO now.",
		step{one("Bash", func() object {
			return object{"command": "echo 'fruit: pear' >note.txt; ls $PWD/*.txt", "description": "Write a note"}
		}),
			func(there *poolSaid) bool {
				note = there.last().Results[0].Text
				return brought("/note.txt")(there)
			}},
		step{one("Read", func() object { return object{"file_path": note} }), brought("fruit: pear")},
		step{one("Edit", func() object { return object{"file_path": note, "old_string": "pear", "new_string": "mango"} }), brought("updated")},
		step{func(there *poolSaid) []up.Block {
			return []up.Block{call(there, 1, "Bash", object{"command": "cat note.txt", "description": "Show the note"}),
				call(there, 2, "Bash", object{"command": "ls no-such-file-1 && exit 3", "description": "Fail"})}
		}, func(there *poolSaid) bool {
			r := there.last().Results
			return len(r) == 2 && strings.Contains(r[0].Text, "fruit: mango") && r[0].Status == "success" &&
				strings.Contains(r[1].Text, "no-such-file-1") && r[1].Status == "error"
		}},
	))
	p.checkPoolCLI(p.claude(with(asToken), "Change the fruit", "--allowedTools", "Bash,Read,Edit"), "It is a MANGO now.")
	p.wantReached(5)
}

// TestPoolCLIImage: Claude Code reads a picture with its own tool, and the picture reaches the account.
func TestPoolCLIImage(t *testing.T) {
	p := poolOn(t)
	var dot string
	p.q.Default(p.walk("It is a DOT.",
		step{func(there *poolSaid) []up.Block {
			return []up.Block{call(there, 1, "Bash", object{"command": "echo " + pixel + " | base64 -d >dot.png; ls $PWD/*.png", "description": "Make a picture"})}
		}, func(there *poolSaid) bool {
			dot = there.last().Results[0].Text
			return brought("/dot.png")(there)
		}},
		step{func(there *poolSaid) []up.Block { return []up.Block{call(there, 1, "Read", object{"file_path": dot})} },
			func(there *poolSaid) bool {
				images := there.last().Images
				return brought("")(there) && len(images) == 1 && isPoint(images[0])
			}},
	))
	p.checkPoolCLI(p.claude(with(asToken), "What is in the picture?", "--allowedTools", "Bash,Read"), "It is a DOT.")
	p.wantReached(3)
}

// isPoint tells whether a data URL is a picture of one point.
func isPoint(url string) bool {
	data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(url, "data:image/png;base64,"))
	if err != nil {
		return false
	}
	config, err := png.DecodeConfig(bytes.NewReader(data))
	return err == nil && config.Width == 1 && config.Height == 1
}

// TestPoolCLINames: a tool of a server with a name that the service does not take is found by Claude Code's tool search,
// called by a name that the service takes, and known to Claude Code by its own.
func TestPoolCLINames(t *testing.T) {
	p := poolOn(t)
	const server, tool = "tide-tables", "high-water.of-a-harbour_on-the-coast-in-local-time-today"
	script, err := filepath.Abs("node/mcp.mjs")
	p.noError(err)
	config := canonical(object{"mcpServers": object{server: object{"command": "node", "args": []string{script, tool}}}})
	search := func(there *poolSaid) []up.Block {
		return []up.Block{call(there, 1, "ToolSearch", object{"query": "tide harbour", "max_results": 3})}
	}
	use := func(there *poolSaid) []up.Block {
		return []up.Block{call(there, 1, there.named("Tells the tide"), object{"harbour": "Ostend"})}
	}
	p.q.Default(p.walk("At 6:42.", step{search, brought("tide-tables")}, step{use, brought(tool + ": high water in Ostend at 6:42")}))
	r := p.claude(with(asToken), "When is high water?", "--mcp-config", config, "--strict-mcp-config", "--allowedTools", "mcp__"+server)
	p.checkPoolCLI(r, "At 6:42.")
	p.wantReached(3)
	own := read(p.T, p.asked()[1].Path, p.asked()[1].Body).Names
	at := slices.IndexFunc(own, func(name string) bool { return strings.HasPrefix(name, "mcp__") })
	if at < 0 || len(own[at]) <= 64 || !strings.Contains(own[at], "-") {
		p.Errorf("the tools are %q: is there still a name that the service does not take?", own)
	}
}

// TestPoolCLICompacts: when the account says that the input is too long, Claude Code sums the conversation up and goes on
// (D15).
func TestPoolCLICompacts(t *testing.T) {
	p := poolOn(t)
	const summary = "Two words were printed."
	p.q.Default(up.Func(func(r up.Request) up.Behaviour {
		there := readPool(p.T, r.Body)
		switch last := there.last(); {
		case strings.Contains(last.Text, "detailed summary of"):
			return up.Reply(up.Text("<summary>" + summary + "</summary>"))
		case strings.Contains(there.Turns[0].Text, summary):
			return up.Reply(up.Text("It is a MANGO."))
		case there.calls() == 2:
			return up.PromptTooLong(210_000, 200_000)
		}
		return up.Reply(call(there, 1, "Bash", object{"command": "echo word", "description": "Print a word"}))
	}))
	r := p.claude(with(asToken), "Name a fruit", "--allowedTools", "Bash")
	p.checkPoolCLIRun(r, "It is a MANGO.")
	p.wantStatuses("/v1/messages", http.StatusOK, http.StatusOK, http.StatusBadRequest, http.StatusOK, http.StatusOK)
}

// TestPoolCLICountTokens: /context counts the parts of the prompt, which the gateway estimates for accounts that cannot.
func TestPoolCLICountTokens(t *testing.T) {
	p := poolOn(t)
	r := p.claude(with(asToken), "/context")
	if r.exit != nil || !strings.Contains(r.out, "Context Usage") {
		p.Fatal(r)
	}
	xs := p.tap.exchanges("/v1/messages/count_tokens")
	if len(xs) < 10 {
		p.Errorf("only %d parts were counted", len(xs))
	}
	for _, x := range xs {
		var count struct {
			Tokens int64 `json:"input_tokens"`
		}
		if err := json.Unmarshal([]byte(x.Text), &count); err != nil || x.Status != http.StatusOK || count.Tokens < 1 {
			p.Errorf("counted %d %s", x.Status, x.Text)
		}
	}
}
