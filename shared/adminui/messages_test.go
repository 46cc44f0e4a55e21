package adminui

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// origin is Go code whose texts reach an answer of the API that a page shows.
type origin struct {
	files string // pattern
	// args are functions that take a text, and which argument it is.
	args map[string]int
	// gives are functions whose strings are texts.
	gives []string
	// lists are literals without names for their fields, and which field is the text.
	lists map[string]int
	vars  []string // that hold texts
	// reasons leaves out errors: these files answer others than the console. Why a node fails still counts.
	reasons bool
}

var (
	// everywhere are the functions that make errors.
	everywhere = map[string]int{"bad": 0, "core.E": 1, "E": 1, "errors.New": 0, "fmt.Errorf": 0}
	// fieldsOf are the fields that hold texts: of a core.Error, an upstream.Failure, a verdict on the audit log, a failed notification.
	fieldsOf = []string{"Message", "Reason", "words", "Why"}
	// within are the names of what is itself a text.
	within = []string{"err", "why", "what", "bad", "words", "reason", "unit", "Reason", "Why", "Problem", "Error", "typeName", "valueName"}
)

func origins() []origin {
	return []origin{
		{files: "adminapi/*.go", gives: []string{"typeName", "valueName", "plainReason"}, args: map[string]int{"room": 5}, lists: map[string]int{"skippedView": 1}},
		{files: "adminapi/alerts.go", lists: map[string]int{"": 3}}, // units of thresholds
		{files: "core/error.go"},
		{files: "directory/directory.go"},
		{files: "config/values.go"},
		{files: "capture/redact.go"},
		{files: "pricing/litellm.go"},
		{files: "prices/edit.go"},
		{files: "compat/row.go"},
		{files: "compat/table.go"},
		{files: "compat/when.go"},
		{files: "compat/move.go"},
		{files: "importer/accounts*.go", gives: []string{"unusable"}, args: map[string]int{"p.skip": 1}, lists: map[string]int{"Skipped": 1}},
		{files: "audit/entry.go"},
		{files: "audit/verify.go"},
		{files: "notify/*.go", gives: []string{"Error", "connectWords", "hopeless"}, args: map[string]int{"permanent": 0, "temporary": 0, "smtpFailure": 0},
			lists: map[string]int{"FieldError": 1}},
		{files: "upstream/*.go", gives: []string{"Error"}},
		{files: "upstream/amazonq/*.go", args: map[string]int{"misconfigured": 0, "refusal": 1, "verdict": 2, "set": 1}, vars: []string{"what"}},
		{files: "upstream/bedrock/credential.go"},
		{files: "upstream/openai/*.go", reasons: true},
		{files: "tokens/*.go", reasons: true},
		{files: "router/state.go", gives: []string{"degradedReason"}},
		{files: "health/probe/*.go", gives: []string{"words"}, reasons: true},
		{files: "health/probe/check.go", vars: []string{"prefix"}, reasons: true},
		{files: "gateway/*.go", gives: []string{"plainBody"}, args: map[string]int{"bad": 1}, reasons: true},
		{files: "gateway/stream.go", vars: []string{"why"}, reasons: true},
		{files: "gateway/forward.go", args: map[string]int{"errors.New": 0}, reasons: true},
	}
}

// untold are texts that no answer has, each with what becomes of it.
var untold = map[string]string{
	"%v: redaction took too long":              "a capture that is not kept; for the log",
	"%v: the body is nearly all escapes":       "a capture that is not kept; for the log",
	"%v: they match nearly everywhere":         "a capture that is not kept; for the log",
	"the account's rules could not be applied": "a capture that is not kept; for the log",
	"HTTP %d":                           "the protocol's own words follow it",
	"address %q: %v":                    "told as a failed connection",
	"the proxy is not for this address": "told as a failed connection",
	"documents of kind %q are not numbered here": "a fault of the program: told as an internal error",
	"encode an audit entry: %v":                  "a fault of the program: told as an internal error",
	"panic":                                      "for the audit log's own use",
	"log of notifications, entry %s, is not readable: %v":                         "damage in the store: told as an internal error",
	"the stored prices %q: %v":                                                    "damage in the store: told as an internal error",
	"the name of a model cannot be stored":                                        "the API checks names before: told as an internal error",
	"no price to end: %v":                                                         "told as not found, in other words",
	"polled before its time":                                                      "told as a login that is not confirmed yet",
	"sending notifications failed by a fault of the program (%v):\n%s":            "for the log",
	"settings of channel %s: %v":                                                  "told as settings that cannot be opened",
	"the channel has no settings":                                                 "told as settings that cannot be opened",
	"the chain is broken":                                                         "told by what is broken",
	"the part is full":                                                            "ends a part of an export",
	"there were too many messages within a minute: try again in %d s":             "told in other words",
	"Unknown API key. Check the key, or ask the operator of the gateway for one.": "told as unauthorized",
}

