package importer

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lines reads .env, | and API key lines.
func (p *parser) lines(s string) {
	env := newEnvFile()
	n := 0
	for line := range strings.Lines(s) {
		n++
		line = strings.TrimSpace(line)
		where := "line " + strconv.Itoa(n)
		switch name, value, ok := assignment(line); {
		case line == "" || line[0] == '#':
		case ok && (strings.HasPrefix(name, "AMAZONQ_") || !strings.Contains(line, "|")):
			env.set(name, value, where)
		case strings.Contains(line, "|"):
			p.fields(where, line)
		case strings.HasPrefix(line, "ksk_"):
			p.take(&given{where: where, key: line})
		default:
			p.skip(where, "it is neither an account in one of the known forms nor a Kiro API key")
		}
		if p.full() {
			return
		}
	}
	for _, g := range env.accounts(p) {
		p.take(g)
	}
}

// fields reads a line of the fork's batch import.
func (p *parser) fields(where, line string) {
	f := strings.Split(line, "|")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	g := &given{where: where}
	if k := strings.ToLower(f[0]); slices.Contains([]string{"amazonq", "kiro", "gemini"}, k) {
		g.kind, f = k, f[1:]
	}
	switch i := clientField(f); {
	case len(f) <= 2 && strings.HasPrefix(f[len(f)-1], "ksk_"):
		g.key = f[len(f)-1]
		if len(f) == 2 {
			g.name = f[0]
		}
	case i < 0 && g.kind == "gemini":
	case i < 0:
		p.skip(where, "it has too few or too many fields; want label|clientId|clientSecret|refreshToken or email|password|clientId|clientSecret|refreshToken")
		return
	default:
		g.name, g.client, g.secret, g.refresh = f[0], f[i], f[i+1], f[i+2]
	}
	p.take(g)
}

// clientField finds clientId among the fields: after a label, or after an address and a password. Both forms may have six
// fields and begin with an address; AWS's refresh tokens begin with aor, by which they are told apart first.
func clientField(f []string) int {
	const token = "aor"
	switch {
	case len(f) < 4 || len(f) > 7:
		return -1
	case len(f) < 5 || strings.HasPrefix(f[3], token):
		return 1
	case strings.HasPrefix(f[4], token):
		return 2
	case len(f) < 7 && strings.Contains(f[0], "@"):
		return 2
	}
	return 1
}

// assignmentLine is NAME=value, with or without export.
var assignmentLine = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$`)

// assignment reads a line of an .env: quotes, and comments after a blank, as usual there.
func assignment(line string) (name, value string, ok bool) {
	m := assignmentLine.FindStringSubmatch(line)
	if m == nil {
		return "", "", false
	}
	v := strings.TrimSpace(m[2])
	if v != "" && (v[0] == '"' || v[0] == '\'') {
		if inner, _, closed := strings.Cut(v[1:], v[:1]); closed {
			return m[1], strings.TrimSpace(inner), true
		}
	}
	if i := strings.IndexFunc(v, func(c rune) bool { return c == ' ' || c == '\t' }); i >= 0 && strings.HasPrefix(strings.TrimSpace(v[i:]), "#") {
		v = v[:i]
	}
	if strings.HasPrefix(v, "#") {
		v = ""
	}
	return m[1], v, true
}

// envFile collects the accounts of an .env; 0 is the one of AMAZONQ_REFRESH_TOKEN.
type envFile struct {
	byNumber map[int]*given
	weights  map[int]bool
}

func newEnvFile() *envFile {
	return &envFile{byNumber: make(map[int]*given), weights: make(map[int]bool)}
}

var envAccount = regexp.MustCompile(`^AMAZONQ_(?:ACCOUNT_([0-9]{1,6})_)?(ID|REFRESH_TOKEN|CLIENT_ID|CLIENT_SECRET|PROFILE_ARN|REGION|WEIGHT|ENABLED)$`)

// set takes a variable, when it is one of an account. A later one beats an earlier.
func (e *envFile) set(name, value, where string) {
	if name == "KIRO_API_KEY" && value != "" {
		e.at(-1, where).key = value
		return
	}
	m := envAccount.FindStringSubmatch(name)
	if m == nil || value == "" {
		return
	}
	n := 0
	if m[1] != "" {
		i, err := strconv.Atoi(m[1])
		if err != nil {
			return
		}
		n = i + 1
	} else if slices.Contains([]string{"ID", "WEIGHT", "ENABLED"}, m[2]) {
		return
	}
	g := e.at(n, where)
	switch m[2] {
	case "ID":
		g.name = value
	case "REFRESH_TOKEN":
		g.refresh = value
	case "CLIENT_ID":
		g.client = value
	case "CLIENT_SECRET":
		g.secret = value
	case "PROFILE_ARN":
		g.profile = value
	case "REGION":
		g.region = value
	case "WEIGHT":
		e.weights[n] = value != "1"
	case "ENABLED":
		g.disabled = off(value)
	}
}

func (e *envFile) at(n int, where string) *given {
	g := e.byNumber[n]
	if g == nil {
		g = &given{}
		e.byNumber[n] = g
		switch {
		case n < 0:
			g.where = "KIRO_API_KEY (" + where + ")"
		case n == 0:
			g.where = "AMAZONQ_REFRESH_TOKEN (" + where + ")"
		default:
			g.where = "AMAZONQ_ACCOUNT_" + strconv.Itoa(n-1) + " (" + where + ")"
		}
	}
	return g
}

// accounts lists them by number. Variables that only tell where an account would be name none.
func (e *envFile) accounts(p *parser) []*given {
	var numbers []int
	for n, g := range e.byNumber {
		if g.refresh+g.client+g.secret+g.key != "" {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	var out []*given
	for _, n := range numbers {
		if e.weights[n] {
			p.skip("weight of "+e.byNumber[n].where, "accounts of one tier share the load evenly here")
		}
		out = append(out, e.byNumber[n])
	}
	return out
}
