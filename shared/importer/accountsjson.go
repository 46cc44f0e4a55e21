package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ssoJSON is an account as AWS's tools, the older systems and this gateway's own API write it.
type ssoJSON struct {
	ClientID      text `json:"clientId"`
	ClientID2     text `json:"client_id"`
	ClientSecret  text `json:"clientSecret"`
	ClientSecret2 text `json:"client_secret"`
	RefreshToken  text `json:"refreshToken"`
	RefreshToken2 text `json:"refresh_token"`
	APIKey        text `json:"apiKey"`
	APIKey2       text `json:"api_key"`
	Region        text `json:"region"`
	StartURL      text `json:"startUrl"`
	StartURL2     text `json:"start_url"`
	Profile       text `json:"profileArn"`
	Profile2      text `json:"profile_arn"`
	Name          text `json:"name"`
	Label         text `json:"label"`
	Notes         text `json:"notes"`
	Type          text `json:"type"`
	RPM           text `json:"requestsPerMinute"`
	RPM2          text `json:"requests_per_minute"`
	Enabled       text `json:"enabled"`
	Active        text `json:"is_active"`
	AuthMethod    text `json:"authMethod"`
}

// text takes a string, a number or a truth; anything else is remembered as being none.
type text struct {
	s   string
	bad bool
}

// UnmarshalJSON implements json.Unmarshaler. It never fails: one odd field must not lose the others.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = text{}
	switch {
	case len(b) == 0 || string(b) == "null":
	case b[0] == '"':
		if err := json.Unmarshal(b, &t.s); err != nil {
			t.bad = true
		}
		t.s = strings.TrimSpace(t.s)
	case b[0] == '{' || b[0] == '[':
		t.bad = true
	default:
		t.s = string(b)
	}
	return nil
}

func either(a, b text) text {
	if a.s == "" && !a.bad {
		return b
	}
	return a
}

// json reads objects and arrays of objects, one after the other.
func (p *parser) json(s string) error {
	d := json.NewDecoder(strings.NewReader(s))
	n := 0
	for !p.full() {
		if !d.More() {
			break
		}
		if !strings.HasPrefix(strings.TrimLeft(s[d.InputOffset():], " \t\r\n"), "[") {
			if err := p.item(d, &n); err != nil {
				return err
			}
			continue
		}
		if _, err := d.Token(); err != nil {
			return badJSON(d)
		}
		for d.More() && !p.full() {
			if err := p.item(d, &n); err != nil {
				return err
			}
		}
		if p.full() {
			return nil
		}
		if _, err := d.Token(); err != nil {
			return badJSON(d)
		}
	}
	if p.full() {
		return nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badJSON(d)
	}
	return nil
}

// badJSON names the place only: the decoder's own words quote the text.
func badJSON(d *json.Decoder) error {
	return fmt.Errorf("the text is no JSON after byte %d; repair it there", d.InputOffset())
}

func (p *parser) item(d *json.Decoder, n *int) error {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return badJSON(d)
	}
	*n++
	where := "item " + strconv.Itoa(*n)
	var j ssoJSON
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &j) != nil {
		p.skip(where, "it is no object with clientId, clientSecret and refreshToken")
		return nil
	}
	p.object(where, &j)
	return nil
}

func (p *parser) object(where string, j *ssoJSON) {
	for _, f := range []struct {
		name  string
		value text
	}{{"clientId", either(j.ClientID, j.ClientID2)}, {"clientSecret", either(j.ClientSecret, j.ClientSecret2)},
		{"refreshToken", either(j.RefreshToken, j.RefreshToken2)}, {"apiKey", either(j.APIKey, j.APIKey2)}} {
		if f.value.bad {
			p.skip(where, "its "+f.name+" is no text")
			return
		}
	}
	g := given{where: where, client: either(j.ClientID, j.ClientID2).s, secret: either(j.ClientSecret, j.ClientSecret2).s,
		refresh: either(j.RefreshToken, j.RefreshToken2).s, key: either(j.APIKey, j.APIKey2).s, region: j.Region.s,
		start: either(j.StartURL, j.StartURL2).s, profile: either(j.Profile, j.Profile2).s, name: either(j.Name, j.Label).s,
		notes: j.Notes.s, kind: j.Type.s, disabled: off(j.Enabled.s) || off(j.Active.s)}
	if strings.EqualFold(j.AuthMethod.s, "social") {
		p.skip(where, "it is a login with Google or GitHub, which this gateway cannot renew; use a Kiro API key, or: sluice login amazonq")
		return
	}
	if g.key != "" && g.refresh != "" { // a login is what the older systems had
		g.key = ""
	}
	rpm := either(j.RPM, j.RPM2).s
	if n, err := strconv.ParseInt(rpm, 10, 64); err == nil {
		g.rpm = n
	} else if rpm != "" {
		p.skip("requests per minute of "+where, "they are no whole number")
	}
	p.take(&g)
}

func off(s string) bool {
	switch strings.ToLower(s) {
	case "0", "false", "no", "off", "f":
		return true
	}
	return false
}
