package adminui

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func compatPages() []*page {
	return []*page{{path: compatPath, title: "compat.title", menu: "menu.manage", admin: true, show: showCompat,
		acts: map[string]func(*view) error{"create": saveRow, "update": saveRow, "delete": removeRow, "bulk": removeRows}}}
}

const (
	compatPath = "/admin/bedrock"
	compatAPI  = "/api/compat"
	rowsAPI    = compatAPI + "/rows"
)

// compatRow is a row of the compatibility table as the API lists it.
type compatRow struct {
	Route    string   `json:"route"`
	Model    string   `json:"model"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Action   string   `json:"action"`
	RenameTo string   `json:"to"`
	When     []string `json:"when"`
	Unless   []string `json:"unless"`
	Message  string   `json:"message"`
	Evidence string   `json:"evidence"`
	Source   string   `json:"source"`
	Replaces bool     `json:"replaces"`

	raw json.RawMessage
}

// UnmarshalJSON keeps the row as it came, too: what this page does not know goes back with an edit.
func (r *compatRow) UnmarshalJSON(data []byte) error {
	type plain compatRow
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	r.raw = slices.Clone(data)
	return nil
}

// key is what the API names a row by.
func (r *compatRow) key() url.Values {
	q := url.Values{"route": {r.Route}, "model": {r.Model}, "kind": {r.Kind}, "name": {r.Name}}
	if len(r.When) > 0 {
		q["when"] = r.When
	}
	return q
}

// RowKey is what a form names a row by.
func (r *compatRow) RowKey() string { return r.key().Encode() }

// isOwn reports whether it is the operator's, and no built-in one.
func (r *compatRow) isOwn() bool { return r.Source == "operator" }

// compatView is the page.
type compatView struct {
	List list[compatRow]
	Own  int // rows of the operator's
	Form *form
	Edit *compatRow // nil: another row
	Err  *form      // of a small form
}

// RowChoices are the filters of the page: their values by what they are of, the first of all.
func (d *compatView) RowChoices(of string) []string {
	switch of {
	case "kind":
		return []string{"beta", "field", "tool"}
	case "action":
		return []string{"keep", "rename", "drop", "refuse"}
	case "source":
		return []string{"operator", "built-in"}
	}
	return []string{"*", "messages-mantle", "messages-runtime", "invoke"}
}

// RowFilters are what the list can be filtered by.
func (d *compatView) RowFilters() []string { return []string{"kind", "action", "source"} }

func showCompat(v *view) error { return v.compat(&compatView{}) }

// compat shows the page with what became of a form.
func (v *view) compat(d *compatView) error {
	var out struct{ Rows []compatRow }
	if err := v.get(compatAPI, nil, &out); err != nil {
		return err
	}
	wanted := make([]compatRow, 0, len(out.Rows))
	for i := range out.Rows {
		r := &out.Rows[i]
		if r.isOwn() {
			d.Own++
		}
		if v.filtered("kind", r.Kind) && v.filtered("action", r.Action) && v.filtered("source", r.Source) {
			wanted = append(wanted, *r)
		}
	}
	d.List = listOf(v, wanted, func(r compatRow) string {
		return strings.Join([]string{r.Name, r.RenameTo, r.Model, r.Route, strings.Join(r.When, " "), strings.Join(r.Unless, " "), r.Message, r.Evidence}, " ")
	}, order[compatRow]{
		"name": byText(func(r compatRow) string { return r.Name }), "kind": byText(func(r compatRow) string { return r.Kind + " " + r.Name }),
		"model": byText(func(r compatRow) string { return r.Model + " " + r.Name }), "route": byText(func(r compatRow) string { return r.Route + " " + r.Name }),
		"action": byText(func(r compatRow) string { return r.Action + " " + r.Name }), "source": byText(func(r compatRow) string { return r.Source + " " + r.Name }),
	}, "kind")
	d.fill(v, out.Rows)
	return v.render("compat.html", d)
}

// filtered reports whether a value passes the page's filter of that name.
func (v *view) filtered(name, value string) bool {
	want := v.Query(name)
	return want == "" || want == value || !slices.Contains((*compatView)(nil).RowChoices(name), want)
}

// fill fills the form with the row that is edited.
func (d *compatView) fill(v *view, all []compatRow) {
	id := v.Query("edit")
	i := slices.IndexFunc(all, func(r compatRow) bool { return r.RowKey() == id })
	if i >= 0 {
		d.Edit = &all[i]
	}
	if d.Form != nil {
		return
	}
	d.Form = &form{Values: url.Values{"route": {"*"}, "model": {"*"}, "kind": {"beta"}, "act": {"keep"}}}
	if r := d.Edit; r != nil {
		d.Form.Values = url.Values{"route": {r.Route}, "model": {r.Model}, "kind": {r.Kind}, "name": {r.Name}, "act": {r.Action}, "to": {r.RenameTo},
			"when": {strings.Join(r.When, "\n")}, "unless": {strings.Join(r.Unless, "\n")}, "message": {r.Message}}
		if r.isOwn() {
			d.Form.Values.Set("evidence", r.Evidence) // of a row that takes a built-in one's place, it is another
		}
	}
}

// rowFields are the form's fields by the API's, where they differ.
func rowFields() map[string]string { return map[string]string{"action": "act"} }

// saveRow adds a row, or changes the one that was edited.
func saveRow(v *view) error {
	was, err := v.rowOf(v.Query("edit"))
	if err != nil {
		return err
	}
	in := map[string]json.RawMessage{}
	method, q := http.MethodPost, url.Values(nil)
	if was != nil {
		if err := json.Unmarshal(was.raw, &in); err != nil {
			return err
		}
		if was.isOwn() {
			method, q = http.MethodPut, was.key()
		}
	}
	for _, name := range [...]string{"source", "replaces"} {
		delete(in, name)
	}
	for _, name := range [...]string{"route", "model", "kind", "name", "action", "to", "message", "evidence"} {
		delete(in, name)
		if s := v.text(cmp.Or(rowFields()[name], name)); s != "" {
			in[name], _ = json.Marshal(s) // a string has a form
		}
	}
	for _, name := range [...]string{"when", "unless"} {
		delete(in, name)
		if several := v.lines(name); len(several) > 0 {
			in[name], _ = json.Marshal(several)
		}
	}
	if err := v.call(method, rowsAPI, q, in, nil); err != nil {
		return v.refusedRow(&compatView{}, err)
	}
	return v.done(v.back(compatPath), "compat.saved", v.text("name"))
}

// rowOf is the row that a form was opened for; nil: none, or none any more, which the API says where it matters.
func (v *view) rowOf(id string) (*compatRow, error) {
	if id == "" {
		return nil, nil
	}
	var out struct{ Rows []compatRow }
	if err := v.get(compatAPI, nil, &out); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(out.Rows, func(r compatRow) bool { return r.RowKey() == id }); i >= 0 {
		return &out.Rows[i], nil
	}
	return nil, nil
}

// refusedRow shows the page again when the form of a row was refused. A message about a field begins with its name where it is
// known by heart.
func (v *view) refusedRow(d *compatView, err error) error {
	var no *Refusal
	if errors.As(err, &no) && no.Field != "" {
		whole := no.Field + " " + no.Message
		if said := translate(v.lang, whole); said != whole {
			no.Message = said
		}
	}
	if d.Form, err = v.refused(err, rowFields()); err != nil {
		return err
	}
	return v.compat(d)
}

// removeRow takes one of the operator's rows away.
func removeRow(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.removeOne(v.form.Get("id"))
	}
	if err != nil {
		return v.refusedSmall(err)
	}
	return v.done(v.back(compatPath), "compat.removed", v.text("name"))
}

// removeRows takes those away that are ticked.
func removeRows(v *view) error {
	n, err := v.eachDeleted(v.removeOne)
	if err != nil {
		return v.refusedSmall(err)
	}
	return v.done(v.back(compatPath), "compat.bulk", grouped(int64(n)))
}

func (v *view) removeOne(id string) error {
	q, err := url.ParseQuery(id)
	if err != nil {
		return &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
	}
	return v.call(http.MethodDelete, rowsAPI, q, nil, nil)
}

func (v *view) refusedSmall(err error) error {
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	return v.compat(&compatView{Err: f.small()})
}
