package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"sluice/shared/config"
	"sluice/shared/core"
)

// Bounds of ParseAccounts.
const (
	MaxAccountsText = 1 << 20 // bytes
	MaxAccounts     = 1000
	maxSkipped      = 1000 // the rest is counted
	maxSecret       = 8 << 10
)

// PoolAccount is an account of Amazon Q Developer or Kiro that a text names: a login (RefreshToken with the ClientID and
// ClientSecret it belongs to) or an APIKey.
type PoolAccount struct {
	Where        string      // in the text, "line 7" or "item 3"
	Name         string      // one line of at most 100 bytes; empty: the text gives none
	RefreshToken core.Secret // with ClientID and ClientSecret, or zero
	ClientID     string
	ClientSecret core.Secret
	APIKey       core.Secret // ksk_...; zero for a login
	Region       string      // of the token service; empty: not given
	StartURL     string      // of the identity provider; empty: not given
	Profile      string      // ARN; empty: not given, or not an ARN
	API          string      // core.Node's: kiro for API keys, else empty
	RPM          int64       // requests a minute; 0: not given
	Notes        string
	Disabled     bool
}

// Credential is the text that a node of the account has as its credential: the JSON {"refresh_token", "client_id",
// "client_secret", "region", "start_url"} without what is not given, or the bare API key.
func (a *PoolAccount) Credential() core.Secret {
	if !a.APIKey.IsZero() {
		return a.APIKey
	}
	data, err := json.Marshal(struct {
		RefreshToken string `json:"refresh_token"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Region       string `json:"region,omitempty"`
		StartURL     string `json:"start_url,omitempty"`
	}{a.RefreshToken.Reveal(), a.ClientID, a.ClientSecret.Reveal(), a.Region, a.StartURL})
	if err != nil { // strings always can be encoded
		return core.Secret{}
	}
	return core.NewSecret(string(data))
}

// Identity tells accounts apart: the refresh token or the API key. What is remembered of it should be a hash.
func (a *PoolAccount) Identity() core.Secret {
	if !a.APIKey.IsZero() {
		return a.APIKey
	}
	return a.RefreshToken
}

// Errors of ParseAccounts.
var (
	ErrTooLarge   = errors.New("the text is larger than 1 MiB; give it in parts")
	ErrTooMany    = fmt.Errorf("the text names more than %d accounts; give it in parts", MaxAccounts)
	ErrNoAccounts = errors.New("the text names no account: give AWS SSO JSON (clientId, clientSecret, refreshToken), lines " +
		"label|clientId|clientSecret|refreshToken, an .env with AMAZONQ_REFRESH_TOKEN, or Kiro API keys (ksk_...) one a line")
)

// ParseAccounts reads accounts from what people have them in. The form is found by itself:
//
//   - AWS SSO JSON: one object, several, or arrays of them; clientId, clientSecret, refreshToken, region, startUrl,
//     profileArn, name or label, notes, in camelCase or snake_case, and apiKey instead of the first three
//   - lines email|password|clientId|clientSecret|refreshToken|accessToken, of which the password is dropped;
//     label|clientId|clientSecret|refreshToken|accessToken|project|api_endpoint; either with the type before it
//   - an .env: AMAZONQ_REFRESH_TOKEN, AMAZONQ_CLIENT_ID, AMAZONQ_CLIENT_SECRET, AMAZONQ_PROFILE_ARN, and the same as
//     AMAZONQ_ACCOUNT_n_*; other variables are left alone
//   - Kiro API keys, one a line, with or without label| before it
//
// The three line forms may be mixed; blank lines and those that begin with # mean nothing. What is not taken is told
// with its place and why, and never shows a value; of more than 1,000 of those the last entry counts the rest. An account
// that comes twice is taken once. The error (ErrTooLarge, ErrTooMany, ErrNoAccounts, or one about the JSON) tells that
// nothing is taken. The result does not depend on anything but the text.
func ParseAccounts(text []byte) ([]PoolAccount, []Skipped, error) {
	if len(text) > MaxAccountsText {
		return nil, nil, ErrTooLarge
	}
	s := strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff"))
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return nil, nil, errors.New("the text is not UTF-8; save it as UTF-8")
	}
	p := &parser{seen: make(map[string]string)}
	var err error
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		err = p.json(s)
	} else {
		p.lines(s)
	}
	switch {
	case err == nil && len(p.accounts) > MaxAccounts:
		err = ErrTooMany
	case err == nil && len(p.accounts) == 0 && len(p.skipped) == 0:
		err = ErrNoAccounts
	}
	if err != nil {
		return nil, nil, err
	}
	if p.more > 0 {
		p.skipped = append(p.skipped, Skipped{fmt.Sprintf("%d more", p.more), "for reasons like these"})
	}
	return p.accounts, p.skipped, nil
}

// parser collects.
type parser struct {
	accounts []PoolAccount
	skipped  []Skipped
	more     int               // skips beyond maxSkipped
	seen     map[string]string // identity -> where
}

func (p *parser) skip(what, why string) {
	if len(p.skipped) >= maxSkipped {
		p.more++
		return
	}
	p.skipped = append(p.skipped, Skipped{what, why})
}

// full tells that there is no use in reading on.
func (p *parser) full() bool { return len(p.accounts) > MaxAccounts }

// given is an account as a text has it, before anything is checked.
type given struct {
	where, name, refresh, client, secret, key string
	region, start, profile, notes, kind       string
	rpm                                       int64
	disabled                                  bool
}

// take adds an account, or tells why not.
func (p *parser) take(g *given) {
	if why := g.unusable(); why != "" {
		p.skip(g.where, why)
		return
	}
	a := PoolAccount{Where: g.where, RefreshToken: core.NewSecret(g.refresh), ClientID: g.client, ClientSecret: core.NewSecret(g.secret),
		StartURL: g.start, RPM: min(max(g.rpm, 0), 1_000_000), Disabled: g.disabled}
	if g.key != "" {
		a = PoolAccount{Where: g.where, APIKey: core.NewSecret(g.key), API: "kiro", RPM: a.RPM, Disabled: g.disabled}
	}
	id := a.Identity().Reveal()
	if first := p.seen[id]; first != "" {
		p.skip(g.where, "it is the same account as "+first)
		return
	}
	p.seen[id] = g.where
	a.Name, a.Notes = oneLine(g.name, 100), oneLine(g.notes, 1000)
	a.Region, a.Profile = p.place(g)
	a.StartURL, _, _ = strings.Cut(a.StartURL, "#") // browsers show "#/" behind it
	if s := a.StartURL; s != "" && (config.CheckURL(s) != nil || len(s) > 500 || !strings.HasPrefix(s, "https://")) {
		p.skip("start URL of "+g.where, "it is no https URL")
		a.StartURL = ""
	}
	p.accounts = append(p.accounts, a)
}

// place is where the account is. The older system kept a region in the place of the profile.
func (p *parser) place(g *given) (region, profile string) {
	switch {
	case g.region == "" || isRegion(g.region):
		region = g.region
	default:
		p.skip("region of "+g.where, "it is no name of a region, such as us-east-1")
	}
	switch {
	case g.profile == "":
	case isProfile(g.profile):
		profile = g.profile
	case isRegion(g.profile):
		if region == "" {
			region = g.profile
		}
	default:
		p.skip("profile of "+g.where, "it is no ARN such as arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL; the service chooses the profile")
	}
	return region, profile
}

var regionName = regexp.MustCompile(`^[a-z]{2,3}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)

// isRegion reports whether s has the form of a region's name.
func isRegion(s string) bool { return len(s) <= 32 && regionName.MatchString(s) }

// profileARN is a profile's name. Its region becomes part of a host's name. This and kiroKey take milliseconds to compile,
// which starts that import nothing do not spend.
var profileARN = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^arn:aws[a-z-]{0,10}:[a-z-]{1,30}:([a-z0-9-]{1,32}):[0-9]{12}:[A-Za-z0-9/_.-]{1,800}$`)
})

func isProfile(s string) bool {
	m := profileARN().FindStringSubmatch(s)
	return m != nil && isRegion(m[1])
}

var kiroKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^ksk_[A-Za-z0-9_.\-]{8,1000}$`) })

