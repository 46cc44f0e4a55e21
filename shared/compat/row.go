package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The routes of a Bedrock node that take Anthropic's JSON. Claude Platform on AWS is Anthropic's own service and takes all of
// it: no table is applied there, nor to Converse, whose requests are made anew.
const (
	RouteMantle  = "messages-mantle"  // bedrock-mantle, /anthropic/v1/messages
	RouteRuntime = "messages-runtime" // bedrock-runtime, /anthropic/v1/messages
	RouteInvoke  = "invoke"           // InvokeModel and InvokeModelWithResponseStream
)

// Kind is what a row is about.
type Kind string

// The kinds of rows.
const (
	KindBeta  Kind = "beta"  // a flag of the header anthropic-beta
	KindField Kind = "field" // a member of the body, by its path: tools[].defer_loading
	KindTool  Kind = "tool"  // an element of tools, by its type
)

// Action is what happens to that.
type Action string

// The actions.
const (
	Keep   Action = "keep"
	Rename Action = "rename" // the flag or the type of the tool becomes To, the field goes there
	Drop   Action = "drop"   // left out and reported; a tool that the conversation uses is refused
	Refuse Action = "refuse" // the node cannot serve the request
)

// Sources of rows, as listed.
const (
	BuiltIn  = "built-in"
	Operator = "operator"
)

// Row is a line of the table.
type Row struct {
	Route    string   `json:"route"` // a pattern: any characters, a star stands for none or more
	Model    string   `json:"model"` // a pattern for the name that Family makes
	Kind     Kind     `json:"kind"`
	Name     string   `json:"name"` // the flag or the type, a pattern; or the path, which is none
	Action   Action   `json:"action"`
	To       string   `json:"to,omitempty"`       // the new name; of a field the new path, through the same arrays
	When     []string `json:"when,omitempty"`     // path=value or path!=value, all of which must hold; the value is a pattern
	Unless   []string `json:"unless,omitempty"`   // not when one of these flags is sent; not with keep, and not for flags
	Message  string   `json:"message,omitempty"`  // what a client reads behind the name of the field
	Evidence string   `json:"evidence"`           // where the row comes from, with its day
	Source   string   `json:"source,omitempty"`   // BuiltIn or Operator, as listed
	Replaces bool     `json:"replaces,omitempty"` // as listed: an operator's row in the place of a built-in one
}

// The bounds of a document.
const (
	MaxDocument = 64 << 10 // bytes of an operator's rows
	MaxRows     = 500
	maxName     = 128
	maxText     = 400
	maxUnless   = 8
	maxArrays   = 3
	maxPath     = 8
)

type document struct {
	Rows []Row `json:"rows"`
}

// readRows reads and checks a document. Rows listed as built-in are passed over, so that a listing can be sent back edited.
func readRows(data []byte, source string) ([]Row, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var doc document
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("the compatibility rows are not a document like {\"rows\":[...]}: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the compatibility rows have something behind the document: send one document")
	}
	if source == Operator {
		doc.Rows = slices.DeleteFunc(doc.Rows, func(r Row) bool { return r.Source == BuiltIn })
	}
	if len(doc.Rows) > MaxRows {
		return nil, fmt.Errorf("the compatibility rows are %d: at most %d are taken", len(doc.Rows), MaxRows)
	}
	seen := make(map[key]bool)
	for i := range doc.Rows {
		r := &doc.Rows[i]
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("compatibility row %d: %w", i+1, err)
		}
		if seen[r.key()] {
			return nil, fmt.Errorf("compatibility row %d: there is a row for the same route, model, kind, name and conditions: keep one of them", i+1)
		}
		seen[r.key()] = true
		r.Source, r.Replaces = source, false
	}
	return doc.Rows, nil
}

// key is what no two rows of a document share.
type key struct {
	route, model string
	kind         Kind
	name, when   string
}

