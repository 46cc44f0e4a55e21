package deploy

import (
	"maps"
	"strings"
	"testing"
)

// noValue stands for AWS::NoValue: what has it is left out.
type noValue struct{}

// stack is the template with values for its parameters; Ref and GetAtt of a resource give "<Id>" and "<Id.Attr>".
type stack struct {
	t      testing.TB
	tpl    template
	params map[string]string
}

func newStack(t testing.TB, tpl template, params map[string]string) stack {
	t.Helper()
	all := map[string]string{"AWS::Region": "eu-west-1", "AWS::StackName": "sluice", "AWS::Partition": "aws", "AWS::AccountId": "123456789012", "AWS::URLSuffix": "amazonaws.com"}
	for name, p := range tpl.Parameters {
		if _, has := p.(object)["Default"]; !has {
			t.Errorf("parameter %s has no default: the template would not deploy without it", name)
		}
		all[name] = text(p, "Default")
	}
	for name := range params {
		if _, known := tpl.Parameters[name]; !known {
			t.Fatalf("there is no parameter %s", name)
		}
	}
	maps.Copy(all, params)
	return stack{t, tpl, all}
}

// condition evaluates a condition of the template.
func (s stack) condition(v any) bool {
	s.t.Helper()
	if name, ok := v.(string); ok {
		if s.tpl.Conditions[name] == nil {
			s.t.Fatalf("there is no condition %q", name)
		}
		return s.condition(s.tpl.Conditions[name])
	}
	o, _ := v.(object)
	if list, ok := o["Fn::Not"].([]any); ok {
		return !s.condition(list[0])
	}
	if list, ok := o["Fn::Equals"].([]any); ok {
		return s.resolve(list[0]) == s.resolve(list[1])
	}
	s.t.Fatalf("a condition that this test does not know: %v", v)
	return false
}

// has reports whether a resource or output is made.
func (s stack) has(v any) bool {
	c := text(v, "Condition")
	return c == "" || s.condition(c)
}

// resolve replaces the functions in v.
func (s stack) resolve(v any) any {
	s.t.Helper()
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, x := range v {
			if r := s.resolve(x); r != (noValue{}) {
				out = append(out, r)
			}
		}
		return out
	case object:
		if len(v) == 1 {
			for fn, arg := range v {
				if r, ok := s.call(fn, arg); ok {
					return r
				}
			}
		}
		out := object{}
		for k, x := range v {
			if r := s.resolve(x); r != (noValue{}) {
				out[k] = r
			}
		}
		return out
	}
	return v
}

func (s stack) call(fn string, arg any) (any, bool) {
	s.t.Helper()
	list, _ := arg.([]any)
	switch fn {
	case "Ref":
		return s.name(arg.(string)), true
	case "Fn::GetAtt":
		return "<" + list[0].(string) + "." + list[1].(string) + ">", true
	case "Fn::If":
		if s.condition(list[0]) {
			return s.resolve(list[1]), true
		}
		return s.resolve(list[2]), true
	case "Fn::Sub":
		return subVariable.ReplaceAllStringFunc(arg.(string), func(m string) string {
			r, _ := s.name(m[2 : len(m)-1]).(string)
			return r
		}), true
	case "Fn::Join":
		r := s.resolve(list[1])
		if one, ok := r.(string); ok {
			return one, true // a list of one
		}
		var parts []string
		for _, p := range r.([]any) {
			parts = append(parts, p.(string))
		}
		return strings.Join(parts, list[0].(string)), true
	}
	return nil, false
}

func (s stack) name(n string) any {
	s.t.Helper()
	if n == "AWS::NoValue" {
		return noValue{}
	}
	if v, ok := s.params[n]; ok {
		return v
	}
	id, _, _ := strings.Cut(n, ".")
	r := s.tpl.Resources[id]
	if r == nil {
		s.t.Fatalf("there is no %s", n)
	}
	if !s.has(r) {
		s.t.Errorf("%s is referred to where it is not made (%v)", n, s.params)
	}
	return "<" + n + ">"
}

// environment is what a function gets.
func (s stack) environment(id string) map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, from := range []any{at(s.tpl.whole, "Globals", "Function"), at(s.tpl.Resources[id], "Properties")} {
		vars, _ := s.resolve(at(from, "Environment", "Variables")).(object)
		for k, v := range vars {
			out[k] = v.(string)
		}
	}
	return out
}
