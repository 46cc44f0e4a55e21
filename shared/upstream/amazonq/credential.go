package amazonq

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	keyPrefix     = "ksk_" // of Kiro's API keys
	maxCredential = 32 << 10
)

// Credential is what a node of this kind has: a login, with the client registration that it was made with, or an API key.
// It prints, logs and encodes as "[redacted]": Secret is its form to keep.
type Credential struct {
	RefreshToken string
	ClientID     string
	ClientSecret string
	APIKey       string // ksk_..., in place of all the others
	Region       string // of the token service; empty: Builder ID's, us-east-1
	StartURL     string // of the login page, to log in again; empty: Builder ID's
}

// wire is a credential's JSON. The second spelling is that of the files that AWS's own tools write.
type wire struct {
	RefreshToken  string `json:"refresh_token,omitempty"`
	ClientID      string `json:"client_id,omitempty"`
	ClientSecret  string `json:"client_secret,omitempty"`
	APIKey        string `json:"api_key,omitempty"`
	Region        string `json:"region,omitempty"`
	StartURL      string `json:"start_url,omitempty"`
	RefreshToken2 string `json:"refreshToken,omitempty"`
	ClientID2     string `json:"clientId,omitempty"`
	ClientSecret2 string `json:"clientSecret,omitempty"`
	StartURL2     string `json:"startUrl,omitempty"`
}

// ParseCredential reads a node's credential: the JSON that Secret makes, the same in AWS's spelling (refreshToken, clientId,
// clientSecret, region, startUrl), or a bare API key. The error names what is missing and never repeats a value.
func ParseCredential(s core.Secret) (Credential, error) {
	raw := strings.TrimSpace(s.Reveal())
	if len(raw) > maxCredential {
		return Credential{}, errors.New("the credential is too long; enter the login's JSON or an API key")
	}
	if strings.HasPrefix(raw, keyPrefix) {
		return checked(Credential{APIKey: raw})
	}
	var w wire
	if !strings.HasPrefix(raw, "{") || json.Unmarshal([]byte(raw), &w) != nil {
		return Credential{}, errors.New("the credential is neither JSON with refresh_token, client_id and client_secret nor an API key (ksk_...)")
	}
	return checked(Credential{
		RefreshToken: either(w.RefreshToken, w.RefreshToken2), ClientID: either(w.ClientID, w.ClientID2),
		ClientSecret: either(w.ClientSecret, w.ClientSecret2), APIKey: w.APIKey, Region: w.Region, StartURL: either(w.StartURL, w.StartURL2),
	})
}

func checked(c Credential) (Credential, error) {
	if err := c.check(); err != nil {
		return Credential{}, err
	}
	return c, nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (c Credential) check() error {
	switch {
	case c.APIKey != "" && (!strings.HasPrefix(c.APIKey, keyPrefix) || !headerSafe(c.APIKey)):
		return errors.New("the API key is not one: it begins with ksk_ and has no spaces")
	case c.APIKey != "" && (c.RefreshToken != "" || c.ClientID != "" || c.ClientSecret != ""):
		return errors.New("the credential has an API key and a login; enter one of them")
	case c.APIKey != "":
		return nil
	case c.RefreshToken == "":
		return errors.New("refresh_token is missing from the credential")
	case c.ClientID == "":
		return errors.New("client_id is missing from the credential")
	case c.ClientSecret == "":
		return errors.New("client_secret is missing from the credential")
	}
	if c.Region != "" && !upstream.ValidRegion(c.Region) {
		return errors.New("region of the credential is not the name of a region, such as us-east-1")
	}
	return nil
}

// Secret is the credential as a node keeps it.
func (c Credential) Secret() core.Secret {
	b, _ := json.Marshal(wire{RefreshToken: c.RefreshToken, ClientID: c.ClientID, ClientSecret: c.ClientSecret, APIKey: c.APIKey,
		Region: c.Region, StartURL: c.StartURL}) // strings always encode
	return core.NewSecret(string(b))
}

// String implements fmt.Stringer without the values.
func (c Credential) String() string { return "[redacted]" }

// GoString covers %#v.
func (c Credential) GoString() string { return c.String() }

// Format covers every other verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// LogValue implements slog.LogValuer without the values.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON encodes the redacted form: use Secret to keep a credential.
func (c Credential) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// headerSafe reports whether s may be sent as a bearer token: printable ASCII without spaces, of a sane length.
func headerSafe(s string) bool {
	if s == "" || len(s) > 16<<10 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// apiKey returns the key of a credential that is one.
func apiKey(s core.Secret) (core.Secret, bool) {
	if !strings.Contains(s.Reveal(), keyPrefix) {
		return core.Secret{}, false // a login, without decoding it for every request
	}
	c, err := ParseCredential(s)
	return core.NewSecret(c.APIKey), err == nil && c.APIKey != ""
}
