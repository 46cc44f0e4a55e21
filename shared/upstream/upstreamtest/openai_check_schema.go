package upstreamtest

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// function checks name and schema of a function, whose members are o's.
func (c *checker) function(o object) {
	c.named(o)
	if p := o.at("parameters"); p.present() {
		c.schema(p, "function '"+o.at("name").text()+"'", "invalid_function_parameters", string(o.at("strict").raw) == "true")
	}
}

func (c *checker) named(o object) {
	name := c.need(o, "name")
	if !name.present() {
		return
	}
	if s := c.text(name, 64); !toolName.MatchString(s) {
		c.refuse(name.path, "invalid_value", "Invalid '%s': string does not match pattern. Expected a string that matches the pattern '%s'.", name.path, toolName)
	}
}

// schema refuses a schema that the API cannot take; strict is structured
// output, whose objects must be closed.
func (c *checker) schema(v value, what, code string, strict bool) {
	var s schema
	if err := json.Unmarshal(v.raw, &s); err != nil {
		c.refuse(v.path, code, "Invalid schema for %s: %s is not of type 'object', 'boolean'.", what, v.raw)
		return
	}
	if string(s.Type) != `"object"` {
		got := strings.Trim(string(s.Type), `"`)
		if got == "" {
			got = "None"
		}
		c.refuse(v.path, code, `Invalid schema for %s: schema must be a JSON Schema of 'type: "object"', got 'type: "%s"'.`, what, got)
		return
	}
	if s.Properties == nil && (strict || code == "invalid_function_parameters") {
		c.refuse(v.path, code, "Invalid schema for %s: In context=(), object schema missing properties.", what)
		return
	}
	if strict {
		c.closed(s, nil, func(where, problem string) {
			c.refuse(v.path, code, "Invalid schema for %s: In context=(%s), %s", what, where, problem)
		})
	}
}

type schema struct {
	Type       json.RawMessage   `json:"type"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	AnyOf      []schema          `json:"anyOf"`
	Defs       map[string]schema `json:"$defs"`
	Additional json.RawMessage   `json:"additionalProperties"`
	Required   []string          `json:"required"`
}

// closed demands additionalProperties false and all properties required, in
// every object of the schema.
func (c *checker) closed(s schema, path []string, refuse func(where, problem string)) {
	where := strings.Join(path, ", ")
	if s.Properties != nil || strings.Contains(string(s.Type), `"object"`) {
		if string(s.Additional) != "false" {
			refuse(where, "'additionalProperties' is required to be supplied and to be false.")
		}
		for _, name := range sortedKeys(s.Properties) {
			if !slices.Contains(s.Required, name) {
				refuse(where, "'required' is required to be supplied and to be an array including every key in properties. Missing '"+name+"'.")
			}
		}
	}
	below := func(s schema, names ...string) {
		next := slices.Clone(path)
		for _, n := range names {
			next = append(next, "'"+n+"'")
		}
		c.closed(s, next, refuse)
	}
	for _, name := range sortedKeys(s.Properties) {
		below(s.Properties[name], "properties", name)
	}
	for _, name := range sortedKeys(s.Defs) {
		below(s.Defs[name], "$defs", name)
	}
	if s.Items != nil {
		below(*s.Items, "items")
	}
	for _, one := range s.AnyOf {
		below(one, "anyOf")
	}
}

func sortedKeys(m map[string]schema) []string { return slices.Sorted(maps.Keys(m)) }
