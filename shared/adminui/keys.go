package adminui

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

func keyPages() []*page {
	return []*page{{path: "/admin/keys", title: "keys.title", menu: "menu.manage", admin: true, show: showKeys,
		acts: map[string]func(*view) error{"create": createKey, "update": updateKey, "rotate": rotateKey, "revoke": revokeKey, "restore": revokeKey, "delete": deleteKey, "bulk": bulkKeys}}}
}

const keysAPI = "/admin/api/keys"

// limits are what a key, account or node is held to; 0 is unlimited.
type limits struct {
	RPM         int64   `json:"requests_per_minute"`
	RPD         int64   `json:"requests_per_day"`
	TPM         int64   `json:"tokens_per_minute"`
	Concurrency int64   `json:"concurrency"`
	USDDay      float64 `json:"usd_per_day"`
	USDMonth    float64 `json:"usd_per_month"`
}

// key is a key as the API's list tells.
type key struct {
	ID          string   `json:"id"`
	AccountID   string   `json:"account_id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Prefix      string   `json:"prefix"`
	Scopes      []string `json:"scopes"`
	Default     bool     `json:"default"`
	Revoked     bool     `json:"revoked"`
	limits
	Models     []string  `json:"models"`
	Networks   []string  `json:"networks"`
	ExpiresAt  time.Time `json:"expires_at"`
	OldUntil   time.Time `json:"old_key_until"`
	LastUsedAt time.Time `json:"last_used_at"`
	CreatedAt  time.Time `json:"created_at"`
}

// KeyTitle is what the key is called by: its name, else its number.
func (k *key) KeyTitle() string {
	if k.Name != "" {
		return k.Name
	}
	return "#" + k.ID
}

// Scope is the widest of the key's scopes.
func (k *key) Scope() string {
	best := "inference"
	for _, s := range k.Scopes {
		if s == "admin" || s == "nodes" && best != "admin" {
			best = s
		}
	}
	return best
}

// keysView is the page.
type keysView struct {
	List     list[key]
	Accounts []accountRow
	Account  string
	Form     *form // of the key being made or edited
	Edit     *key  // nil: a new one
	Secret   string
	Err      *form // of a small form
}

// accountRow is an account in choices.
type accountRow struct {
	ID, Name string
	Until    time.Time `json:"capturing_until"` // bodies of its requests are kept until then; zero: they are not
}

func showKeys(v *view) error { return v.keys(&keysView{}) }

// keys shows the page with what became of a form.
func (v *view) keys(d *keysView) error {
	d.Account = v.Query("account_id")
	var accounts struct{ Accounts []accountRow }
	if err := v.get(tenantsAPI, light(""), &accounts); err != nil {
		return err
	}
	d.Accounts = accounts.Accounts
	var err error
	d.List, err = listed(v, []string{"id", "name", "account", "used", "expires"}, "id", func(q url.Values) ([]key, int, error) {
		if d.Account != "" {
			q.Set("account_id", d.Account)
		}
		var out struct {
			Keys  []key
			Total int
		}
		err := v.get(keysAPI, q, &out)
		return out.Keys, out.Total, err
	})
	if err != nil {
		return err
	}
	if id := v.Query("edit"); id != "" && d.Form == nil {
		var out struct{ Keys []key }
		if err := v.get(keysAPI, url.Values{"id": {id}}, &out); err != nil {
			return err
		}
		if len(out.Keys) > 0 {
			d.Edit, d.Form = &out.Keys[0], formOfKey(&out.Keys[0], v.zone())
		}
	}
	if d.Form == nil {
		d.Form = &form{Values: url.Values{"scope": {"inference"}, "account_id": {d.Account}}}
	}
	return v.render("keys.html", d)
}

// ScopeChoices are the choices of a key's rights.
func (d *keysView) ScopeChoices() []string { return []string{"inference", "nodes", "admin"} }

// NameOfAccount is what an account is called.
func (d *keysView) NameOfAccount(id string) string {
	for _, a := range d.Accounts {
		if a.ID == id {
			return a.Name
		}
	}
	return id
}

func formOfKey(k *key, zone *time.Location) *form {
	vs := url.Values{"name": {k.Name}, "description": {k.Description}, "scope": {k.Scope()}, "models": {strings.Join(k.Models, "\n")}, "networks": {strings.Join(k.Networks, "\n")}}
	k.limits.fill(vs)
	if !k.ExpiresAt.IsZero() {
		vs.Set("expires_at", k.ExpiresAt.In(zone).Format(localTime))
	}
	return &form{Values: vs}
}

// None reports whether there is no limit at all.
func (l limits) None() bool { return l == limits{} }

// fill puts limits into the fields of a form; what is unlimited is empty.
func (l *limits) fill(vs url.Values) {
	for name, n := range map[string]float64{"requests_per_minute": float64(l.RPM), "requests_per_day": float64(l.RPD), "tokens_per_minute": float64(l.TPM), "concurrency": float64(l.Concurrency),
		"usd_per_day": l.USDDay, "usd_per_month": l.USDMonth} {
		if n > 0 {
			vs.Set(name, plainNumber(n))
		}
	}
}

// limitsOf reads limits from the fields of a form: numbers as they were written, for the API to judge. An empty field is unlimited.
func (v *view) limitsOf(in map[string]json.RawMessage) {
	for _, name := range [...]string{"requests_per_minute", "requests_per_day", "tokens_per_minute", "concurrency", "usd_per_day", "usd_per_month"} {
		s := v.text(name)
		switch {
		case s == "":
			s = "0"
		case !json.Valid([]byte(s)) || strings.ContainsAny(s, `"{[tfn`):
			b, _ := json.Marshal(s) // the API says what is wrong with it
			s = string(b)
		}
		in[name] = json.RawMessage(s)
	}
}

