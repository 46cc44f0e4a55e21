package capture_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/shared/capture"
	"sluice/shared/seal"
)

// quoted is a text as a string of JSON; escaped is one in which every character is an escape.
func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

func escaped(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString(`\u00`)
		b.WriteString(strconv.FormatInt(int64(c>>4), 16))
		b.WriteString(strconv.FormatInt(int64(c&15), 16))
	}
	return b.String()
}

func deltas(name, text string, size int) string {
	var b strings.Builder
	for len(text) > 0 {
		n := min(size, len(text))
		b.WriteString("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"x\",\"" + name + "\":" + quoted(text[:n]) + "}}\n\n")
		text = text[n:]
	}
	return b.String()
}

const pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0123456789abcdef\nq83vEjRWeJA=\n-----END RSA PRIVATE KEY-----"

func TestRedaction(t *testing.T) {
	ours := seal.NewKey().Reveal()
	const key = "sk-ant-api03-abcdefghijklmnop0123"
	for _, c := range []struct {
		why    string
		text   string
		stream bool
		rules  []string
		emails bool
		secret string
		gone   []string
		want   string // the whole, where that matters
	}{
		{why: "our own key", text: `{"text":"my key is ` + ours + ` ok"}`, gone: []string{ours}, want: `{"text":"my key is [redacted] ok"}`},
		{why: "a key of Anthropic or OpenAI", text: `use ` + key + `.`, want: `use [redacted].`},
		{why: "AWS", text: `AKIAIOSFODNN7EXAMPLE ASIAIOSFODNN7EXAMPLE`, want: `[redacted] [redacted]`},
		{why: "a bearer token keeps its word", text: `curl -H 'Authorization: Bearer abc123def456ghi7'`, want: `curl -H 'Authorization: Bearer [redacted]'`},
		{why: "bearer is a word, too", text: `the bearer insurance is due`, want: `the bearer insurance is due`},
		{why: "a prefix within a word is none", text: `task-force-one-two-three-four risk-management-of-everything`, want: `task-force-one-two-three-four risk-management-of-everything`},
		{why: "a private key", text: "x\n" + pem + "\ny", want: "x\n[redacted]\ny"},
		{why: "a private key in JSON", text: `{"text":` + quoted("x\n"+pem+"\ny") + `}`, want: `{"text":"x\n[redacted]\ny"}`},
		{why: "a private key without its end", text: `{"text":"-----BEGIN PRIVATE KEY-----\nMIIEsecretsecret`, gone: []string{"MIIEsecret"}},
		{why: "a certificate is public", text: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", want: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
		{why: "a password in an address", text: `postgres://app:hunter22@db/x http://host:80/a@b`, want: `postgres://app:[redacted]@db/x http://host:80/a@b`},
		{why: "GitHub, Slack, Google", text: "ghp_0123456789abcdefghij xoxb-1234567890-abc AIza0123456789012345678901234567890", want: "[redacted] [redacted] [redacted]"},
		{why: "every character an escape", text: `{"a":"` + escaped(key) + `"}`, want: `{"a":"[redacted]"}`},
		{why: "JSON in a string of JSON", text: `{"arguments":` + quoted(`{"k":"`+escaped(key)+`","slash":"\/"}`) + `}`, gone: []string{"\\u0073"}, want: `{"arguments":"{\"k\":\"[redacted]\",\"slash\":\"\\/\"}"}`},
		{why: "a stream in pieces of three", text: deltas("text", "it is "+key+" now", 3), stream: true, gone: []string{`"ant"`, `"api"`, `"012"`, `"ghi"`}},
		{why: "a stream, a character a piece, in the arguments of a tool", text: deltas("partial_json", `{"k":"`+escaped(key)+`"}`, 1), stream: true, gone: []string{`"7"`}},
		{why: "two names of members are two texts", text: deltas("thinking", "sk-ant-", 50) + deltas("text", "api03-abcdefghijk", 50), stream: true, want: deltas("thinking", "sk-ant-", 50) + deltas("text", "api03-abcdefghijk", 50)},
		{why: "the client's own key, whatever its form", text: `{"x":"the-operators-choice"}`, secret: "the-operators-choice", want: `{"x":"[redacted]"}`},
		{why: "which is too short to look for", text: `{"x":"abc"}`, secret: "abc", want: `{"x":"abc"}`},
		{why: "e-mail addresses are kept unless asked for", text: `mail ann@example.org`, want: `mail ann@example.org`},
		{why: "e-mail addresses", text: `mail ann.b+c@mail.example.org, "bob\u0040example.org" @nobody x@y`, emails: true, want: `mail [redacted], "[redacted]" @nobody x@y`},
		{why: "a rule", text: `case 4711-22 and 9-1`, rules: []string{`\b\d{4}-\d{2}\b`}, want: `case [redacted] and 9-1`},
		{why: "a rule in any case, with a letter that ASCII has not", text: "CASE-\u212aELVIN and case-kelvin", rules: []string{`(?i)case-kelvin`}, want: "[redacted] and [redacted]"},
		{why: "a rule for escapes as they are written", text: `{"a":"\u00df \n"}`, rules: []string{`\\u00[0-9a-f]{2}`}, want: `{"a":"[redacted] \n"}`},
		{why: "rules that overlap are one place", text: `abcdef`, rules: []string{`abcd`, `cdef`}, want: `[redacted]`},
		{why: "rules see text across escapes", text: `{"a":"Stra\u00dfe 5"}`, rules: []string{`Straße \d`}, want: `{"a":"[redacted]"}`},
		{why: "and JSON as it is written", text: `{"password":"x y"}`, rules: []string{`"password":"[^"]*"`}, want: `{[redacted]}`},
		{why: "a rule that matches each character", text: `abc`, rules: []string{`.`}, want: `[redacted]`},
		{why: "where two windows meet", text: strings.Repeat("prose ", 10_922) + "SECRET-0001 " + strings.Repeat("prose ", 10_922) + "SECRET-0002", rules: []string{`SECRET-\d+`}, gone: []string{"SECRET"}},
		{why: "a match longer than a window", text: "x" + strings.Repeat("y-", 100_000) + "z", rules: []string{`x(?:y-)+z?`}, want: "[redacted]"},
		{why: "an image", text: `{"data":"` + strings.Repeat("iVBORw0K", 1000) + `AA=="}`, want: `{"data":"[6001 bytes of base64]"}`},
		{why: "prose is no image", text: strings.Repeat("word ", 2000), want: strings.Repeat("word ", 2000)},
		{why: "broken JSON", text: `{"a":"\u12`, want: `{"a":"\u12`},
		{why: "a broken stream", text: "data: {\"delta\":{\"text\":\"sk-ant-\n\ndata: {\"delta\":{\"text\":\"api03-abcdefghijklmnop0123\"}}\n", stream: true, gone: []string{"api03"}},
		{why: "nothing", text: ``, want: ``},
	} {
		untimed(t, c.why, func(t *testing.T) {
			r := newRig(t, "file:"+t.TempDir())
			request := c.text
			if c.stream {
				request = ""
			}
			e := exchange("acc", request, c.text)
			e.Stream, e.Settings.Redact, e.Settings.Emails, e.Secrets = c.stream, c.rules, c.emails, []string{c.secret, ""}
			got := r.kept(e)
			for i, body := range []string{string(got.Request), string(got.Response)} {
				if i == 0 && c.stream {
					continue
				}
				for _, s := range c.gone {
					if strings.Contains(body, s) {
						t.Errorf("%q is still there: %.300s", s, body)
					}
				}
				if c.gone == nil && body != c.want || c.gone != nil && c.want != "" && body != c.want {
					t.Errorf("got  %.300s\nwant %.300s", body, c.want)
				}
			}
			if got.RequestCut || got.ResponseCut {
				t.Error("marked as cut")
			}
		})
	}
}

// untimed runs a subtest in which work takes no time, so that a slow machine meets no deadline of a capture.
func untimed(t *testing.T, why string, f func(*testing.T)) {
	t.Run(why, func(t *testing.T) { synctest.Test(t, f) })
}

// A stream stays one that can be read: what lies between the pieces of a secret is kept.
func TestRedactionKeepsTheStreamsForm(t *testing.T) {
	r := newRig(t, "file:"+t.TempDir())
	text := deltas("text", "a sk-ant-REDACTME-0123456789 b", 4)
	e := exchange("acc", "", text)
	e.Stream = true
	got := string(r.kept(e).Response)
	var said strings.Builder
	for line := range strings.Lines(got) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var ev struct{ Delta struct{ Text string } }
		if err := json.Unmarshal([]byte(data), &ev); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		said.WriteString(ev.Delta.Text)
	}
	if said.String() != "a [redacted] b" {
		t.Errorf("the stream says %q", said.String())
	}
}

