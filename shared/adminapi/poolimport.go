package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/shared/core"
	"sluice/shared/importer"
	"sluice/shared/upstream/amazonq"
)

// takenView is an account that an import made a node of.
type takenView struct {
	Entry string `json:"entry"`        // where it stood
	ID    int64  `json:"id,omitempty"` // of a dry run there is none
	Name  string `json:"name"`
}

// skippedView is what an import left out.
type skippedView struct {
	Entry string `json:"entry"`
	Why   string `json:"why"`
}

// importReport is what an import did.
type importReport struct {
	DryRun  bool          `json:"dry_run,omitempty"` // nothing was stored: it tells what would be
	Taken   []takenView   `json:"taken"`
	Skipped []skippedView `json:"skipped"`
	nodes   []core.Node   // those of Taken
}

func (r *importReport) message() string {
	taken := " taken, "
	if r.DryRun {
		taken = " would be taken, "
	}
	return itoa(len(r.Taken)) + taken + itoa(len(r.Skipped)) + " skipped"
}

// identity tells credentials apart, to find an account that is here already.
func identity(cred amazonq.Credential) string {
	if cred.APIKey != "" {
		return cred.APIKey
	}
	return cred.ClientID + "\n" + cred.RefreshToken
}

// importPool makes nodes of what a text names: AWS SSO JSON, lines, an .env. What is here already is skipped, so that the
// call can be repeated. With dry_run nothing is made, and the answer tells what would be.
func (c *call) importPool() error {
	account, err := c.poolTarget()
	if err != nil {
		return err
	}
	dry, err := queryBool(c.r.URL.Query(), "dry_run")
	if err != nil {
		return err
	}
	data, err := c.body()
	if err != nil {
		return err
	}
	var in struct {
		Text *string `json:"text"`
	}
	if data = bytes.TrimSpace(data); len(data) > 0 && data[0] == '{' && json.Unmarshal(data, &in) == nil && in.Text != nil {
		data = []byte(*in.Text)
	}
	found, skipped, err := importer.ParseAccounts(data)
	if err != nil {
		return bad("text: " + err.Error())
	}
	r, err := c.takeAccounts(account, found, skipped, &poolInput{}, dry)
	if err != nil {
		return err
	}
	return c.ok(struct {
		Message string `json:"message"`
		*importReport
	}{r.message(), r})
}

// takeAccounts makes nodes of accounts; a dry run checks the same and stores nothing. What over has of requests a minute,
// profile and notes is every node's, its name that of those without one.
func (c *call) takeAccounts(account string, found []importer.PoolAccount, skipped []importer.Skipped, over *poolInput, dry bool) (*importReport, error) {
	done, err := c.alone()
	if err != nil {
		return nil, err
	}
	defer done()
	names, known, err := c.pooled(account)
	if err != nil {
		return nil, err
	}
	r := &importReport{DryRun: dry, Taken: []takenView{}, Skipped: []skippedView{}}
	makeNode := c.makePool
	if dry {
		makeNode = func(account string, in *poolInput) (core.Node, error) { return c.newPool(account, "0", in) }
	}
	for _, s := range skipped {
		r.Skipped = append(r.Skipped, skippedView{s.What, s.Why})
	}
	for i := range found {
		a := &found[i]
		id := identity(amazonq.Credential{APIKey: a.APIKey.Reveal(), ClientID: a.ClientID, RefreshToken: a.RefreshToken.Reveal()})
		if have, ok := known[id]; ok {
			r.Skipped = append(r.Skipped, skippedView{a.Where, "it is here already, as " + have})
			continue
		}
		in := inputOf(a, over)
		name := uniqueName(c.nameOf(in), names)
		in.Name = &name
		n, err := makeNode(account, in)
		if e := core.AsError(err); err != nil && e.Code == core.CodeInvalid {
			r.Skipped = append(r.Skipped, skippedView{a.Where, e.Message})
			continue
		} else if err != nil {
			return nil, err
		}
		names[n.Name], known[id] = true, n.Name
		number, _ := strconv.ParseInt(n.ID, 10, 64)
		r.Taken, r.nodes = append(r.Taken, takenView{a.Where, number, n.Name}), append(r.nodes, n)
	}
	return r, nil
}

// pooled are the names of an account's amazonq nodes, and the names by identity of their credentials.
func (c *call) pooled(account string) (names map[string]bool, known map[string]string, err error) {
	rows, err := c.a.o.Tables.Nodes.All(c.r.Context(), account)
	if err != nil {
		return nil, nil, err
	}
	names, known = make(map[string]bool), make(map[string]string)
	for i := range rows {
		n := &rows[i].Value
		if n.Kind != core.KindAmazonQ {
			continue
		}
		names[n.Name] = true
		if cred, err := c.credential(n); err == nil { // one that cannot be read is like no other
			known[identity(cred)] = n.Name
		}
	}
	return names, known, nil
}

// inputOf is what a call would say to make the node of an account.
func inputOf(a *importer.PoolAccount, over *poolInput) *poolInput {
	refresh, secret, key, active := a.RefreshToken.Reveal(), a.ClientSecret.Reveal(), a.APIKey.Reveal(), !a.Disabled
	in := &poolInput{Name: &a.Name, APIKey: &key, Notes: &a.Notes, RPM: over.RPM, IsActive: &active,
		amazonQInput: amazonQInput{RefreshToken: &refresh, ClientID: &a.ClientID, ClientSecret: &secret, TokenRegion: &a.Region, StartURL: &a.StartURL, Profile: &a.Profile}}
	if a.API != "" {
		in.API = &a.API
	}
	if over.RPM == nil && a.RPM > 0 {
		in.RPM = &a.RPM
	}
	if text(over.Profile) != "" {
		in.Profile = over.Profile
	}
	if text(over.Notes) != "" {
		in.Notes = over.Notes
	}
	if a.Name == "" {
		in.Name = over.Name
	}
	in.profileOf()
	return in
}