// lines are what stands in a text of a name a line.
func (v *view) lines(name string) []string {
	return strings.FieldsFunc(v.form.Get(name), func(r rune) bool { return r == '\n' || r == '\r' || r == ',' || r == ' ' || r == '\t' })
}

// keyInput reads the form of a key.
func (v *view) keyInput() (map[string]json.RawMessage, error) {
	in := map[string]json.RawMessage{}
	v.limitsOf(in)
	scopes := map[string][]string{"inference": {"inference"}, "nodes": {"inference", "nodes"}, "admin": {"inference", "nodes", "admin"}}[v.text("scope")]
	at, err := v.localTime("expires_at")
	if err != nil {
		return nil, err
	}
	expires := ""
	if !at.IsZero() {
		expires = at.UTC().Format(time.RFC3339)
	}
	for name, value := range map[string]any{"name": v.text("name"), "description": v.text("description"), "scopes": scopes,
		"models": v.lines("models"), "networks": v.lines("networks"), "expires_at": expires} {
		data, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		in[name] = data
	}
	if string(in["expires_at"]) == `""` && v.Query("id") == "" {
		delete(in, "expires_at")
	}
	return in, nil
}

// refused shows the page again when a form was refused: the whole form of a key, or one of the small ones.
func (d *keysView) refused(v *view, err error, whole bool) error {
	f, err := v.refused(err, map[string]string{"scopes": "scope"})
	if err != nil {
		return err
	}
	if whole {
		d.Form = f
	} else {
		d.Err = f.small()
	}
	return v.keys(d)
}

// made is the API's answer that holds a credential.
type made struct{ Key string }

func createKey(v *view) error {
	d := &keysView{}
	in, err := v.keyInput()
	if err == nil {
		var out made
		if err = v.call(http.MethodPost, keysAPI, account(v.text("account_id")), in, &out); err == nil {
			d.Secret = out.Key // in this answer alone: it is nowhere else
			return v.shown(d.Secret, v.keys(d))
		}
	}
	return d.refused(v, err, true)
}