func TestCutBodies(t *testing.T) {
	for _, c := range []struct {
		why, text  string
		most, want int
		cut        bool
	}{
		{"fits", strings.Repeat("a b ", 256), 1024, 1024, false},
		{"one byte more", strings.Repeat("a b ", 256) + "x", 1024, 1024, true},
		{"much more", strings.Repeat("a b ", 10_000), 1024, 1024, true},
		{"the usual bound", strings.Repeat("a b ", 300_000), 0, 1 << 20, true},
		{"an image does not count", `{"a":"` + strings.Repeat("AAAA", 1<<20) + `","b":"` + strings.Repeat("a b ", 10) + `"}`, 1024, 80, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t, "file:"+t.TempDir())
			e := exchange("acc", c.text, c.text)
			e.Settings.MaxBytes = c.most
			got := r.kept(e)
			if len(got.Request) != c.want || len(got.Response) != c.want || got.RequestCut != c.cut || got.ResponseCut != c.cut {
				t.Errorf("got %d and %d bytes, cut %v and %v; want %d, %v", len(got.Request), len(got.Response), got.RequestCut, got.ResponseCut, c.want, c.cut)
			}
		})
	}
}

// A secret at the place where a body is cut is found as long as the caller gave the slack.
func TestCutWithinASecret(t *testing.T) {
	r := newRig(t, "file:"+t.TempDir())
	const key = "sk-ant-api03-abcdefghijklmnop0123"
	for at := 1024 - len(key) - 2; at < 1030; at++ {
		e := exchange("acc", strings.Repeat("x ", at/2)+strings.Repeat(" ", at%2)+key+strings.Repeat(" y", 5000), "")
		e.Settings.MaxBytes = 1024
		if got := string(r.kept(e).Request); strings.Contains(got, "sk-a") {
			t.Fatalf("at %d: %q", at, got[len(got)-60:])
		}
	}
}

