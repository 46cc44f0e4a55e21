package deploy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// block is a fenced bash block of a document.
type block struct {
	line int
	text string
}

func blocks(t testing.TB, file string) []block {
	t.Helper()
	var out []block
	var cur *block
	for i, line := range strings.Split(read(t, file), "\n") {
		switch {
		case cur == nil && line == "```bash":
			cur = &block{line: i + 2}
		case cur != nil && line == "```":
			out = append(out, *cur)
			cur = nil
		case cur != nil:
			cur.text += line + "\n"
		}
	}
	return out
}

// bash runs a script, with functions in front of it that stand for programs that are not here.
func bash(t testing.TB, dir, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n--- gave\n%s", err, script, out)
	}
	return string(out)
}

// standIn makes functions of the names that write down their arguments, one call a line, separated by tabs.
func standIn(log string, names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n + `() { { printf '%s\t' ` + n + ` "$@"; echo; } >>` + log + `; }; `)
	}
	return b.String() + "\n"
}

// called reads what the stand-ins wrote.
func called(t testing.TB, log string) [][]string {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(data)) {
		out = append(out, strings.Split(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\t"), "\t"))
	}
	return out
}

// dockerRun is a `docker run` as the documents have it.
type dockerRun struct {
	env, ports, volumes, args []string
	image                     string
}

func parseRun(t testing.TB, args []string) dockerRun {
	t.Helper()
	var r dockerRun
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		take := func() string { v := args[0]; args = args[1:]; return v }
		switch a {
		case "-d", "--rm":
		case "--name", "--stop-timeout":
			take()
		case "-p":
			r.ports = append(r.ports, take())
		case "-v":
			r.volumes = append(r.volumes, take())
		case "-e":
			r.env = append(r.env, take())
		default:
			if strings.HasPrefix(a, "-") {
				t.Fatalf("docker run %s is not known to this test", a)
			}
			r.image, r.args = a, args
			return r
		}
	}
	t.Fatal("docker run without an image")
	return r
}

// TestContainerDocument runs docs/deploy-container.md: what docker would start is started here, curl and the shell are real.
func TestContainerDocument(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	port := freePort(t)
	tools := standIn(log, "docker", "kubectl")
	var c *container
	ran := 0
	for _, b := range blocks(t, "docs/deploy-container.md") {
		ran++
		script := strings.ReplaceAll(b.text, "localhost:8000", "localhost:"+port)
		_ = os.WriteFile(log, nil, 0o600)
		out := bash(t, dir, `curl() { command curl --fail-with-body -sS "$@"; }; `+tools+script)
		if strings.Contains(script, "/health") && !strings.Contains(out, `"healthy"`) {
			t.Errorf("line %d: %s", b.line, out)
		}
		for _, call := range called(t, log) {
			switch strings.Join(call[:2], " ") {
			case "docker build":
				if !slices.Equal(call[2:], []string{"-t", "sluice", "."}) {
					t.Errorf("line %d: %q", b.line, call)
				}
			case "docker run":
				r := parseRun(t, call[2:])
				if !slices.Equal(r.volumes, []string{"./data:/app/data"}) || !slices.Equal(r.ports, []string{"8000:8000"}) || r.image != "sluice" {
					t.Errorf("line %d: %+v", b.line, r)
				}
				data, _ := hostFolder(t)
				c = create(t, data, append(r.env, "PORT="+port)...)
				c.start(port, r.args...)
			case "docker exec":
				status, out := c.exec(append([]string{c.img.entrypoint[0]}, call[4:]...)...)
				if call[2] != "sluice" || call[3] != filepath.Base(c.img.entrypoint[0]) || status != 0 || !strings.Contains(out, "sluice_") {
					t.Errorf("line %d: %q: %d\n%s", b.line, call, status, out)
				}
			case "docker compose":
				composeCall(t, b, dir, call[2:])
			case "kubectl create":
				secretOf(t, b, call)
			case "kubectl apply":
				if _, err := os.Stat(root(t, call[3])); err != nil {
					t.Error(err)
				}
			case "kubectl rollout":
				if call[3] != "deployment/"+text(manifest(t)["Deployment"], "metadata", "name") {
					t.Errorf("line %d: %q", b.line, call)
				}
			default:
				t.Errorf("line %d: %q is not known to this test", b.line, call)
			}
		}
	}
	if ran < 7 || c == nil {
		t.Errorf("only %d blocks were run: the document lost its commands, or this test its eyes", ran)
	}
}

