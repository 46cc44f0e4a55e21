package adminapi

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"sluice/shared/compat"
	"sluice/shared/compatbook"
	"sluice/shared/core"
)

const (
	compatPath     = "/api/compat"
	compatRowsPath = compatPath + "/rows"
)

// compatOf is the compatibility table's book, for administrators: the table holds for all accounts.
func (c *call) compatOf() (*compatbook.Book, error) {
	if !c.who.admin {
		return nil, core.E(core.CodeForbidden, "the compatibility table holds for all accounts: only an administrator may see or change it")
	}
	return c.a.o.Compat, nil
}

// showCompat lists the table in force, the built-in rows with the operator's.
func (c *call) showCompat() error {
	b, err := c.compatOf()
	if err != nil {
		return err
	}
	t, err := b.Read(c.r.Context())
	return c.compatAnswer(t, err)
}

// setCompat replaces the operator's rows, also when those stored cannot be read. A listing that was edited may be sent back: its built-in rows are passed over.
func (c *call) setCompat() error {
	b, err := c.compatOf()
	if err != nil {
		return err
	}
	doc, err := c.body()
	if err != nil {
		return err
	}
	if len(doc) == 0 { // would take all rows away, which {"rows":[]} says
		return bad(`rows: is required; {"rows":[]} takes all of the operator's rows away`)
	}
	t, err := b.Set(c.r.Context(), doc)
	return c.compatAnswer(t, err)
}

// compatAnswer answers with the table.
func (c *call) compatAnswer(t *compat.Table, err error) error {
	if invalid := (*compatbook.Invalid)(nil); errors.As(err, &invalid) {
		return bad(invalid.Error())
	}
	if _, is := errors.AsType[*compatbook.Unreadable](err); is {
		return core.E(core.CodeConflict, "the stored compatibility rows cannot be read by this version, so none of them can be shown or changed: "+
			"run the version that wrote them, or put a whole table in their place with PUT /api/compat")
	}
	if err != nil {
		return err
	}
	return c.ok(t)
}

// rowKey is what no two of the operator's rows share.
type rowKey struct{ route, model, kind, name, when string }

func newRowKey(route, model, kind, name string, when []string) rowKey {
	return rowKey{route, model, kind, name, strings.Join(slices.Sorted(slices.Values(when)), " ")}
}

func rowKeyOf(row json.RawMessage) rowKey {
	var r struct {
		Route, Model, Kind, Name string
		When                     []string
	}
	_ = json.Unmarshal(row, &r) // a row of the table is one; another's error is told by compat.Parse
	return newRowKey(r.Route, r.Model, r.Kind, r.Name, r.When)
}

func rowKeyIn(q url.Values) rowKey {
	return newRowKey(q.Get("route"), q.Get("model"), q.Get("kind"), q.Get("name"), q["when"])
}

// addCompatRow adds one row to the operator's.
func (c *call) addCompatRow() error {
	row, err := c.compatRow()
	if err != nil {
		return err
	}
	return c.editCompat(rowKeyOf(row), func(rows []json.RawMessage) ([]json.RawMessage, error) {
		if at(rows, rowKeyOf(row)) >= 0 {
			return nil, errRowThere
		}
		return append(rows, row), nil
	})
}

// changeCompatRow puts a row in the place of the operator's row that the query names.
func (c *call) changeCompatRow() error {
	row, err := c.compatRow()
	if err != nil {
		return err
	}
	was := rowKeyIn(c.r.URL.Query())
	return c.editCompat(was, func(rows []json.RawMessage) ([]json.RawMessage, error) {
		i := at(rows, was)
		if i < 0 {
			return nil, errNoRow
		}
		if is := rowKeyOf(row); is != was && at(rows, is) >= 0 {
			return nil, errRowThere
		}
		rows[i] = row
		return rows, nil
	})
}

// removeCompatRow takes the operator's row away that the query names. A built-in row whose place it took is back.
func (c *call) removeCompatRow() error {
	was := rowKeyIn(c.r.URL.Query())
	return c.editCompat(was, func(rows []json.RawMessage) ([]json.RawMessage, error) {
		i := at(rows, was)
		if i < 0 {
			return nil, errNoRow
		}
		return slices.Delete(rows, i, i+1), nil
	})
}

var (
	errNoRow    = core.E(core.CodeNotFound, "the operator has no row for this route, model, kind, name and conditions")
	errRowThere = core.E(core.CodeConflict, "name: the operator has a row for the same route, model, kind, name and conditions; change that one")
)

// at is the place of a row among others, -1 where there is none.
func at(rows []json.RawMessage, k rowKey) int {
	return slices.IndexFunc(rows, func(r json.RawMessage) bool { return rowKeyOf(r) == k })
}

// editCompat changes the operator's rows, for the sake of one, by whose name the audit log has the change. The rows between are kept as they are stored, with what this code does not know.
func (c *call) editCompat(of rowKey, change func([]json.RawMessage) ([]json.RawMessage, error)) error {
	b, err := c.compatOf()
	if err != nil {
		return err
	}
	c.id = of.name
	type document struct {
		Rows []json.RawMessage `json:"rows"`
	}
	t, err := b.Edit(c.r.Context(), func(t *compat.Table) ([]byte, error) {
		var doc document
		if err := json.Unmarshal(t.Overrides(), &doc); err != nil {
			return nil, err
		}
		if doc.Rows, err = change(doc.Rows); err != nil {
			return nil, err
		}
		return json.Marshal(doc)
	})
	return c.compatAnswer(t, err)
}

// compatRow reads one row, and judges it alone, so that what is wrong with it is told at its field.
func (c *call) compatRow() (json.RawMessage, error) {
	if _, err := c.compatOf(); err != nil {
		return nil, err
	}
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	maps.DeleteFunc(in, func(name string, _ json.RawMessage) bool { // as a listing has them, in any spelling that a decoder takes
		return strings.EqualFold(name, "source") || strings.EqualFold(name, "replaces")
	})
	row, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	if _, err := compat.Parse(slices.Concat([]byte(`{"rows":[`), row, []byte(`]}`))); err != nil {
		return nil, bad(atRowField(err.Error()))
	}
	return row, nil
}

// atRowField makes the error of package compat about its only row one of the API, which names the field.
func atRowField(said string) string {
	said = strings.TrimPrefix(said, "compatibility row 1: ")
	field, rest, _ := strings.Cut(said, " ")
	if strings.HasPrefix(rest, "and ") { // of two fields
		rest = said
	}
	switch field {
	case "route", "model", "kind", "name", "action", "to", "when", "unless", "message", "evidence":
		return field + ": " + rest
	}
	return said
}