func updateKey(v *view) error {
	id := v.Query("id")
	d := &keysView{Edit: &key{ID: id, Name: v.text("name")}}
	in, err := v.keyInput()
	if err == nil {
		err = v.unchanged(id, in)
	}
	if err == nil {
		if err = v.call(http.MethodPut, keysAPI, url.Values{"id": {id}}, in, nil); err == nil {
			return v.done(v.back("/admin/keys"), "keys.saved", v.text("name"))
		}
	}
	return d.refused(v, err, true)
}

// unchanged takes out of a form what it only repeats, and not as it was: the form knows three of the sets of rights that a key
// may have, and no seconds of its end, which may be past.
func (v *view) unchanged(id string, in map[string]json.RawMessage) error {
	var out struct{ Keys []key }
	if err := v.get(keysAPI, url.Values{"id": {id}}, &out); err != nil || len(out.Keys) == 0 {
		return err
	}
	was := formOfKey(&out.Keys[0], v.zone()).Values
	for field, name := range map[string]string{"scope": "scopes", "expires_at": "expires_at"} {
		if v.text(field) == was.Get(field) {
			delete(in, name)
		}
	}
	return nil
}

// shown is err, unless that tells that the session went with the credential that a new one took the place of: then a page shows
// the new one alone, for it is nowhere else.
func (v *view) shown(secret string, err error) error {
	var no *Refusal
	if secret == "" || !errors.As(err, &no) || no.Status != http.StatusUnauthorized {
		return err
	}
	return v.render("secret.html", secret)
}

func rotateKey(v *view) error {
	d := &keysView{}
	overlap, err := v.number("overlap")
	if err == nil {
		in := struct {
			Overlap int64 `json:"overlap"`
		}{}
		if overlap != nil {
			in.Overlap = *overlap
		}
		if in.Overlap == 0 { // the credential that clients have now ends for good
			err = v.confirmed(v.text("name"))
		}
		var out made
		if err == nil {
			err = v.call(http.MethodPost, keysAPI+"/rotate", url.Values{"id": {v.text("id")}}, in, &out)
		}
		if err == nil {
			d.Secret = out.Key
			return v.shown(d.Secret, v.keys(d))
		}
	}
	return d.refused(v, err, false)
}

func revokeKey(v *view) error {
	revoked := v.Query("do") == "revoke"
	err := v.call(http.MethodPut, keysAPI, url.Values{"id": {v.text("id")}}, map[string]bool{"revoked": revoked}, nil)
	if err != nil {
		return (&keysView{}).refused(v, err, false)
	}
	word := "keys.revoked"
	if !revoked {
		word = "keys.restored"
	}
	return v.done(v.back("/admin/keys"), word, v.text("name"))
}

func deleteKey(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.call(http.MethodDelete, keysAPI, url.Values{"id": {v.text("id")}}, nil, nil)
	}
	if err != nil {
		return (&keysView{}).refused(v, err, false)
	}
	return v.done(v.back("/admin/keys"), "keys.deleted", v.text("name"))
}

// bulkKeys does one thing with all that are ticked.
func bulkKeys(v *view) error {
	what := v.text("what")
	do, each := func(id string) error {
		return v.call(http.MethodPut, keysAPI, url.Values{"id": {id}}, map[string]bool{"revoked": what != "restore"}, nil)
	}, v.each
	switch what {
	case "delete":
		do, each = func(id string) error { return v.call(http.MethodDelete, keysAPI, url.Values{"id": {id}}, nil, nil) }, v.eachDeleted
	case "restore", "revoke":
	default:
		each = v.nothing
	}
	n, err := each(do)
	if err != nil {
		return (&keysView{}).refused(v, err, false)
	}
	return v.done(v.back("/admin/keys"), "keys.bulk."+what, grouped(int64(n)))
}
