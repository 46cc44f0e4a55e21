package bedrock_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

func TestParseCredential(t *testing.T) {
	for _, c := range []struct {
		why, raw string
		ambient  bool
		err      string // part of; empty: none
	}{
		{"bare API key", apiKey, false, ""},
		{"with spaces around", "  " + apiKey + "\n", false, ""},
		{"API key in JSON", `{"api_key":"` + apiKey + `","workspace_id":"wrkspc_1"}`, false, ""},
		{"access keys", keysJSON, false, ""},
		{"as AWS's tools print them", `{"AccessKeyId":"` + keyID + `","SecretAccessKey":"s","SessionToken":"t","Expiration":"x","Version":1}`, false, ""},
		{"profile", `{"profile":"dev team"}`, true, ""},
		{"default chain", `{"default_chain":true}`, true, ""},
		{"role on access keys", roleJSON, false, ""},
		{"role on the machine's identity", `{"role_arn":"` + roleARN + `"}`, true, ""},
		{"role on the default chain, said so", `{"role_arn":"` + roleARN + `","default_chain":true}`, true, ""},
		{"role on a profile", `{"role_arn":"arn:aws-us-gov:iam::123456789012:role/x","profile":"p","role_session_name":"a.b"}`, true, ""},
		{"nothing", "", false, "missing"},
		{"empty JSON", "{}", false, "neither"},
		{"chain switched off", `{"default_chain":false}`, false, "neither"},
		{"broken JSON", `{"api_key":`, false, "neither"},
		{"a key with a line", "abc\r\nX-Evil: 1", false, "spaces"},
		{"an access key id for a key", keyID, false, "access key id"},
		{"half of the keys", `{"access_key_id":"` + keyID + `"}`, false, "secret_access_key is missing"},
		{"the other half", `{"secret_access_key":"x"}`, false, "access_key_id is missing"},
		{"temporary without token", `{"access_key_id":"ASIAIOSFODNN7EXAMPLE","secret_access_key":"x"}`, false, "session_token is missing"},
		{"key id that would break the header", `{"access_key_id":"AKIA/../x, Signature=1","secret_access_key":"x"}`, false, "not usable"},
		{"two at once", `{"api_key":"k","profile":"p"}`, false, "more than one"},
		{"keys and chain", strings.Replace(keysJSON, "{", `{"default_chain":true,`, 1), false, "more than one"},
		{"role with an API key", `{"api_key":"k","role_arn":"` + roleARN + `"}`, false, "no role"},
		{"external id without role", strings.Replace(keysJSON, "{", `{"external_id":"xx",`, 1), false, "role_arn is missing"},
		{"role that is a user", `{"role_arn":"arn:aws:iam::123456789012:user/x"}`, false, "role_arn"},
		{"role of no account", `{"role_arn":"arn:aws:iam::12345:role/x"}`, false, "role_arn"},
		{"role of another service", `{"role_arn":"arn:aws:s3::123456789012:role/x"}`, false, "role_arn"},
		{"external id with spaces", `{"role_arn":"` + roleARN + `","external_id":"a b"}`, false, "external_id"},
		{"session name", `{"role_arn":"` + roleARN + `","role_session_name":"a/b"}`, false, "role_session_name"},
		{"profile with a line", `{"profile":"a\nb"}`, false, "profile"},
		{"workspace", `{"api_key":"k","workspace_id":"a b"}`, false, "workspace_id"},
		{"too long", strings.Repeat("a", 40<<10), false, "too long"},
	} {
		got, err := bedrock.ParseCredential(core.NewSecret(c.raw))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want an error with %q", c.why, err, c.err)
			}
			continue
		}
		if err != nil || got.Ambient() != c.ambient {
			t.Errorf("%s: got %v, ambient %v", c.why, err, got.Ambient())
			continue
		}
		if again, err := bedrock.ParseCredential(got.Secret()); err != nil || again != got {
			t.Errorf("%s: does not come back from its own secret: %v", c.why, err)
		}
	}
}

