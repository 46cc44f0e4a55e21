package adminui

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Methods are the ways of health checks.
func (d *nodesView) Methods() []string {
	if d.Kind == "bedrock" {
		return []string{"api"}
	}
	return []string{"api", "head", "cli"}
}

// Wires are the endpoints that a node of kind openai may have.
func (d *nodesView) Wires() []string { return []string{"chat", "responses", "both"} }

// Kinds are those that the form makes.
func (d *nodesView) Kinds() []string { return []string{"anthropic", "openai", "bedrock"} }

// Pool is the page of Amazon Q's accounts.
func (d *nodesView) Pool() string { return poolAPI }

// IsOwn reports whether the form is of a kind whose address, credential and way of checks it edits.
func (d *nodesView) IsOwn() bool { return d.Kind != "amazonq" }

func formOfNode(n *nodeRow) *form {
	var pairs []string
	for _, from := range slices.Sorted(maps.Keys(n.ModelMap)) {
		pairs = append(pairs, from+" = "+n.ModelMap[from])
	}
	vs := url.Values{"name": {n.Name}, "base_url": {n.BaseURL}, "weight": {strconv.FormatInt(n.Weight, 10)}, "models": {strings.Join(n.Models, "\n")}, "model_map": {strings.Join(pairs, "\n")},
		"wire": {n.Wire}, "auth_header": {n.AuthHeader}, "health_check_method": {n.HealthMethod}, "health_check_model": {n.HealthModel}, "notes": {n.Notes}}
	n.Limits.fill(vs)
	if n.Kind == "bedrock" {
		fillBedrock(vs, n)
	}
	return &form{Values: vs}
}

// nodeInput reads the form of a node of a kind. What the form does not have is not sent, and stays as it is.
func (v *view) nodeInput(kind string, fresh bool) (map[string]json.RawMessage, error) {
	weight, err := v.number("weight")
	if err == nil && !fresh {
		err = v.emptied("name", "weight")
	}
	if err != nil {
		return nil, err
	}
	models, err := v.modelMap()
	if err != nil {
		return nil, err
	}
	caps := map[string]json.RawMessage{}
	v.limitsOf(caps)
	fields := map[string]any{"limits": caps, "notes": v.form.Get("notes"), "models": nonNil(v.lines("models")), "model_map": models}
	if name := v.text("name"); name != "" {
		fields["name"] = name
	}
	if weight != nil {
		fields["weight"] = *weight
	}
	if kind != "amazonq" {
		if v.text("base_url") == "" && kind != "bedrock" {
			return nil, &Refusal{Status: http.StatusBadRequest, Field: "base_url", Message: v.t("nodes.url.required")}
		}
		fields["base_url"] = v.text("base_url")
		fields["health_check_method"], fields["health_check_model"] = v.text("health_check_method"), v.text("health_check_model")
		switch {
		case kind == "bedrock":
			v.bedrockInput(fields, fresh)
		case v.form.Get("forget") != "":
			fields["api_key"] = ""
		case v.text("api_key") != "":
			fields["api_key"] = v.text("api_key")
		}
	}
	if kind == "openai" {
		fields["wire"], fields["auth_header"] = v.text("wire"), v.text("auth_header")
	}
	if fresh {
		fields["kind"] = kind
	}
	in := make(map[string]json.RawMessage, len(fields))
	for name, value := range fields {
		if in[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// modelMap reads lines of "name = name of the node's".
func (v *view) modelMap() (map[string]string, error) {
	out := map[string]string{}
	for line := range strings.Lines(v.form.Get("model_map")) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		from, to, ok := strings.Cut(line, "=")
		from, to = strings.TrimSpace(from), strings.TrimSpace(to)
		if _, twice := out[from]; !ok || from == "" || to == "" || twice {
			return nil, &Refusal{Status: http.StatusBadRequest, Field: "model_map", Message: v.t("nodes.map.line", line)}
		}
		out[from] = to
	}
	return out, nil
}

// limitFields are the form's names of a node's limits by the API's.
func limitFields() map[string]string {
	out := map[string]string{}
	for _, name := range [...]string{"requests_per_minute", "requests_per_day", "tokens_per_minute", "concurrency", "usd_per_day", "usd_per_month"} {
		out["limits."+name] = name
	}
	return out
}

func createNode(v *view) error {
	in, err := v.nodeInput(v.Query("new"), true)
	if err == nil {
		var out ofNode
		if err = v.call(http.MethodPost, nodesAPI, account(v.Query("account_id")), in, &out); err == nil {
			return v.done(v.back("/admin/nodes"), "nodes.created", cmp.Or(v.text("name"), "#"+out.ID))
		}
	}
	return v.refusedForm(err)
}

func updateNode(v *view) error {
	id := v.Query("edit")
	in, err := v.nodeInput(v.text("kind"), false)
	if err == nil {
		if err = v.call(http.MethodPut, nodesAPI, url.Values{"id": {id}}, in, nil); err == nil {
			return v.done(v.back("/admin/nodes"), "nodes.saved", v.text("name"))
		}
	}
	return v.refusedForm(err)
}

// refusedForm shows the page again when the form of a node was refused.
func (v *view) refusedForm(err error) error {
	f, err := v.refused(err, limitFields())
	if err != nil {
		return err
	}
	return v.nodes(&nodesView{Form: f})
}
