package adminui

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"strings"
	"testing"
	"text/template/parse"
)

// names are what the package's own types have: exported methods, and fields of structs.
func names(t *testing.T) (methods, fields map[string]bool) {
	t.Helper()
	methods, fields = map[string]bool{}, map[string]bool{}
	set := gotoken.NewFileSet()
	for name, text := range read(t, "*.go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if i.Path.Value == `"html/template"` || i.Path.Value == `"text/template"` {
				t.Errorf("%s imports %s, which makes the linker keep every method", name, i.Path.Value)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil && n.Name.IsExported() {
					methods[n.Name.Name] = true
				}
			case *ast.StructType:
				for _, f := range n.Fields.List {
					for _, name := range f.Names {
						fields[name.Name] = true
					}
				}
			}
			return true
		})
	}
	return methods, fields
}

// TestTemplatesCallNoMethods: templates name fields of structs and keys of maps alone. A method that they named would be found
// missing when a page is shown, which may be a page that no test shows; so no name that they use is a field of one type and a
// method of another.
func TestTemplatesCallNoMethods(t *testing.T) {
	methods, fields := names(t)
	seen := 0
	for _, tmpl := range New(Options{}).tmpl.Templates() {
		if tmpl.Tree == nil {
			continue
		}
		named(tmpl.Tree.Root, func(name string) {
			seen++
			switch {
			case methods[name]:
				t.Errorf("%s: %s is a method: call the function of methods()", tmpl.Tree.ParseName, name)
			case ast.IsExported(name) && !fields[name]:
				t.Errorf("%s: no struct has a field %s", tmpl.Tree.ParseName, name)
			}
		})
	}
	if seen < 500 {
		t.Errorf("the templates use %d names: they were not read", seen)
	}
}

// named tells f the names behind dots in a node of a template.
func named(n parse.Node, f func(string)) {
	all := func(names []string) {
		for _, name := range names {
			f(name)
		}
	}
	branch := func(b *parse.BranchNode) {
		named(b.Pipe, f)
		named(b.List, f)
		if b.ElseList != nil {
			named(b.ElseList, f)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, n := range n.Nodes {
			named(n, f)
		}
	case *parse.ActionNode:
		named(n.Pipe, f)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			named(n.Pipe, f)
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, n := range n.Cmds {
			named(n, f)
		}
	case *parse.CommandNode:
		for _, n := range n.Args {
			named(n, f)
		}
	case *parse.ChainNode:
		named(n.Node, f)
		all(n.Field)
	case *parse.FieldNode:
		all(n.Ident)
	case *parse.VariableNode:
		all(n.Ident[1:]) // the first is the variable's own name
	}
}