func FuzzParseCredential(f *testing.F) {
	for _, s := range []string{apiKey, keysJSON, roleJSON, `{"profile":"p"}`, `{`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := bedrock.ParseCredential(core.NewSecret(raw))
		if err != nil {
			return
		}
		if again, err := bedrock.ParseCredential(c.Secret()); err != nil || again != c {
			t.Errorf("%q does not come back: %v", raw, err)
		}
	})
}

func TestCredential_NeverPrinted(t *testing.T) {
	c, err := bedrock.ParseCredential(core.NewSecret(`{"access_key_id":"` + keyID + `","secret_access_key":"` + keySecret + `","session_token":"TOKENTOKEN","role_arn":"` + roleARN + `","external_id":"tenant-7"}`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		_, _ = fmt.Fprintf(&out, verb+verb+"\n", c, &c)
		_, _ = fmt.Fprintf(&out, verb+"\n", []any{c, struct{ C bedrock.Credential }{c}})
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "c", c, "p", &c, "s", struct{ C bedrock.Credential }{c})
	}
	b, _ := json.Marshal(map[string]any{"c": c, "p": &c, "s": c.Secret()})
	out.Write(b)
	for _, secret := range []string{keyID, keySecret, "TOKENTOKEN", roleARN, "tenant-7", fmt.Sprintf("%x", keySecret)} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is printed:\n%s", secret, out.String())
		}
	}
	// errors of sending repeat none of it either
	cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: &capture{}, Operator: &capture{}}})
	if f := failing(t, cl, target(`{"secret_access_key":"`+keySecret+`"}`, core.Node{Region: "eu-west-1"}), request("{}")); f.Class != upstream.Credential || strings.Contains(f.Reason, keySecret) {
		t.Errorf("got %+v", f)
	}
}

// TestMachine: the machine's own identity, and one of its profiles where there are any.
func TestMachine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[dev]\naws_access_key_id = AKIAPROFILEEXAMPLE00\naws_secret_access_key = profile/secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", file+".none")
	t.Setenv("AWS_ACCESS_KEY_ID", "ASIAMACHINEEXAMPLE00")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "machine/secret")
	t.Setenv("AWS_SESSION_TOKEN", "machine/token")
	clk := newClock()
	d := newDouble(t, "bedrock", clk)
	d.known = account{"AKIAPROFILEEXAMPLE00": {"profile/secret", ""}, "ASIAMACHINEEXAMPLE00": {"machine/secret", "machine/token"}}
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	n := core.Node{API: "invoke", Region: "eu-west-1", BaseURL: d.url}
	if status, body := send(t, cl, target(`{"default_chain":true}`, n), request("{}")); status != 200 {
		t.Errorf("default chain: status %d: %s", status, body)
	}
	if !hasProfiles {
		if f := failing(t, cl, target(`{"profile":"dev"}`, n), request("{}")); f.Class != upstream.Credential || !strings.Contains(f.Reason, "on a server only") {
			t.Errorf("profile in a function: %+v", f)
		}
		return
	}
	if status, body := send(t, cl, target(`{"profile":"dev"}`, n), request("{}")); status != 200 {
		t.Errorf("profile: status %d: %s", status, body)
	}
	if f := failing(t, cl, target(`{"profile":"other"}`, n), request("{}")); f.Class != upstream.Credential || strings.Contains(f.Reason, file) {
		t.Errorf("unknown profile: %+v", f)
	}
	// keys of the machine that a service refuses are looked for again, but not sent again when they are the same
	d.mu.Lock()
	d.known, d.got = account{}, nil
	d.mu.Unlock()
	if status, _ := send(t, cl, target(`{"default_chain":true}`, n), request("{}")); status != 403 || len(d.seen()) != 1 {
		t.Errorf("refused keys: status %d, %d requests", status, len(d.seen()))
	}
}
