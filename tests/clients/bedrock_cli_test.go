package clients_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// checkBedCLIRun verifies what holds for every run of Claude Code over the accounts that ends well.
func (b *bed) checkBedCLIRun(r cliRun, printed string) {
	b.Helper()
	if r.exit != nil || !strings.Contains(r.out, printed) {
		b.Fatal(r)
	}
	b.checkBed()
	b.checkSaid()
}

// checkBedCLI also verifies that none of its requests failed, and that each is recorded with its session.
func (b *bed) checkBedCLI(r cliRun, printed string) {
	b.Helper()
	b.checkBedCLIRun(r, printed)
	for i, u := range b.recorded() {
		x := b.asked()[i]
		if want := x.Header.Get("X-Claude-Code-Session-Id"); u.Session != want || want == "" || !u.Success || u.NodeName != "works" {
			b.Errorf("sent session %q, recorded %+v", want, u)
		}
	}
	b.checkDropped()
}

// checkDropped: what Claude Code sent and the account did not get is named in the answers.
func (b *bed) checkDropped() {
	b.Helper()
	arrived := b.arrived()
	for i, x := range b.asked() {
		got := strings.Join(arrived[i].Header.Values("Anthropic-Beta"), ",") + string(arrived[i].Body)
		for flag := range strings.SplitSeq(x.Header.Get("Anthropic-Beta"), ",") {
			if strings.Contains(got, flag) || flag == "advanced-tool-use-2025-11-20" && strings.Contains(got, "tool-search-tool-2025-10-19") {
				continue
			}
			if !strings.Contains(x.Answer.Get("X-Sluice-Dropped"), "beta:"+flag) {
				b.Errorf("%s was dropped, the answer names %q", flag, x.Answer.Get("X-Sluice-Dropped"))
			}
		}
	}
}

func TestD27BedCLIText(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		b.k.Default(up.Reply(up.Thinking("sig==", "Hm."), up.Text("PINE", "APPLE – 菠萝")).Usage(reported))
		r := b.claude(with(asToken), "Name a fruit", "--model", model, "--output-format", "json")
		b.checkBedCLI(r, "PINEAPPLE – 菠萝")
		b.checkCounted(1, reported)
		var got struct {
			IsError bool `json:"is_error"`
			Usage   struct {
				Input      int64 `json:"input_tokens"`
				Output     int64 `json:"output_tokens"`
				CacheRead  int64 `json:"cache_read_input_tokens"`
				CacheWrite int64 `json:"cache_creation_input_tokens"`
			}
		}
		b.noError(json.Unmarshal([]byte(r.out), &got))
		if u := got.Usage; got.IsError || u.Input != 11 || u.Output != 7 || u.CacheRead != 2000 || u.CacheWrite != 340 {
			b.Errorf("Claude Code counted %+v", got)
		}
	})
}

// TestBedCLITools: a loop of seven turns with Claude Code's own tools: two at once of which one fails, a picture, and a PDF.
func TestBedCLITools(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		var folder string // which Claude Code tells the model
		read := func(name string) func() object { return func() object { return object{"file_path": folder + name} } }
		const files = "echo 'fruit: pear' >note.txt; echo " + pixel + " | base64 -d >dot.png; echo " + page + " | base64 -d >page.pdf; echo here=$PWD/"
		b.k.Default(bedWalk(b.T, "It is a MANGO now.", reported,
			oneCall("Bash", func() object { return object{"command": files, "description": "Make files"} }, func(results []string) bool {
				_, rest, ok := strings.Cut(strings.Join(results, " "), "here=")
				folder = strings.TrimSpace(rest)
				return ok && len(results) == 1
			}),
			oneCall("Read", read("note.txt"), bring("fruit: pear")),
			oneCall("Edit", func() object {
				return object{"file_path": folder + "note.txt", "old_string": "pear", "new_string": "mango"}
			}, bring("updated")),
			bedStep{func(there *said) []up.Block {
				return []up.Block{bedCall(there, 1, "Bash", object{"command": "cat note.txt", "description": "Show the note"}),
					bedCall(there, 2, "Bash", object{"command": "ls no-such-file-1 && exit 3", "description": "Fail"})}
			}, bring("fruit: mango", "no-such-file-1")},
			oneCall("Read", read("dot.png"), bring("data:image/png;base64,")),
			oneCall("Read", read("page.pdf"), bring("document: pdf \""+page)),
		))
		b.checkBedCLI(b.claude(with(asToken), "Change the fruit", "--model", model, "--allowedTools", "Bash,Read,Edit"), "It is a MANGO now.")
		b.wantReached(7)
		b.checkCounted(7, reported)
	})
}

