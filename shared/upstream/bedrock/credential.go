package bedrock

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"sluice/shared/core"
)

const (
	maxCredential = 32 << 10
	usualSession  = "sluice" // of an assumed role, as CloudTrail shows it
)

// Credential is what a node of this kind has, one of: an API key; access keys; a profile of the machine; the machine's own
// identity (DefaultChain). A role may be assumed from any but the key; where it names nothing to assume it from, that is the
// machine's own identity. It prints, logs and encodes as "[redacted]": Secret is its form to keep.
type Credential struct {
	APIKey string // a Bedrock API key, or one of Claude Platform on AWS

	AccessKeyID, SecretAccessKey string
	SessionToken                 string // of temporary access keys

	Profile      string // of the shared config files; not in a Lambda function
	DefaultChain bool

	RoleARN     string
	ExternalID  string // that the role's trust policy asks for; empty: none
	SessionName string // empty: "sluice"

	WorkspaceID string // sent as anthropic-workspace-id, which Claude Platform on AWS demands; empty: the client's passes
}

// wire is a credential's JSON. The second spelling is that of AWS's own tools.
type wire struct {
	APIKey           string `json:"api_key,omitempty"`
	AccessKeyID      string `json:"access_key_id,omitempty"`
	SecretAccessKey  string `json:"secret_access_key,omitempty"`
	SessionToken     string `json:"session_token,omitempty"`
	Profile          string `json:"profile,omitempty"`
	DefaultChain     bool   `json:"default_chain,omitempty"`
	RoleARN          string `json:"role_arn,omitempty"`
	ExternalID       string `json:"external_id,omitempty"`
	SessionName      string `json:"role_session_name,omitempty"`
	WorkspaceID      string `json:"workspace_id,omitempty"`
	AccessKeyID2     string `json:"AccessKeyId,omitempty"`
	SecretAccessKey2 string `json:"SecretAccessKey,omitempty"`
	SessionToken2    string `json:"SessionToken,omitempty"`
}

var errNotCredential = errors.New("the credential is neither a Bedrock API key nor JSON with api_key, access_key_id and secret_access_key, profile, role_arn or default_chain")

