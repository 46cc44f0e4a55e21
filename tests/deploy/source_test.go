package deploy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// files parses the Go files of a folder that are no tests.
func files(t testing.TB, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(root(t, dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s has no Go files (%v)", dir, err)
	}
	var out []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// folders are all below dir that hold Go files.
func folders(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root(t, dir), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			rel, _ := filepath.Rel(root(t), filepath.Dir(path))
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func quoted(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// constants are the string constants of a folder, also those made of others.
func constants(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	for before := -1; before < len(out); { // one may stand before what it is made of
		before = len(out)
		for _, f := range files(t, dir) {
			ast.Inspect(f, func(n ast.Node) bool {
				v, ok := n.(*ast.ValueSpec)
				if !ok {
					return true
				}
				for i, name := range v.Names {
					if i < len(v.Values) {
						if s, ok := constant(v.Values[i], out); ok {
							out[name.Name] = s
						}
					}
				}
				return true
			})
		}
	}
	return out
}

// constant is the value of an expression of string literals and constants.
func constant(e ast.Expr, known map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.Ident:
		s, ok := known[e.Name]
		return s, ok
	case *ast.BinaryExpr:
		x, okx := constant(e.X, known)
		y, oky := constant(e.Y, known)
		return x + y, okx && oky && e.Op == token.ADD
	}
	return quoted(e)
}

// adminRoutes are the paths that the admin API registers, with {id}: the keys of its map of routes, and the paths that its
// ServeHTTP and Handles name.
func adminRoutes(t testing.TB) []string {
	known := constants(t, "shared/adminapi")
	var out []string
	for _, f := range files(t, "shared/adminapi") {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit: // map[string]route{...}
				m, ok := n.Type.(*ast.MapType)
				if !ok {
					return true
				}
				if id, ok := m.Value.(*ast.Ident); !ok || id.Name != "route" {
					return true
				}
				for _, e := range n.Elts {
					if path, ok := constant(e.(*ast.KeyValueExpr).Key, known); ok {
						out = append(out, path)
					} else {
						t.Errorf("a route of the admin API is no constant: %#v", e)
					}
				}
			case *ast.FuncDecl:
				if n.Name.Name == "ServeHTTP" || n.Name.Name == "Handles" {
					out = append(out, paths(n, known)...)
				}
			}
			return true
		})
	}
	out = append(out, known["apiKeysPath"], known["apiKeysPath"]+"/{id}")
	return unique(out)
}

// gatewayRoutes are the paths of the gateway's endpoints, under each of its prefixes, and what boot serves beside it.
func gatewayRoutes(t testing.TB) []string {
	known := constants(t, "shared/gateway")
	var ends []string
	for _, f := range files(t, "shared/gateway") {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit: // endpoint{"/v1/messages", ...}
				if id, ok := n.Type.(*ast.Ident); !ok || id.Name != "endpoint" || len(n.Elts) == 0 {
					return true
				}
				first := n.Elts[0]
				if kv, ok := first.(*ast.KeyValueExpr); ok {
					first = kv.Value
				}
				if path, ok := constant(first, known); ok {
					ends = append(ends, path)
				}
			case *ast.CallExpr: // newCollection("/v1/files", ...)
				if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "newCollection" {
					if path, ok := constant(n.Args[0], known); ok {
						ends = append(ends, path, path+"/{id}", path+"/{id}/{below}")
					}
				}
			}
			return true
		})
	}
	out := []string{"/", "/api/hello"}
	for _, e := range ends {
		out = append(out, e, known["prefixAnthropic"]+e, known["prefixOpenAI"]+e)
	}
	for _, f := range files(t, "shared/boot") {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "serve" && fn.Recv != nil {
				out = append(out, paths(fn, nil)...)
			}
		}
	}
	return unique(out)
}

// paths are the constants of a function that look like paths.
func paths(fn *ast.FuncDecl, known map[string]string) []string {
	var out []string
	ast.Inspect(fn, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok {
			if s, ok := constant(e, known); ok && len(s) > 1 && s[0] == '/' {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// settings are the variables of config.Config.
func settings(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`env:"([A-Z_]+)"`).FindAllStringSubmatch(read(t, "shared/config/config.go"), -1) {
		out = append(out, m[1])
	}
	if len(out) < 20 {
		t.Fatalf("only %d settings were found", len(out))
	}
	return out
}