// TestBedCLIRecovers: Claude Code gets through what passes: a throttled account with no other beside it, and a stream that
// breaks after content.
func TestBedCLIRecovers(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		statuses  []int
	}{
		{"NotReady", "the gateway's second try, unseen", up.ModelNotReady(), []int{200}},
		{"First", "an exception before content, unseen", up.Events(6).ErrorAt(up.AfterStart, "overloaded_error", "Overloaded"), []int{200}},
		{"Exception", "the same again without streaming", up.Events(6).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), []int{200, 200}},
		{"Cut", "the same again without streaming", up.Events(6).CutInside(up.AfterDeltas(2), up.EndClean), []int{200, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachBed(t, []bedWay{invokeWay}, func(b *bed) {
				b.k.Queue(tt.behaviour)
				b.k.Default(up.Reply(up.Text("PAPAYA")).Usage(reported))
				r := b.claude(with(asToken), "Name a fruit", "--model", model)
				if r.exit != nil || strings.TrimSpace(r.out) != "PAPAYA" {
					b.Fatalf("%s: %s", tt.why, r)
				}
				all := b.asked()
				if len(all) != len(tt.statuses) {
					b.Fatalf("%s: %d requests", tt.why, len(all))
				}
				for i, x := range all {
					if x.Status != tt.statuses[i] {
						b.Errorf("%s: request %d ended with %d", tt.why, i, x.Status)
					}
				}
				us := b.recorded()
				checkTokens(b.T, us[len(us)-1], reported)
				b.checkBed()
			})
		})
	}
}

// TestBedCLICompacts: when the account says that the input is too long, Claude Code sums the conversation up and goes on
// (D15).
func TestBedCLICompacts(t *testing.T) {
	eachBed(t, []bedWay{invokeWay, converseWay}, func(b *bed) {
		const summary = "Two words were printed."
		b.k.Default(up.Func(func(r up.Request) up.Behaviour {
			there := read(b.T, r.Path, r.Body)
			switch {
			case strings.Contains(there.Turns[len(there.Turns)-1], "detailed summary of"):
				return up.Reply(up.Text("<summary>" + summary + "</summary>"))
			case there.has("user", summary):
				return up.Reply(up.Text("It is a MANGO."))
			case len(there.ids) == 2:
				return up.PromptTooLong(210_000, 200_000)
			}
			return up.Reply(bedCall(there, 1, "Bash", object{"command": "echo word", "description": "Print a word"}))
		}))
		r := b.claude(with(asToken), "Name a fruit", "--model", model, "--allowedTools", "Bash")
		b.checkBedCLIRun(r, "It is a MANGO.")
		var got []int
		for _, x := range b.asked() {
			got = append(got, x.Status)
		}
		if want := []int{200, 200, 400, 200, 200}; canonical(got) != canonical(want) {
			b.Errorf("its requests ended with %v, want %v", got, want)
		}
	})
}

// TestBedCLICountTokens: /context counts the parts of the prompt (D21): the account does where it can, else they are estimated.
func TestBedCLICountTokens(t *testing.T) {
	eachBed(t, []bedWay{mantleWay, invokeWay}, func(b *bed) {
		r := b.claude(with(asToken), "/context", "--model", model)
		if r.exit != nil || !strings.Contains(r.out, "Context Usage") {
			b.Fatal(r)
		}
		xs := b.tap.exchanges("/v1/messages/count_tokens")
		if len(xs) < 10 {
			b.Errorf("only %d parts were counted", len(xs))
		}
		for _, x := range xs {
			var count struct {
				Tokens int64 `json:"input_tokens"`
			}
			if err := json.Unmarshal([]byte(x.Text), &count); err != nil || x.Status != http.StatusOK || count.Tokens < 1 {
				b.Errorf("counted %d %s", x.Status, x.Text)
			}
		}
	})
}