func (r *Row) key() key {
	return key{r.Route, r.Model, r.Kind, r.Name, strings.Join(slices.Sorted(slices.Values(r.When)), " ")}
}

func (r *Row) check() error {
	switch r.Kind {
	case KindBeta, KindField, KindTool:
	default:
		return fmt.Errorf("kind %q is unknown: use beta, field or tool", clip(string(r.Kind)))
	}
	for _, p := range []struct{ what, text string }{{"route", r.Route}, {"model", r.Model}, {"name", r.Name}} {
		if err := checkName(p.what, p.text, p.what != "name" || r.Kind != KindField); err != nil {
			return err
		}
	}
	if r.Kind == KindField {
		if err := checkPath("name", r.Name); err != nil {
			return err
		}
		if (r.Action == Drop || r.Action == Rename) && vital(r.Name) {
			return fmt.Errorf("name %q cannot be dropped or renamed: no request works without it", clip(r.Name))
		}
	}
	if err := r.checkWhen(); err != nil {
		return err
	}
	for _, p := range []struct{ what, text string }{{"evidence", r.Evidence}, {"message", r.Message}} {
		if len(p.text) > maxText || !plain(p.text) {
			return fmt.Errorf("%s must be at most %d bytes of one line", p.what, maxText)
		}
	}
	if strings.TrimSpace(r.Evidence) == "" {
		return errors.New("evidence is missing: say where the row comes from, and the day")
	}
	return r.checkAction()
}

func (r *Row) checkAction() error {
	switch r.Action {
	case Keep, Drop:
	case Refuse:
		if strings.TrimSpace(r.Message) == "" {
			return errors.New("message is missing: a refusal must say what to do")
		}
	case Rename:
		if r.Kind == KindField {
			if err := r.checkMove(); err != nil {
				return err
			}
		} else if err := checkName("to", r.To, false); err != nil {
			return err
		}
		if r.To == r.Name {
			return errors.New("to is the name itself")
		}
	default:
		return fmt.Errorf("action %q is unknown: use keep, rename, drop or refuse", clip(string(r.Action)))
	}
	if r.To != "" && r.Action != Rename {
		return errors.New("to goes with the action rename only")
	}
	if len(r.Unless) == 0 {
		return nil
	}
	if r.Kind == KindBeta || r.Action == Keep {
		return errors.New("unless goes with fields and tools that are renamed, dropped or refused")
	}
	if len(r.Unless) > maxUnless {
		return fmt.Errorf("unless has %d betas: at most %d are taken", len(r.Unless), maxUnless)
	}
	for _, b := range r.Unless {
		if err := checkName("unless", b, false); err != nil {
			return err
		}
	}
	return nil
}

// checkName bounds names to what may stand in a header.
func checkName(what, s string, star bool) error {
	if s == "" || len(s) > maxName {
		return fmt.Errorf("%s must have 1 to %d characters", what, maxName)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == ',' || c == '"' || c == '\\' || c == '*' && !star {
			return fmt.Errorf("%s %q has a character that is not taken there", what, clip(s))
		}
	}
	return nil
}

// checkPath: names with dots between, [] behind those whose value is an array.
func checkPath(what, path string) error {
	segments := strings.Split(path, ".")
	arrays := 0
	for i, s := range segments {
		name, array := strings.CutSuffix(s, "[]")
		if array {
			arrays++
		}
		if name == "" || strings.ContainsAny(name, "[]") || array && i == len(segments)-1 {
			return fmt.Errorf("%s %q is not the path of a member: write it like tools[].defer_loading", what, clip(path))
		}
	}
	if len(segments) > maxPath || arrays > maxArrays {
		return fmt.Errorf("%s %q is too deep: at most %d names and %d arrays are taken", what, clip(path), maxPath, maxArrays)
	}
	return nil
}

// vital reports whether no request works without a field.
func vital(path string) bool {
	return slices.Contains([]string{"model", "messages", "max_tokens", "tools[].type", "tools[].name"}, path)
}

func plain(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}