func TestCheckRules(t *testing.T) {
	for _, c := range []struct {
		why   string
		rules []string
		want  string // in the error; empty: good
	}{
		{"none", nil, ""},
		{"some", []string{`(?i)secret`, `\d{3,5}`}, ""},
		{"twenty", slicesOf(`x`, 20), ""},
		{"one more", slicesOf(`x`, 21), "at most 20"},
		{"the longest", []string{strings.Repeat("x", 500)}, ""},
		{"longer", []string{strings.Repeat("x", 501)}, "pattern 1"},
		{"empty", []string{"a", ""}, "pattern 2"},
		{"no expression", []string{`(`}, "RE2"},
		{"of other engines", []string{`(?=x)`}, "RE2"},
		{"back reference", []string{`(x)\1`}, "RE2"},
		{"everywhere", []string{`a*`}, "empty text"},
		{"costly", []string{`[a-z]{900}[a-z]{900}`}, "costly"},
		{"more than the engine takes", []string{`((x{1000}){1000}){1000}`}, "RE2"},
	} {
		err := capture.CheckRules(c.rules)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

func slicesOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// What cannot be redacted in time, or is matched all over, is not written at all.
func TestWhatCannotBeRedactedIsNotKept(t *testing.T) {
	r := newRig(t, "file:"+t.TempDir())
	e := exchange("acc", strings.Repeat("a ", 1<<19), "")
	e.Settings.Redact = []string{"a"}
	r.Keep(t.Context(), e)
	if _, err := r.Read(t.Context(), "acc", e.RequestID, 7); err != capture.ErrNone {
		t.Errorf("read: %v", err)
	}
	if n := r.Counts(); n.Failed != 1 || n.Written != 0 || !strings.Contains(r.log.String(), "rules") {
		t.Errorf("%+v, log: %s", n, r.log.String())
	}
	good := exchange("acc", "x", "y")
	r.kept(good)
}

// FuzzRedaction: no body panics or grows beyond what is kept, and a key that was put into it is gone, however it is written.
func FuzzRedaction(f *testing.F) {
	f.Add("{\"text\":\"", "\"}", `\d+`, uint8(0))
	f.Add("data: {\"delta\":{\"text\":\"", "\"}}\n", `a`, uint8(1))
	f.Add(`\\\`, `\u00`, `[^x]`, uint8(2))
	f.Add(strings.Repeat("A", 600), "==", `.`, uint8(3))
	const key = "sk-ant-api03-abcdefghijklmnop0123"
	rule := capture.CheckRules
	f.Fuzz(func(t *testing.T, before, after, re string, how uint8) {
		e := exchange("acc", "", "")
		e.Settings.MaxBytes = 4096
		if rule([]string{re}) == nil {
			e.Settings.Redact = []string{re}
		}
		mid := " " + key + " "
		switch how % 4 {
		case 1:
			mid = " " + escaped(key) + " "
		case 2:
			mid = "\n" + deltas("text", key, 1+int(how)/4%7)
		case 3:
			mid = ` "` + escaped(key) + `" `
		}
		e.Request, e.Response = []byte(before+mid+after), []byte(before+mid+after)
		e.Stream = how%4 == 2
		if err := capture.Redact(t.Context(), e); err != nil {
			return
		}
		for _, b := range [][]byte{e.Request, e.Response} {
			if len(b) > 4096 {
				t.Fatalf("%d bytes", len(b))
			}
		}
		for _, s := range []string{key, escaped(key)} {
			if strings.Contains(string(e.Response), s) {
				t.Fatalf("%q is left in %q", s, e.Response)
			}
		}
	})
}

// FuzzRulesAreTried: what is looked for before a rule is tried is in everything that the rule matches.
func FuzzRulesAreTried(f *testing.F) {
	for _, re := range []string{`(?i)case-\d+`, `(?:ab|cd)+ef?g*`, `a{2,3}b{0,2}`, `(?i)stra\x{df}e`, `x(?i:k)y`, `[Aa]bc$`, `(a|)b`} {
		f.Add(re, "Case-1 abcdefg aab stra\u1e9ee x\u212ay Abc")
	}
	f.Fuzz(func(t *testing.T, re, text string) {
		if tried, matches, good := capture.Passes(re, []byte(text)); good && matches && !tried {
			t.Fatalf("%q matches %q and is not tried", re, text)
		}
	})
}
