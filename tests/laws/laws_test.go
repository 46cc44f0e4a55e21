// Package laws holds the rules of the source tree as tests: who may import whom, how long a file may be, and what no
// package may do. The table is DESIGN 2; a change of it is a change of the architecture.
package laws_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list -json` tells of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string
	Deps       []string
}

const module = "sluice/"

// law is what a package may import: packages of this module by their path below shared/, and other modules by prefix.
type law struct {
	inside  []string
	outside []string
}

var (
	aws = "github.com/aws/"
	// the standard library's templates, which take no more of text/template than names of its types
	methodless = "github.com/DataDog/datadog-agent/pkg/template/"
	laws       = map[string]law{
		"core":                      {},
		"release":                   {},
		"rawjson":                   {},
		"sse":                       {},
		"limit":                     {},
		"eventstream":               {outside: []string{aws}},
		"pricing":                   {inside: []string{"core"}},
		"prices":                    {inside: []string{"core", "store", "pricing"}},
		"seal/sealtest":             {inside: []string{"seal"}},
		"seal":                      {inside: []string{"core"}, outside: []string{aws}},
		"router":                    {inside: []string{"core"}},
		"config":                    {inside: []string{"core", "seal"}, outside: []string{"github.com/caarlos0/env/"}},
		"logging":                   {inside: []string{"core"}},
		"web":                       {inside: []string{"core"}},
		"metrics":                   {inside: []string{"core", "metrics/internal/label"}, outside: []string{"github.com/prometheus/client_golang/prometheus"}},
		"metrics/emf":               {inside: []string{"core", "metrics/internal/label"}},
		"metrics/internal/label":    {inside: []string{"core"}},
		"trace":                     {inside: []string{"core", "config", "gateway"}, outside: []string{"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes", "go.opentelemetry.io/otel/propagation", "go.opentelemetry.io/otel/sdk/", "go.opentelemetry.io/otel/trace"}},
		"trace/tracetest":           {outside: []string{"go.opentelemetry.io/proto/slim/otlp/", "google.golang.org/protobuf/"}},
		"translator":                {inside: []string{"core", "rawjson", "sse"}},
		"translator/anthropic":      {inside: []string{"translator", "core", "rawjson", "sse"}},
		"translator/openaichat":     {inside: []string{"translator", "core", "rawjson", "sse"}},
		"translator/responses":      {inside: []string{"translator", "core", "rawjson", "sse"}},
		"upstream":                  {inside: []string{"core"}, outside: []string{"golang.org/x/net/"}},
		"upstream/anthropic":        {inside: []string{"upstream", "core", "sse"}},
		"upstream/openai":           {inside: []string{"upstream", "core", "sse"}},
		"compat":                    {inside: []string{"rawjson"}},
		"compatbook":                {inside: []string{"compat", "store"}},
		"translator/bedrock":        {inside: []string{"translator", "translator/internal/aws", "core", "rawjson", "sse", "eventstream"}},
		"upstream/bedrock":          {inside: []string{"awsenv", "upstream", "core", "rawjson"}, outside: []string{"github.com/aws/aws-sdk-go-v2/"}},
		"upstream/upstreamtest":     {inside: []string{"core", "rawjson", "sse", "eventstream"}, outside: []string{aws}},
		"store":                     {inside: []string{"core"}},
		"store/internal/usage":      {inside: []string{"core", "limit", "store"}},
		"store/memory":              {inside: []string{"core", "limit", "store", "store/internal/usage"}},
		"store/sqlstore":            {inside: []string{"core", "limit", "store", "store/memory", "store/internal/usage"}},
		"store/sqlite":              {inside: []string{"core", "limit", "store", "store/sqlstore"}, outside: []string{"modernc.org/sqlite", "golang.org/x/sys/"}},
		"lambdahttp":                {inside: []string{"core", "rawjson", "web"}, outside: []string{"github.com/aws/aws-lambda-go/", "github.com/awslabs/"}},
		"tokens":                    {inside: []string{"core", "store", "upstream"}},
		"tokencount":                {inside: []string{"rawjson"}},
		"translator/amazonq":        {inside: []string{"translator", "translator/internal/aws", "core", "rawjson", "sse", "eventstream"}},
		"translator/internal/aws":   {inside: []string{"translator", "core", "rawjson"}},
		"upstream/amazonq":          {inside: []string{"upstream", "core", "sse", "eventstream"}, outside: []string{"github.com/aws/aws-sdk-go-v2/", "github.com/aws/smithy-go"}},
		"store/measure":             {inside: []string{"core", "store"}},
		"store/spool":               {inside: []string{"core", "store"}},
		"store/transfer":            {inside: []string{"core", "store"}},
		"importer":                  {inside: []string{"core", "config", "seal", "store", "directory", "pricing", "prices"}, outside: []string{"golang.org/x/crypto/"}},
		"store/mysql":               {inside: []string{"store/sqlstore"}, outside: []string{"github.com/go-sql-driver/mysql"}},
		"store/postgres":            {inside: []string{"store/sqlstore"}, outside: []string{"github.com/jackc/pgx/"}},
		"store/sqlstore/sqltest":    {inside: []string{"core", "store", "store/memory", "store/sqlstore", "store/storetest"}},
		"store/dynamodb":            {inside: []string{"awsenv", "core", "limit", "store", "store/internal/usage"}, outside: []string{"github.com/aws/aws-sdk-go-v2/", "github.com/aws/smithy-go"}},
		"store/redis":               {inside: []string{"core", "limit", "store", "store/internal/usage"}, outside: []string{"github.com/redis/go-redis/"}},
		"store/storetest":           {inside: []string{"core", "store"}},
		"directory":                 {inside: []string{"core", "store"}, outside: []string{"golang.org/x/sync/"}},
		"health":                    {inside: []string{"core", "store", "router"}},
		"health/probe":              {inside: []string{"core", "store", "router", "health", "upstream", "pricing"}},
		"awsenv":                    {outside: []string{aws}},
		"budget":                    {inside: []string{"core", "limit", "store"}},
		"health/alerts":             {inside: []string{"core", "store", "health", "notify", "budget"}},
		"notify":                    {inside: []string{"core", "store", "seal"}, outside: []string{"github.com/aws/aws-sdk-go-v2/"}},
		"notify/notifytest":         {outside: []string{"github.com/aws/aws-sdk-go-v2/"}},
		"gateway":                   {inside: []string{"core", "capture", "pricing", "rawjson", "sse", "seal", "store", "router", "health", "directory", "web", "upstream", "translator", "translator/anthropic", "translator/openaichat", "translator/responses", "translator/amazonq", "translator/bedrock", "upstream/bedrock", "compat", "eventstream", "tokencount"}, outside: []string{"github.com/klauspost/compress/zstd"}},
		"adminapi":                  {inside: []string{"core", "capture", "audit", "config", "seal", "prices", "store", "health", "directory", "web", "upstream", "upstream/amazonq", "upstream/bedrock", "compat", "compatbook", "importer", "pricing", "notify", "router", "budget", "limit"}, outside: []string{"golang.org/x/crypto/"}},
		"adminui":                   {inside: []string{"release", "web"}, outside: []string{methodless}},
		"adminui/internal/vendorui": {},
		"boot":                      {inside: []string{"release", "core", "capture", "audit", "config", "seal", "prices", "logging", "importer", "store", "store/measure", "store/spool", "store/transfer", "health", "directory", "web", "gateway", "adminapi", "upstream", "upstream/anthropic", "upstream/openai", "upstream/amazonq", "upstream/bedrock", "compatbook", "tokens", "router", "pricing", "health/probe", "health/alerts", "notify", "trace"}},
		"audit":                     {inside: []string{"core", "store"}},
		"cli":                       {outside: []string{"golang.org/x/term", "golang.org/x/text/width", "golang.org/x/sys/unix"}},
		"capture":                   {inside: []string{"awsenv", "core"}, outside: []string{"github.com/aws/aws-sdk-go-v2/"}},
		"boot/awsref":               {inside: []string{"awsenv", "core"}, outside: []string{"github.com/aws/aws-sdk-go-v2/"}},
		"boot/boottest":             {inside: []string{"boot", "config", "core", "logging", "store", "store/memory"}},
	}
	// drivers may be reached by their own package alone
	drivers = map[string]string{"github.com/redis/go-redis/v9": "store/redis", "modernc.org/sqlite": "store/sqlite", "github.com/go-sql-driver/mysql": "store/mysql",
		"github.com/jackc/pgx/v5": "store/postgres", "github.com/jackc/pgx/v5/stdlib": "store/postgres",
		"github.com/prometheus/client_golang/prometheus": "metrics", "go.opentelemetry.io/otel/sdk/trace": "trace"}
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps"}, args...)...)
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var ps []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t, "./shared/...") {
		name := strings.TrimPrefix(p.ImportPath, module+"shared/")
		l, ok := laws[name]
		if !ok {
			t.Errorf("%s has no law: say in the table what it may import", name)
			continue
		}
		seen[name] = true
		for _, imp := range p.Imports {
			if inside, ok := strings.CutPrefix(imp, module); ok {
				if !slices.Contains(l.inside, strings.TrimPrefix(inside, "shared/")) {
					t.Errorf("%s may not import %s", name, imp)
				}
				continue
			}
			if !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue // standard library
			}
			if !slices.ContainsFunc(l.outside, func(prefix string) bool { return strings.HasPrefix(imp, prefix) }) {
				t.Errorf("%s may not import %s", name, imp)
			}
		}
	}
	if !seen["core"] || !seen["gateway"] {
		t.Error("the list of packages is not what it should be: the test would pass on nothing")
	}
}

func TestDriversStayInTheirPackage(t *testing.T) {
	for _, p := range list(t, "./...") {
		for driver, owner := range drivers {
			if slices.Contains(p.Imports, driver) && p.ImportPath != module+"shared/"+owner {
				t.Errorf("%s imports %s, which belongs to %s", p.ImportPath, driver, owner)
			}
		}
	}
}

// TestFunctionsStaySmall: a function links no SQL, no Prometheus, and nothing that calls methods by name: then the linker drops no method
// of the program any more, and the binary is half as large again.
func TestFunctionsStaySmall(t *testing.T) {
	ps := list(t, "-tags", "lambda.norpc", "./functions/...")
	for _, p := range ps {
		for _, dep := range []string{"modernc.org/sqlite", "github.com/go-sql-driver/mysql", "github.com/jackc/pgx/v5",
			"github.com/prometheus/client_golang/prometheus", "google.golang.org/grpc", "google.golang.org/protobuf/proto", "github.com/aws/aws-sdk-go-v2/service/ssm", "github.com/aws/aws-sdk-go-v2/service/secretsmanager",
			"github.com/aws/aws-sdk-go-v2/service/bedrock", "github.com/aws/aws-sdk-go-v2/service/bedrockruntime", // 1.2 MB
			module + "shared/cli"} {
			if slices.Contains(p.Deps, dep) {
				t.Errorf("%s reaches %s", p.ImportPath, dep)
			}
		}
	}
	if len(ps) < 4 {
		t.Errorf("%d packages under functions: the test would pass on nothing", len(ps))
	}
	for _, p := range list(t, "-deps", "-tags", "lambda.norpc", "./functions/...") {
		for _, i := range p.Imports {
			if (i == "text/template" || i == "html/template") && p.ImportPath != "html/template" && !strings.HasPrefix(p.ImportPath, methodless) {
				t.Errorf("%s imports %s; %shtml is the same without methods", p.ImportPath, i, methodless)
			}
		}
	}
}

// sources calls fn for every Go file of the project.
func sources(t *testing.T, fn func(path string, lines int)) {
	t.Helper()
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root(t)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fn(path, strings.Count(string(data), "\n"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSizes(t *testing.T) {
	perDir := map[string]int{}
	sources(t, func(path string, lines int) {
		if lines > 500 {
			t.Errorf("%s has %d lines, more than 500", path, lines)
		}
		if !strings.HasSuffix(path, "_test.go") {
			perDir[filepath.Dir(path)] += lines
		}
	})
	for dir, lines := range perDir {
		if lines > 1500 && !strings.Contains(dir, string(filepath.Separator)+"tests"+string(filepath.Separator)) && !hasReason(t, dir) {
			t.Errorf("%s has %d lines, more than 1,500, and its package comment gives no reason (say \"1,500 lines\")", dir, lines)
		}
	}
}

// hasReason reports whether the package comment speaks of its length.
func hasReason(t *testing.T, dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil && strings.Contains(strings.ReplaceAll(parsed.Doc.Text(), "\n", " "), "1,500 lines") {
			return true
		}
	}
	return false
}

func TestNoInitAndNoSleep(t *testing.T) {
	sources(t, func(path string, _ int) {
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: init() registers behind the reader's back", path)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && n.Sel.Name == "Sleep" && !inBubble(path, parsed) {
					t.Errorf("%s: time.Sleep; use a timer with a context, a clock or synctest", path)
				}
			case *ast.StructType:
				for _, f := range n.Fields.List {
					if s, ok := f.Type.(*ast.SelectorExpr); ok && len(f.Names) > 0 {
						if x, ok := s.X.(*ast.Ident); ok && x.Name == "context" && s.Sel.Name == "Context" && !forTests(path) {
							t.Errorf("%s: a context kept in a struct", path)
						}
					}
				}
			}
			return true
		})
	})
}

// forTests reports whether a file serves tests only: there a struct may be one call and keep its context.
func forTests(path string) bool {
	return strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") ||
		strings.Contains(filepath.ToSlash(path), "/tests/")
}

// inBubble reports whether a test file uses synctest, whose Sleep moves a simulated clock.
func inBubble(path string, f *ast.File) bool {
	if !strings.HasSuffix(path, "_test.go") {
		return false
	}
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
}