// composeCall checks a docker compose command against the file and the .env that the document made.
func composeCall(t *testing.T, b block, dir string, args []string) {
	t.Helper()
	var profiles []string
	if args[0] == "--profile" {
		profiles, args = args[1:2], args[2:]
	}
	if !slices.Equal(args, []string{"up", "-d"}) {
		t.Errorf("line %d: docker compose %q", b.line, args)
	}
	env, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(env))
	p, err := compose(t, "docker-compose.yml", profiles, lines...)
	if err != nil {
		t.Fatalf("line %d: %v", b.line, err)
	}
	if len(p.Services) < 1+len(profiles) {
		t.Errorf("line %d: profile %q starts nothing", b.line, profiles)
	}
	key := p.Services["sluice"].Environment["ADMIN_API_KEY"]
	if key == nil || !regexp.MustCompile(`^[0-9a-f]{48}$`).MatchString(*key) {
		t.Errorf("line %d: the admin key is %v", b.line, key)
	}
}

// secretOf checks that the secret the document makes is the one the manifest reads, and that its names are settings.
func secretOf(t *testing.T, b block, call []string) {
	t.Helper()
	c := at(manifest(t)["Deployment"], "spec", "template", "spec", "containers").([]any)[0].(object)
	if name := text(c["envFrom"].([]any)[0], "secretRef", "name"); call[4] != name {
		t.Errorf("line %d: the secret is %s, the manifest reads %s", b.line, call[4], name)
	}
	known := settings(t)
	for _, a := range call[5:] {
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "--from-literal="), "=")
		if !slices.Contains(known, name) || value == "" {
			t.Errorf("line %d: %s", b.line, a)
		}
	}
}

// TestStoreURLsOfTheDocuments takes the STORE_URLs that the document and the file tell of to the gateway, which must know
// their form.
func TestStoreURLsOfTheDocuments(t *testing.T) {
	all := read(t, "docs/deploy-container.md") + read(t, "docker-compose.yml") + read(t, "docs/deploy-aws.md")
	seen := 0
	for _, m := range regexp.MustCompile(`(?:STORE_URL"?[=:] ?["']?)((?:redis|dynamodb)://[^\s"')]+)`).FindAllStringSubmatch(all, -1) {
		if strings.HasSuffix(m[1], "...") {
			continue
		}
		seen++
		c := create(t, "", "STORE_URL="+strings.NewReplacer("redis:6379", "127.0.0.1:1", "dynamodb:8000", "127.0.0.1:1",
			"host.docker.internal:8001", "127.0.0.1:1", "127.0.0.1:8001", "127.0.0.1:1").Replace(m[1]), "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x")
		status, out := c.exec(c.img.entrypoint[0], "store", "check")
		if status != 1 || strings.Contains(out, "unknown") || strings.Contains(out, "is no ") || !regexp.MustCompile(`127\.0\.0\.1:1|reach|answer`).MatchString(out) {
			t.Errorf("%s: %d %s", m[1], status, out)
		}
	}
	if seen < 4 {
		t.Errorf("only %d were found", seen)
	}
}

// TestD24_FirewallIsDocumented: a firewall that reads prompts blocks the code in them, so the guide must say so.
func TestD24_FirewallIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/deploy-aws.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AWS WAF", "must not inspect the bodies of `/v1/messages`", "CrossSiteScripting_BODY"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/deploy-aws.md does not say %q", want)
		}
	}
}

