package deploy

import (
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const sdk = "github.com/aws/aws-sdk-go-v2/service/"

// signer is the SDK's package for those who make calls themselves.
const signer = "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

// targets are services as the header X-Amz-Target names them, or as IAM does.
var targets = map[string]string{"secretsmanager": "secretsmanager", "AmazonSSM": "ssm", "TrentService": "kms", "DynamoDB_20120810": "dynamodb", "s3": "s3", "ssm": "ssm"}

// signed are the actions that a file which signs its own calls names, as targets or as IAM does.
func signed(t testing.TB, f *ast.File) []string {
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			text, _ := quoted(lit)
			if m := regexp.MustCompile(`^(\w+)[.:]([A-Z]\w+)$`).FindStringSubmatch(text); m != nil {
				if targets[m[1]] == "" {
					t.Errorf("%s is a target of no service that this test knows", text)
				}
				out = append(out, targets[m[1]]+":"+m[2])
			}
		}
		return true
	})
	return out
}

// anonymous services take no credentials of the caller.
var anonymous = map[string]bool{"ssooidc": true}

// calls are the IAM actions that the packages call: for each input that is made for a client of the SDK, the operation of
// that name. A package's functions that only command-line tools reach are left out.
func calls(t testing.TB, dirs []string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, dir := range dirs {
		var list []*ast.File
		services := false
		for _, f := range files(t, dir) {
			list = append(list, f)
			for _, i := range f.Imports {
				services = services || strings.Contains(i.Path.Value, sdk)
				if i.Path.Value == strconv.Quote(signer) {
					for _, action := range signed(t, f) {
						out[action] = true
					}
				}
			}
		}
		if services {
			for action := range callsOf(list) {
				out[action] = true
			}
		}
	}
	return out
}

// toolsOnly are exported functions that no function of Lambda calls; TestToolsAreNotInFunctions sees to that.
var toolsOnly = map[string]bool{"CreateTable": true}

func callsOf(list []*ast.File) map[string]bool {
	bodies := map[string][]*ast.FuncDecl{}
	clients := map[string]string{} // the name a file gives to a package -> its service
	for _, f := range list {
		for _, i := range f.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			service, ok := strings.CutPrefix(p, sdk)
			if !ok {
				continue
			}
			name := path.Base(p)
			if i.Name != nil {
				name = i.Name.Name
			}
			clients[name] = service
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				bodies[fn.Name.Name] = append(bodies[fn.Name.Name], fn)
			}
		}
	}
	out, seen := map[string]bool{}, map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, fn := range bodies[name] {
			ast.Inspect(fn, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					if bodies[n.Name] != nil && !toolsOnly[n.Name] {
						visit(n.Name)
					}
				case *ast.CompositeLit:
					for _, action := range actions(n, clients) {
						out[action] = true
					}
				}
				return true
			})
		}
	}
	for name := range bodies {
		if ast.IsExported(name) && !toolsOnly[name] {
			visit(name)
		}
	}
	return out
}

// actions of one literal: sdk.GetItemInput{...}, or the parts of a transaction, which has no action of its own.
func actions(lit *ast.CompositeLit, clients map[string]string) []string {
	sel, ok := lit.Type.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	pkg, _ := sel.X.(*ast.Ident)
	if pkg == nil {
		return nil
	}
	service := clients[pkg.Name]
	if sel.Sel.Name == "TransactWriteItem" {
		return parts(lit)
	}
	op, input := strings.CutSuffix(sel.Sel.Name, "Input")
	if !input || strings.Contains(service, "/") || service == "" || anonymous[service] || strings.HasPrefix(op, "Transact") {
		return nil
	}
	return []string{service + ":" + op}
}

func parts(lit *ast.CompositeLit) []string {
	names := map[string]string{"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
	var out []string
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && names[key.Name] != "" {
				out = append(out, "dynamodb:"+names[key.Name])
			}
		}
	}
	return out
}

// TestToolsAreNotInFunctions: what calls leaves out must not be reached from a function.
func TestToolsAreNotInFunctions(t *testing.T) {
	for _, dir := range append(folders(t, "functions"), "shared/boot") {
		for _, f := range files(t, dir) {
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && toolsOnly[s.Sel.Name] {
					t.Errorf("%s uses %s", dir, s.Sel.Name)
				}
				return true
			})
		}
	}
}