// TestMessagesOfSource: each message that the gateway's code can answer a page with is in the catalogue, and no other.
func TestMessagesOfSource(t *testing.T) {
	found, have := collect(t), formats(t)
	if len(found) < 300 {
		t.Fatalf("%d messages: the test would pass on nothing", len(found))
	}
	for _, text := range slices.Sorted(maps.Keys(found)) {
		_, ok := have[text]
		if _, hidden := untold[text]; hidden == ok {
			t.Errorf("%s: %q: in the catalogue: %v, among the untold: %v", found[text], text, ok, hidden)
		}
	}
	for _, list := range []map[string]string{have, untold} {
		for text := range list {
			if found[text] == "" {
				t.Errorf("no code says %q", text)
			}
		}
	}
}

// TestMessagesOfCatalogue: each translation is one, and tells what the message tells.
func TestMessagesOfCatalogue(t *testing.T) {
	for from, to := range formats(t) {
		_, verbs, _ := cutFormat(from)
		_, said, args := cutFormat(to)
		told := make([]byte, len(verbs))
		for i, at := range args {
			if at >= len(verbs) || verbs[at] != said[i] {
				t.Fatalf("%q: %q", from, to)
			}
			told[at] = said[i]
		}
		if string(told) != string(verbs) {
			t.Errorf("%q leaves something out: %q", from, to)
		}
		if !strings.HasPrefix(from, "config") && !strings.ContainsFunc(to, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%q: %q", from, to)
		}
	}
}

func formats(t *testing.T) map[string]string {
	t.Helper()
	data, err := localeFiles.ReadFile("locale/messages.zh-CN.json")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]string
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTranslate(t *testing.T) {
	long := strings.Repeat("a", 2<<10)
	for _, c := range []struct{ why, lang, message, want string }{
		{"a text", "zh-CN", "node not found", "节点不存在"},
		{"English is what it is", "en", "node not found", "node not found"},
		{"a number", "zh-CN", "must be at most 3650", "不能超过 3650"},
		{"the same text without its number is in the catalogue, too", "zh-CN", "must be at most 1000000", "不能超过 1000000"},
		{"of formats that fit, the one that says most", "zh-CN", "it has no refreshToken and no clientId", "缺少 refreshToken 和 clientId"},
		{"the field stays", "zh-CN", "weight: must be at most 1000000", "weight: 不能超过 1000000"},
		{"a field within a field", "zh-CN", "limits.usd_day: must not be above limits.usd_month", "limits.usd_day: 不能大于 limits.usd_month"},
		{"a missing field", "zh-CN", "name is required", "必须填写 name"},
		{"what follows is no field's message", "zh-CN", "json_file is required: send the file as multipart/form-data", "必须提供 json_file：请以 multipart/form-data 发送文件"},
		{"a value keeps what it is, whatever it says", "zh-CN", "it is here already, as overloaded", "已经存在，名称为 overloaded"},
		{"a message in a message", "zh-CN", "health check: status 529: overloaded", "健康检查：状态码 529：过载"},
		{"at the front, too", "zh-CN", "status 404: it does not take the question, which says nothing of the node; choose another health check model",
			"状态码 404：节点不接受健康检查的请求，无法据此判断节点状态；请更换健康检查模型"},
		{"three deep", "zh-CN", "the service refused: no new access token: the token service failed (status 500)", "服务拒绝了请求：未能获取新的访问令牌：令牌服务请求失败（状态码 500）"},
		{"what is not ours stays, in a frame that is", "zh-CN", "health check: status 400: model: claude-9 not found", "健康检查：状态码 400：model: claude-9 not found"},
		{"a channel's setting", "zh-CN", "the channel's settings are not valid: config.bot_token is missing", "渠道的设置无效：config.bot_token 必须填写"},
		{"a rule", "zh-CN", "capture.redact: pattern 2 must have 1 to 200 bytes", "capture.redact: 第 2 条规则：须为 1 到 200 字节"},
		{"the setting stays in front, where the form looks for it", "zh-CN", "config.access_key_id is missing: only an administrator's channel may use the gateway's own AWS credentials",
			"config.access_key_id 缺失：只有管理员的渠道才能使用网关自身的 AWS 凭据"},
		{"what there are too many of", "zh-CN", "an account can have at most 20 channels", "每个账号最多只能有 20 个渠道"},
		{"a type's name", "zh-CN", "weight: must be a whole number, not a string", "weight: 须为整数，而不是字符串"},
		{"a number of another type", "zh-CN", "weight: must be a whole number, not 1.5", "weight: 须为整数，而不是1.5"},
		{"a number too large", "zh-CN", "weight: must be a whole number of at most 18 digits", "weight: 须为不超过 18 位的整数"},
		{"a quoted name", "zh-CN", `price list: "gpt 5: \"x" is there twice`, `价格表："gpt 5: \"x" 重复出现`},
		{"no value at all", "zh-CN", "must be one of ", "可选值："},
		{"a number that is none", "zh-CN", "must be at most many", "must be at most many"},
		{"not ours", "zh-CN", "upstream says: 50% off, (.*)$", "upstream says: 50% off, (.*)$"},
		{"nothing", "zh-CN", "", ""},
		{"signs of formats and expressions are values", "zh-CN", "it is here already, as %s $1 \\ (.*", "已经存在，名称为 %s $1 \\ (.*"},
		{"lines", "zh-CN", "it is here already, as a\nb", "已经存在，名称为 a\nb"},
		{"too long to be ours", "zh-CN", "it is here already, as " + long, "it is here already, as " + long},
		{"a language that there is not", "fr", "node not found", "node not found"},
	} {
		if got := translate(c.lang, c.message); got != c.want {
			t.Errorf("%s: %q: %q, want %q", c.why, c.message, got, c.want)
		}
	}
}

