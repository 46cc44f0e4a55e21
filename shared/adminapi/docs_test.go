package adminapi_test

import (
	"os"
	"strings"
	"testing"

	"sluice/shared/adminapi"
)

// words splits a command as a shell does, as far as the document needs it.
func words(t *testing.T, command string) []string {
	t.Helper()
	var out []string
	var word strings.Builder
	var quote rune
	in := false
	for _, c := range strings.ReplaceAll(command, "\\\n", " ") {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\n'):
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if quote != 0 {
		t.Fatalf("a quote without an end: %s", command)
	}
	if in {
		out = append(out, word.String())
	}
	return out
}

// commands are the curl commands of the document's bash blocks.
func commands(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, part := range strings.Split("\n"+string(data), "\n```") {
		block, ok := strings.CutPrefix(part, "bash\n")
		if i%2 == 0 || !ok {
			continue
		}
		for _, c := range strings.Split("\n"+block, "\ncurl ")[1:] {
			c, _, _ = strings.Cut(c, "\n#")
			out = append(out, c)
		}
	}
	return out
}

// Every curl command of docs/admin-api.md works as it stands there.
func TestExamplesOfTheDocument(t *testing.T) {
	p := newPool(t, &fakeQ{status: adminapi.LoginPending})
	keys := map[string]string{adminKey: poolAdmin, proxyKey: p.key("default", `{"name":"own","nodes":true}`)}
	files := map[string]string{"token.json": sso("doc"), "accounts.txt": "one|client-1|client-secret-1|aorefresh-secret-1\ntwo|client-2|client-secret-2|aorefresh-secret-2\n"}
	ran := 0
	for _, c := range commands(t, "../../docs/admin-api.md") {
		method, url, body := "GET", "", ""
		var headers, fields []string
		args := words(t, c)
		for i := 0; i < len(args); i++ {
			value := func() string { i++; return args[i] }
			switch a := args[i]; a {
			case "-X":
				method = value()
			case "-H":
				name, v, _ := strings.Cut(value(), ": ")
				bearer := strings.TrimPrefix(v, "Bearer ")
				if k := keys[bearer]; k != "" {
					v = strings.Replace(v, bearer, k, 1)
				}
				headers = append(headers, name, v)
			case "-d":
				body = value()
			case "--data-binary":
				body = files[strings.TrimPrefix(value(), "@")]
			case "-F":
				name, v, _ := strings.Cut(value(), "=")
				if file, ok := strings.CutPrefix(v, "@"); ok {
					v = files[file]
				}
				fields = append(fields, name, v)
			default:
				url = strings.TrimPrefix(a, "http://localhost:8000")
			}
		}
		if fields != nil {
			var ct string
			body, ct = form(fields...)
			headers = append(headers, "Content-Type", ct)
		}
		if a := p.call(method, url, body, headers...); a.status >= 300 || strings.Contains(a.body, `"why"`) {
			t.Errorf("curl %s\ngave %d %s", c, a.status, a.body)
		}
		ran++
	}
	if ran < 21 {
		t.Errorf("only %d commands were run: the document lost them, or this test its eyes", ran)
	}
}