// geminiSigns are the marks of the other kind of account that a pool of the fork may hold.
func (g *given) gemini() bool {
	return strings.EqualFold(g.kind, "gemini") || strings.HasPrefix(g.refresh, "1//") || strings.HasPrefix(g.secret, "GOCSPX-") ||
		strings.HasSuffix(g.client, ".apps.googleusercontent.com")
}

// unusable tells why an account cannot be taken; "" when it can.
func (g *given) unusable() string {
	if g.gemini() {
		return "it is a Gemini account; this gateway has no Gemini channel"
	}
	if g.kind != "" && !strings.EqualFold(g.kind, "amazonq") && !strings.EqualFold(g.kind, "kiro") {
		return "its type is neither amazonq nor kiro"
	}
	if g.key != "" {
		if !kiroKey().MatchString(g.key) {
			return "its API key does not have the form ksk_..."
		}
		return ""
	}
	var missing []string
	for _, f := range []struct{ name, value string }{{"refreshToken", g.refresh}, {"clientId", g.client}, {"clientSecret", g.secret}} {
		switch {
		case f.value == "":
			missing = append(missing, f.name)
		case len(f.value) > maxSecret || !visible(f.value):
			return "its " + f.name + " is longer than 8 KiB or holds blanks or letters outside ASCII"
		}
	}
	if len(missing) > 0 {
		return "it has no " + strings.Join(missing, " and no ")
	}
	return ""
}

func visible(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// oneLine makes a text of the operator's own fit to be kept.
func oneLine(s string, most int) string {
	return strings.TrimSpace(clip(plainRunes(s), most))
}
