package adminui

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Ticked reports whether a row was chosen in a form that is shown again.
func (v *view) Ticked(id string) bool { return slices.Contains(v.form["ids"], id) }

// each does one thing with all that are ticked. What could not be done with one does not stop the others, and is told; what
// was done is no longer ticked.
func (v *view) each(do func(id string) error) (n int, err error) {
	ids := v.form["ids"]
	if len(ids) == 0 || len(ids) > perPage {
		return 0, &Refusal{Status: http.StatusBadRequest, Message: v.t("list.bulk.none")}
	}
	var failed, left []string
	for i, id := range ids {
		err := do(id)
		var no *Refusal
		switch {
		case err == nil:
			n++
			continue
		case !errors.As(err, &no) || no.Status == http.StatusUnauthorized:
			return n, err
		}
		failed, left = append(failed, id+": "+no.Error()), append(left, ids[i])
	}
	if len(failed) == 0 {
		return n, nil
	}
	v.form["ids"] = left
	return n, &Refusal{Status: http.StatusConflict, Message: v.t("list.bulk.failed", grouped(int64(n)), strings.Join(failed, "; "))}
}

// nothing is each of a form that does not say what to do: none of its buttons was pressed.
func (v *view) nothing(func(id string) error) (int, error) {
	return 0, &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
}

// eachDeleted is each of what cannot be undone: the word for it must have been typed.
func (v *view) eachDeleted(do func(id string) error) (int, error) {
	if err := v.confirmed(v.t("list.bulk.word")); err != nil && len(v.form["ids"]) > 0 {
		return 0, err
	}
	return v.each(do)
}