// nameOf is the name of an account, else one such as the older pool made.
func (c *call) nameOf(in *poolInput) string {
	if s := text(in.Name); s != "" && checkName("name", s) == nil {
		return s
	}
	return "AWS-SSO-" + c.a.o.Now().UTC().Format("20060102-150405")
}

// uniqueName adds a number to a name that is taken.
func uniqueName(base string, taken map[string]bool) string {
	name := base
	for i := 2; taken[name]; i++ {
		cut := min(len(base), 90) // names have at most 100 bytes
		for cut > 0 && cut < len(base) && !utf8.RuneStart(base[cut]) {
			cut--
		}
		name = base[:cut] + "-" + itoa(i)
	}
	return name
}

// maxParts bounds the fields of a form.
const maxParts = 20

// form reads a multipart form within the bound of a body.
func (c *call) form() (map[string]string, error) {
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxInput)
	mr, err := c.r.MultipartReader()
	if err != nil {
		return nil, bad("json_file is required: send the file as multipart/form-data")
	}
	fields := make(map[string]string)
	for {
		var data []byte
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err == nil {
			data, err = io.ReadAll(p)
		}
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			return nil, core.E(core.CodeTooLarge, "request body is larger than 1 MiB")
		case err != nil:
			return nil, bad("the form could not be read to its end")
		case len(fields) == maxParts:
			return nil, bad("the form has more than " + itoa(maxParts) + " fields")
		}
		if _, twice := fields[p.FormName()]; twice {
			return nil, bad("the form has a field twice; send one file a call, which may hold a list of accounts")
		}
		fields[p.FormName()] = string(data)
	}
}

// formInput is what the other fields of the form say of the nodes.
func formInput(fields map[string]string) (*poolInput, error) {
	name, profile, notes := strings.TrimSpace(fields["name"]), strings.TrimSpace(fields["profile_arn"]), fields["notes"]
	in := &poolInput{Name: &name, Notes: &notes, amazonQInput: amazonQInput{Profile: &profile}}
	if s := strings.TrimSpace(fields["requests_per_minute"]); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, bad("requests_per_minute: must be a whole number")
		}
		in.RPM = &n
	}
	// checked here, or each account of a list would be skipped for it
	if err := (&limitsInput{RPM: in.RPM}).apply(new(core.Limits), ""); err != nil {
		return nil, err
	}
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	if err := checkText("notes", strings.ReplaceAll(notes, "\r\n", "\n"), maxNotes); err != nil {
		return nil, err
	}
	if strings.HasPrefix(profile, "arn:") {
		return in, checkProfile(profile)
	}
	return in, nil
}

// uploadPool takes a file of AWS SSO JSON: one object, answered as the older pool did, or a list, answered as an import.
func (c *call) uploadPool() error {
	account, err := c.poolTarget()
	if err != nil {
		return err
	}
	fields, err := c.form()
	if err != nil {
		return err
	}
	file := strings.TrimSpace(strings.TrimPrefix(fields["json_file"], "\ufeff"))
	if file == "" || file[0] != '{' && file[0] != '[' {
		return bad("json_file: must be JSON, one object or a list of them, with clientId, clientSecret and refreshToken")
	}
	over, err := formInput(fields)
	if err != nil {
		return err
	}
	found, skipped, err := importer.ParseAccounts([]byte(file))
	if err != nil {
		return bad("json_file: " + err.Error())
	}
	single := file[0] == '{' && len(found) <= 1
	if single && len(found) == 0 {
		return bad("json_file: " + skipped[0].Why)
	}
	if name := *over.Name; single && name != "" {
		taken, err := c.takenNames(account, "")
		if err != nil {
			return err
		}
		if taken[name] {
			return bad("name: another account has it")
		}
		found[0].Name = name
	}
	r, err := c.takeAccounts(account, found, skipped, over, false)
	switch {
	case err != nil:
		return err
	case !single:
		return c.ok(struct {
			Success bool   `json:"success"`
			Message string `json:"message"`
			*importReport
		}{len(r.Taken) > 0, r.message(), r})
	case len(r.Taken) == 0:
		return bad("json_file: " + r.Skipped[len(r.Skipped)-1].Why)
	}
	return c.uploaded(r.nodes[0])
}

// uploadedView is a node in the answer to an upload.
type uploadedView struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	ClientID  string    `json:"client_id"`
	Profile   *string   `json:"profile_arn"`
	IsActive  bool      `json:"is_active"`
	IsHealthy bool      `json:"is_healthy"`
	CreatedAt time.Time `json:"created_at"`
}

// uploaded refreshes a new node's token at once, to tell whether the file was any good, and answers as the older pool did:
// 201 when that failed.
func (c *call) uploaded(n core.Node) error {
	cred, err := c.credential(&n)
	if err != nil {
		return err
	}
	expires, failed := c.refreshNode(n)
	s := viewPool(&n, c.state(&n), core.UsageSum{}, c.a.o.Now())
	out := map[string]any{"success": true, "message": "Account created",
		"account": uploadedView{s.ID, s.Name, cred.ClientID, s.Profile, s.IsActive, s.IsHealthy, s.CreatedAt}}
	if failed != nil {
		e := core.AsError(failed)
		out["token_refresh"] = map[string]any{"success": false, "error": e.Message}
		out["warning"] = "the account was created, but its token could not be refreshed"
		return c.created(out)
	}
	out["token_refresh"] = map[string]any{"success": true, "expires_in": int64(expires / time.Second)}
	return c.ok(out)
}