// TestAWSDocument checks docs/deploy-aws.md: curl calls are made, to a server that looks at them; aws, sam, docker and make
// are NOT RUN, but what they name must exist.
func TestAWSDocument(t *testing.T) {
	tpl := loadTemplate(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	ways := doors(t, tpl)
	var hits []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/prod")
		hits = append(hits, r.Method+" "+path+" "+route(ways, path)+" "+r.Header.Get("X-Admin-Key"))
		if !json.Valid(body(t, r)) {
			t.Errorf("%s: no JSON", path)
		}
	}))
	defer srv.Close()
	script := standIn(log, "sam", "make", "go", "docker") +
		`aws() { { printf '%s\t' aws "$@"; echo; } >>` + log + `; case "$*" in *BaseUrl*) echo ` + srv.URL + `/prod;; *) echo value-of-the-secret;; esac; }` + "\n"
	list := blocks(t, "docs/deploy-aws.md")
	for _, b := range list {
		script += b.text
	}
	bash(t, dir, script)
	if want := []string{"POST /admin/api/nodes AdminFunction value-of-the-secret", "POST /admin/api/keys AdminFunction value-of-the-secret"}; !slices.Equal(hits, want) {
		t.Errorf("the calls were %q, want %q", hits, want)
	}
	parameter := regexp.MustCompile(`^([A-Z]\w+)=(.*)$`)
	for _, call := range called(t, log) {
		t.Logf("not run: %s", strings.Join(call, " "))
		for _, a := range call[1:] {
			if m := parameter.FindStringSubmatch(a); m != nil && call[0] == "sam" {
				p := tpl.Parameters[m[1]]
				if p == nil {
					t.Errorf("%q: there is no parameter %s", call, m[1])
				}
				if pat := text(p, "AllowedPattern"); pat != "" && !regexp.MustCompile(`\A(?:`+pat+`)\z`).MatchString(m[2]) {
					t.Errorf("%s is refused", a)
				}
			}
			if m := regexp.MustCompile(`OutputKey=='(\w+)'`).FindStringSubmatch(a); m != nil && tpl.Outputs[m[1]] == nil {
				t.Errorf("%q: there is no output %s", call, m[1])
			}
		}
		if call[0] == "make" && !strings.Contains(read(t, "Makefile"), "\n"+call[1]+":") {
			t.Errorf("there is no make %s", call[1])
		}
		if call[0] == "docker" {
			p, err := compose(t, call[3], nil)
			if err != nil || len(p.Services[call[len(call)-1]].Image) == 0 {
				t.Errorf("%q: %v", call, err)
			}
		}
	}
	samLocal(t, tpl, filepath.Join(dir, "dist/sam-local.json"))
}

func body(t testing.TB, r *http.Request) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return b
}

// samLocal: SAM passes on only variables that the template has; all that refer to secrets must be replaced.
func samLocal(t *testing.T, tpl template, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var in struct{ Parameters map[string]string }
	if err := json.Unmarshal(data, &in); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	env := newStack(t, tpl, nil).environment("AdminFunction")
	for name := range in.Parameters {
		if _, has := env[name]; !has {
			t.Errorf("sam local would leave out %s", name)
		}
	}
	for name, value := range env {
		if strings.Contains(value, "<") && in.Parameters[name] == "" {
			t.Errorf("%s would be %q under sam local", name, value)
		}
	}
	c := create(t, "", "STORE_URL=memory:", "SLUICE_MASTER_KEY="+in.Parameters["SLUICE_MASTER_KEY"])
	if status, out := c.exec(c.img.entrypoint[0], "store", "check"); status != 0 {
		t.Errorf("the master key of the document: %s", out)
	}
}

// TestSettingsOfTheTemplate gives the gateway what the template's defaults make of each function's environment.
func TestSettingsOfTheTemplate(t *testing.T) {
	tpl := loadTemplate(t)
	const made = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ" // as GenerateSecretString makes: 43 letters and digits
	for variant, params := range variants {
		for id := range tpl.functions() {
			var env []string
			for name, value := range newStack(t, tpl, params).environment(id) {
				switch {
				case name == "SLUICE_MASTER_KEY":
					value = made
				case name == "STORE_URL":
					value = "memory:"
				case strings.HasPrefix(value, "<") || strings.HasPrefix(value, "arn:"):
					value = made[:20] + strings.ToLower(name[:1])
				}
				env = append(env, name+"="+value)
			}
			c := create(t, "", env...)
			if status, out := c.exec(c.img.entrypoint[0], "store", "check"); status != 0 {
				t.Errorf("%s of %s: %s", id, variant, out)
			}
		}
	}
}

// TestDocumentsNameWhatIsThere checks links, make targets and parameters that the two documents mention.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	tpl := loadTemplate(t)
	makefile := read(t, "Makefile")
	for _, file := range []string{"docs/deploy-aws.md", "docs/deploy-container.md"} {
		text := read(t, file)
		for _, m := range regexp.MustCompile("`make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s mentions make %s, which does not exist", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(root(t, filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
	for _, m := range regexp.MustCompile("`([A-Z][a-z]+[A-Z][A-Za-z]+)`").FindAllStringSubmatch(read(t, "docs/deploy-aws.md"), -1) {
		if tpl.Parameters[m[1]] == nil && tpl.Resources[m[1]] == nil {
			t.Errorf("docs/deploy-aws.md mentions %s, which the template does not have", m[1])
		}
	}
}