// TestTranslateHostile: messages hold what upstreams say, so none may cost much.
func TestTranslateHostile(t *testing.T) {
	for _, piece := range []string{"a: ", "health check: ", "status 1: ", "%s", "(.*", "no connection: ", "config.", " was refused: 1 ", "\xff", "\""} {
		for _, size := range []int{maxMessage, maxMessage + 1, 1 << 20} {
			in := strings.Repeat(piece, size/len(piece)+1)[:size]
			if got := translate("zh-CN", in); len(got) > 4*len(in) || size > maxMessage && got != in {
				t.Errorf("%q * %d: %d bytes", piece, size, len(got))
			}
		}
	}
}

// FuzzTranslate: no message makes it fail, and who reads English reads what was said.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{"weight: must be at most 1000000", "status 500: overloaded", "config.url is missing", "a: b: c", "%[9]d", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		if got := translate("en", message); got != message {
			t.Errorf("%q: %q", message, got)
		}
		if got := translate("zh-CN", message); utf8.ValidString(message) && !utf8.ValidString(got) {
			t.Errorf("%q: %q", message, got)
		}
	})
}

// collect finds the texts, in the form that the catalogue has them in, with the place of each.
func collect(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, o := range origins() {
		files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(o.files)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", o.files, err)
		}
		s := &scan{origin: o, fset: gotoken.NewFileSet(), consts: map[string]ast.Expr{}, out: out}
		var parsed []*ast.File
		all, _ := filepath.Glob(filepath.Join(filepath.Dir(files[0]), "*.go")) // constants may be in any file of the package
		for _, name := range all {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(s.fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			s.constants(f)
			if slices.Contains(files, name) {
				parsed = append(parsed, f)
			}
		}
		for _, f := range parsed {
			for _, d := range f.Decls {
				s.name = ""
				if fn, ok := d.(*ast.FuncDecl); ok {
					s.name = fn.Name.Name
				}
				ast.Inspect(d, s.visit)
			}
		}
	}
	return out
}

type scan struct {
	origin
	fset   *gotoken.FileSet
	consts map[string]ast.Expr
	name   string // of the function
	out    map[string]string
}

func (s *scan) constants(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != gotoken.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for i, n := range v.Names {
				if i < len(v.Values) {
					s.consts[n.Name] = v.Values[i]
				}
			}
		}
	}
}

func (s *scan) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		name := called(n.Fun)
		at, ok := s.args[name]
		if !ok && !s.reasons {
			at, ok = everywhere[name]
		}
		if ok && at < len(n.Args) {
			s.add(n.Args[at], n.Args[at+1:])
		}
	case *ast.KeyValueExpr:
		if k, ok := n.Key.(*ast.Ident); ok && s.holds(k.Name) {
			s.add(n.Value, nil)
		}
	case *ast.CompositeLit:
		if at, ok := s.lists[called(n.Type)]; ok && at < len(n.Elts) {
			s.add(n.Elts[at], nil)
		}
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if i >= len(n.Rhs) {
				break
			}
			name := called(left)
			if _, last, ok := strings.Cut(name, "."); ok && s.holds(last) || slices.Contains(s.vars, name) {
				s.add(n.Rhs[i], nil, n.Tok == gotoken.ADD_ASSIGN)
			}
		}
	case *ast.ReturnStmt:
		if slices.Contains(s.gives, s.name) {
			for _, r := range n.Results {
				s.add(r, nil)
			}
		}
	}
	return true
}