// ParseCredential reads a node's credential: the JSON that Secret makes, the same with AWS's names (AccessKeyId,
// SecretAccessKey, SessionToken), or a bare API key. The error names what is wrong and never repeats a value.
func ParseCredential(s core.Secret) (Credential, error) {
	raw := strings.TrimSpace(s.Reveal())
	if len(raw) > maxCredential {
		return Credential{}, errors.New("the credential is too long; enter an API key or JSON")
	}
	if raw == "" {
		return Credential{}, errors.New("the credential is missing; enter an API key or JSON")
	}
	c := Credential{APIKey: raw}
	if strings.HasPrefix(raw, "{") {
		var w wire
		if json.Unmarshal([]byte(raw), &w) != nil {
			return Credential{}, errNotCredential
		}
		c = Credential{APIKey: w.APIKey, AccessKeyID: either(w.AccessKeyID, w.AccessKeyID2), SecretAccessKey: either(w.SecretAccessKey, w.SecretAccessKey2),
			SessionToken: either(w.SessionToken, w.SessionToken2), Profile: w.Profile, DefaultChain: w.DefaultChain, RoleARN: w.RoleARN,
			ExternalID: w.ExternalID, SessionName: w.SessionName, WorkspaceID: w.WorkspaceID}
	}
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

// check reports the first thing that is wrong.
func (c Credential) check() error {
	sources := 0
	for _, has := range [...]bool{c.APIKey != "", c.AccessKeyID != "" || c.SecretAccessKey != "" || c.SessionToken != "", c.Profile != "", c.DefaultChain} {
		if has {
			sources++
		}
	}
	switch {
	case sources == 0 && c.RoleARN == "":
		return errNotCredential
	case sources > 1:
		return errors.New("the credential has more than one of API key, access keys, profile and default_chain; enter one of them")
	case c.APIKey != "" && c.RoleARN != "":
		return errors.New("no role can be assumed with an API key; enter access keys with role_arn")
	case c.WorkspaceID != "" && !made(c.WorkspaceID, "-_", 1, 128):
		return errors.New("workspace_id is not one; it begins with wrkspc_")
	}
	if err := c.checkKeys(); err != nil {
		return err
	}
	return c.checkRole()
}

func (c Credential) checkKeys() error {
	switch {
	case c.APIKey != "":
		if len(c.APIKey) == 20 && (strings.HasPrefix(c.APIKey, "AKIA") || strings.HasPrefix(c.APIKey, "ASIA")) {
			return errors.New("this is an access key id; enter JSON with access_key_id and secret_access_key")
		}
		if !headerSafe(c.APIKey) {
			return errors.New("the API key is not usable: it has spaces or other characters that a key has not")
		}
	case c.AccessKeyID != "" || c.SecretAccessKey != "" || c.SessionToken != "":
		if c.AccessKeyID == "" {
			return errors.New("access_key_id is missing from the credential")
		}
		if c.SecretAccessKey == "" {
			return errors.New("secret_access_key is missing from the credential")
		}
		if !made(c.AccessKeyID, "_", 16, 128) || !headerSafe(c.SecretAccessKey) || c.SessionToken != "" && !headerSafe(c.SessionToken) {
			return errors.New("the access keys are not usable: they have characters or a length that such keys have not")
		}
		if strings.HasPrefix(c.AccessKeyID, "ASIA") && c.SessionToken == "" {
			return errors.New("session_token is missing: access keys that begin with ASIA are temporary and need theirs")
		}
	case c.Profile != "" && (len(c.Profile) > 128 || !plain(c.Profile)):
		return errors.New("profile is not the name of one")
	}
	return nil
}

func (c Credential) checkRole() error {
	if c.RoleARN == "" {
		if c.ExternalID != "" || c.SessionName != "" {
			return errors.New("role_arn is missing: external_id and role_session_name belong to a role")
		}
		return nil
	}
	if !isRoleARN(c.RoleARN) {
		return errors.New("role_arn is not the ARN of a role, such as arn:aws:iam::123456789012:role/name")
	}
	// the bounds are those of the API: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
	if c.ExternalID != "" && !made(c.ExternalID, "_+=,.@:/-", 2, 1224) {
		return errors.New("external_id is not one: it has 2 to 1,224 letters, digits and _+=,.@:/-")
	}
	if c.SessionName != "" && !made(c.SessionName, "_+=,.@-", 2, 64) {
		return errors.New("role_session_name is not one: it has 2 to 64 letters, digits and _+=,.@-")
	}
	return nil
}

// isRoleARN reports whether s is arn:aws*:iam::<12 digits>:role/<path and name>.
func isRoleARN(s string) bool {
	f := strings.SplitN(s, ":", 6)
	if len(s) > 2048 || len(f) != 6 || f[0] != "arn" || f[2] != "iam" || f[3] != "" {
		return false
	}
	name, ok := strings.CutPrefix(f[5], "role/")
	return ok && isPartition(f[1]) && len(f[4]) == 12 && within(f[4], '0', '9') && made(name, "_+=,.@/-", 1, 1024)
}

// isPartition reports whether s is aws, aws-us-gov or the like.
func isPartition(s string) bool {
	return strings.HasPrefix(s, "aws") && len(s) <= 16 && within(strings.ReplaceAll(s, "-", ""), 'a', 'z')
}

// made reports whether s consists of letters, digits and the others, and is from lo to hi long.
func made(s, others string, lo, hi int) bool {
	if len(s) < lo || len(s) > hi {
		return false
	}
	for i := range len(s) {
		if c := s[i]; ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}

// headerSafe reports whether s may be sent as a header's value: printable ASCII without spaces, of a sane length.
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

// Ambient reports whether the credential borrows the identity of the machine that the gateway runs on: its default chain, a
// profile of its files, or a role assumed from one of them. Whoever may enter such a credential uses what the operator may
// use, so it is for administrators only. API keys and access keys, and roles assumed with access keys, are the tenant's own.
func (c Credential) Ambient() bool { return c.APIKey == "" && c.AccessKeyID == "" }

// Secret is the credential as a node keeps it.
func (c Credential) Secret() core.Secret {
	b, _ := json.Marshal(wire{APIKey: c.APIKey, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Profile: c.Profile, DefaultChain: c.DefaultChain, RoleARN: c.RoleARN, ExternalID: c.ExternalID, SessionName: c.SessionName,
		WorkspaceID: c.WorkspaceID}) // strings always encode
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
