package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// object is a mapping of the template with its short forms (!Ref, !Sub, !GetAtt) written out.
type object = map[string]any

func root(t testing.TB, parts ...string) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{dir}, parts...)...)
}

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(root(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// template is template.yaml.
type template struct {
	Parameters, Conditions, Resources, Outputs object
	whole                                      object
}

func loadTemplate(t testing.TB) template {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(read(t, "template.yaml")), &doc); err != nil {
		t.Fatal(err)
	}
	whole, ok := value(t, doc.Content[0]).(object)
	if !ok {
		t.Fatal("template.yaml is no mapping")
	}
	part := func(name string) object { o, _ := whole[name].(object); return o }
	return template{part("Parameters"), part("Conditions"), part("Resources"), part("Outputs"), whole}
}

// value makes plain Go values of a node.
func value(t testing.TB, n *yaml.Node) any {
	t.Helper()
	if fn, ok := strings.CutPrefix(n.Tag, "!"); ok && !strings.HasPrefix(fn, "!") {
		return short(t, fn, n)
	}
	switch n.Kind {
	case yaml.MappingNode:
		o := object{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := o[key]; twice {
				t.Errorf("template.yaml:%d: %s is there twice", n.Content[i].Line, key)
			}
			o[key] = value(t, n.Content[i+1])
		}
		return o
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = value(t, c)
		}
		return list
	case yaml.AliasNode:
		t.Fatalf("template.yaml:%d: CloudFormation knows no aliases", n.Line)
	}
	return n.Value // CloudFormation, too, has scalars as text
}

// short writes a short form out.
func short(t testing.TB, fn string, n *yaml.Node) any {
	plain := *n
	plain.Tag = map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq", yaml.ScalarNode: "!!str"}[n.Kind]
	v := value(t, &plain)
	switch fn {
	case "Ref", "Condition":
		return object{fn: v}
	case "GetAtt":
		if s, ok := v.(string); ok {
			name, attr, _ := strings.Cut(s, ".")
			return object{"Fn::GetAtt": []any{name, attr}}
		}
	}
	return object{"Fn::" + fn: v}
}

// at follows a path of keys; nil where it ends.
func at(v any, path ...string) any {
	for _, key := range path {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		v = o[key]
	}
	return v
}

func text(v any, path ...string) string {
	s, _ := at(v, path...).(string)
	return s
}

// walk calls fn for every mapping below v, with the path to it.
func walk(v any, path string, fn func(path string, o object)) {
	switch v := v.(type) {
	case object:
		fn(path, v)
		for k, x := range v {
			walk(x, path+"/"+k, fn)
		}
	case []any:
		for i, x := range v {
			walk(x, fmt.Sprintf("%s/%d", path, i), fn)
		}
	}
}

var subVariable = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

// references calls fn for each name that v refers to.
func references(v any, fn func(path, name string)) {
	walk(v, "", func(path string, o object) {
		if s, ok := o["Ref"].(string); ok {
			fn(path, s)
		}
		if list, ok := o["Fn::GetAtt"].([]any); ok && len(list) == 2 {
			fn(path, list[0].(string))
		}
		s, ok := o["Fn::Sub"].(string)
		if !ok {
			return
		}
		for _, m := range subVariable.FindAllStringSubmatch(s, -1) {
			name, _, _ := strings.Cut(m[1], ".")
			fn(path, name)
		}
	})
}

// functions are the template's functions by logical id.
func (t template) functions() map[string]object {
	out := map[string]object{}
	for id, r := range t.Resources {
		if text(r, "Type") == "AWS::Serverless::Function" {
			out[id] = at(r, "Properties").(object)
		}
	}
	return out
}

// events are the events of a function that have a type.
func events(function object, kind string) map[string]object {
	out := map[string]object{}
	list, _ := function["Events"].(object)
	for name, e := range list {
		if text(e, "Type") == kind {
			out[name] = at(e, "Properties").(object)
		}
	}
	return out
}