// holds reports whether a field of that name is a text.
func (s *scan) holds(name string) bool {
	return name == "Reason" || !s.reasons && slices.Contains(fieldsOf, name)
}

// called is the name of a function, type or field.
func called(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x := called(e.X); x != "" {
			return x[strings.LastIndexByte(x, '.')+1:] + "." + e.Sel.Name
		}
		return "." + e.Sel.Name
	case *ast.StarExpr:
		return called(e.X)
	}
	return ""
}

// field is what begins a message about a field: the console takes it off before it looks.
var field = regexp.MustCompile(`^(?:%s|[a-z0-9_.]+)+: `)

func (s *scan) add(e ast.Expr, rest []ast.Expr, appended ...bool) {
	for _, text := range s.texts(e, rest) {
		if slices.Contains(appended, true) {
			text = "%v" + text
		}
		text = field.ReplaceAllString(text, "")
		if strings.HasSuffix(text, ": ") {
			text += "%v"
		}
		if m := strings.TrimSuffix(text, " is required"); m != text && !strings.Contains(m, " ") {
			text = "%s is required"
		}
		if strings.ContainsFunc(formatVerb().ReplaceAllString(text, ""), unicode.IsLetter) {
			if _, ok := s.out[text]; !ok {
				p := s.fset.Position(e.Pos())
				s.out[text] = filepath.ToSlash(p.Filename) + ":" + strconv.Itoa(p.Line)
			}
		}
	}
}

var anyVerb = regexp.MustCompile(`%[-+# 0-9.]*([a-zA-Z%])`)

// texts are the forms that an expression can have: its constants, and verbs for the rest, those of a format as they stand.
func (s *scan) texts(e ast.Expr, rest []ast.Expr) []string {
	if call, ok := e.(*ast.CallExpr); ok && called(call.Fun) == "fmt.Sprintf" {
		return s.texts(call.Args[0], append(call.Args[1:len(call.Args):len(call.Args)], nil))
	}
	all := s.parts(e)
	if len(rest) == 0 {
		return all
	}
	for i := range all {
		n := -1
		all[i] = anyVerb.ReplaceAllStringFunc(strings.ReplaceAll(all[i], "%%", "%"), func(v string) string {
			if v[len(v)-1] == '%' {
				return "%%"
			}
			if n++; v[len(v)-1] == 's' && n < len(rest) && rest[n] != nil {
				return operand(rest[n])
			}
			return map[byte]string{'w': "%v", 'v': "%v", 'q': "%q", 'd': "%d"}[v[len(v)-1]]
		})
	}
	return all
}

func (s *scan) parts(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.parts(e.X)
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return nil
		}
		return []string{strings.ReplaceAll(text, "%", "%%")}
	case *ast.BinaryExpr:
		if e.Op != gotoken.ADD {
			return nil
		}
		var out []string
		for _, a := range s.parts(e.X) {
			for _, b := range s.parts(e.Y) {
				out = append(out, a+b)
			}
		}
		return out
	case *ast.Ident:
		if c, ok := s.consts[e.Name]; ok {
			if texts := s.parts(c); len(texts) == 1 && !strings.HasPrefix(texts[0], "%") {
				return texts
			}
			return []string{"%d"}
		}
	case *ast.CallExpr:
		switch called(e.Fun) {
		case "cmp.Or":
			var out []string
			for _, a := range e.Args {
				out = append(out, s.parts(a)...)
			}
			return out
		case "strings.Join":
			if sep := s.parts(e.Args[1]); len(sep) == 1 && strings.Trim(sep[0], " ,") != "" {
				return []string{"%s", "%s" + sep[0] + "%s", "%s" + sep[0] + "%s" + sep[0] + "%s"}
			}
		}
	}
	return []string{operand(e)}
}

// operand is the verb of what is known only when it is told.
func operand(e ast.Expr) string {
	name := called(e)
	if call, ok := e.(*ast.CallExpr); ok {
		name = called(call.Fun)
	}
	if name == "itoa" || strings.HasPrefix(name, "strconv.") {
		return "%d"
	}
	if slices.Contains(within, name[strings.LastIndexByte(name, '.')+1:]) {
		return "%v"
	}
	return "%s"
}
