package awsref_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/shared/boot/awsref"
)

const (
	secretARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/sluice-AbCdEf"
	paramARN  = "arn:aws:ssm:eu-central-1:123456789012:parameter/sluice/admin"
)

func TestIs(t *testing.T) {
	for _, c := range []struct {
		value string
		want  bool
		why   string
	}{
		{secretARN, true, "a secret"},
		{secretARN + ":key::", true, "a member of a secret, as ECS writes it"},
		{secretARN + ":key:AWSPREVIOUS:id", true, "with stage and version"},
		{paramARN, true, "a parameter"},
		{"arn:aws-cn:ssm:cn-north-1:1:parameter/x", true, "another partition"},
		{secretARN + ":a:b:c:d", false, "too many parts"},
		{"arn:aws:codewhisperer:us-east-1:123456789012:profile/ABC", false, "AMAZONQ_PROFILE_ARN itself"},
		{"arn:aws:ssm:eu-central-1:123456789012:document/x", false, "no parameter"},
		{"arn:aws:secretsmanager::1:secret:x", false, "no region"},
		{"arn:aws:secretsmanager:eu-west-1:1:secret:", false, "no name"},
		{"arn:", false, "too short"}, {"", false, "nothing"}, {"a-key-of-mine", false, "a plain value"},
	} {
		if got := new(awsref.Reader).Is(c.value); got != c.want {
			t.Errorf("%s: %q: %v", c.why, c.value, got)
		}
	}
}

// service is a fake of both services.
type service struct {
	calls  atomic.Int64
	status int
	answer string
	seen   struct{ target, auth, body string }
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	b, _ := io.ReadAll(r.Body)
	s.seen.target, s.seen.auth, s.seen.body = r.Header.Get("X-Amz-Target"), r.Header.Get("Authorization"), string(b)
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.answer)
}

func start(t *testing.T, status int, answer string) *service {
	t.Helper()
	s := &service{status: status, answer: answer}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_SSM": srv.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER": srv.URL, "AWS_ACCESS_KEY_ID": "AKID",
		"AWS_SECRET_ACCESS_KEY": "hidden", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(name, value)
	}
	return s
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ why, ref, answer, want, target, scope, id string }{
		{"a secret", secretARN, `{"Name":"x","SecretString":"v\n"}`, "v", "secretsmanager.GetSecretValue", "/eu-west-1/secretsmanager/aws4_request", secretARN},
		{"a member", secretARN + ":key::", `{"SecretString":"{\"key\":\"v\",\"n\":1}"}`, "v", "secretsmanager.GetSecretValue", "/eu-west-1/secretsmanager/", secretARN},
		{"bytes", secretARN, `{"SecretBinary":"dg=="}`, "v", "secretsmanager.GetSecretValue", "/eu-west-1/secretsmanager/", secretARN},
		{"a parameter", paramARN, `{"Parameter":{"Name":"x","Value":"v"}}`, "v", "AmazonSSM.GetParameter", "/eu-central-1/ssm/aws4_request", paramARN},
	} {
		s := start(t, 200, c.answer)
		got, err := new(awsref.Reader).Read(t.Context(), c.ref)
		if err != nil || got.Reveal() != c.want || s.seen.target != c.target || !strings.Contains(s.seen.auth, c.scope) || !strings.Contains(s.seen.body, `"`+c.id+`"`) {
			t.Errorf("%s: %q %v, called with %+v", c.why, got.Reveal(), err, s.seen)
		}
	}
	s := start(t, 200, `{"SecretString":"v"}`)
	if _, err := new(awsref.Reader).Read(t.Context(), secretARN+"::AWSPREVIOUS:id1"); err != nil || !strings.Contains(s.seen.body, `"VersionStage":"AWSPREVIOUS","VersionId":"id1"`) {
		t.Errorf("%v %s", err, s.seen.body)
	}
}

// TestReadFails: one line that names the reference and what to do, and shows nothing of the value.
func TestReadFails(t *testing.T) {
	for _, c := range []struct {
		why, ref string
		status   int
		answer   string
		says     string
		calls    int64
	}{
		{"not allowed", secretARN, 400, `{"__type":"AccessDeniedException","Message":"User is not authorized"}`, "allow the function secretsmanager:GetSecretValue", 1},
		{"not allowed", paramARN, 400, `{"__type":"com.amazonaws.ssm#AccessDeniedException"}`, "allow the function ssm:GetParameter", 1},
		{"not there", secretARN, 400, `{"__type":"ResourceNotFoundException","message":"x"}`, "does not exist", 1},
		{"not there", paramARN, 400, `{"__type":"ParameterNotFound"}`, "does not exist", 1},
		{"busy", paramARN, 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`, "ThrottlingException: Rate exceeded", 3},
		{"broken", paramARN, 500, `<html>`, "status 500", 3},
		{"no such member", secretARN + ":key::", 200, `{"SecretString":"{\"other\":\"hidden-value\"}"}`, `no text member "key"`, 1},
		{"no object", secretARN + ":key::", 200, `{"SecretString":"hidden-value"}`, "no JSON object", 1},
		{"empty", secretARN, 200, `{"SecretString":" "}`, "is empty", 1},
		{"nonsense", secretARN, 200, `{"SecretString":7}`, "could not be read", 1},
		{"nothing", secretARN, 200, `{}`, "is empty", 1},
	} {
		s := start(t, c.status, c.answer)
		got, err := new(awsref.Reader).Read(t.Context(), c.ref)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "\n") || s.calls.Load() != c.calls {
			t.Errorf("%s: %q %v, %d calls", c.why, got.Reveal(), err, s.calls.Load())
		}
	}
	start(t, 200, "")
	t.Setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1")
	if _, err := new(awsref.Reader).Read(t.Context(), paramARN); err == nil || !strings.Contains(err.Error(), "can the function reach ssm") {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := new(awsref.Reader).Read(t.Context(), "x"); err == nil {
		t.Error("no ARN was read")
	}
}

func FuzzIs(f *testing.F) {
	f.Add(secretARN + ":key::")
	f.Add(paramARN)
	f.Fuzz(func(t *testing.T, ref string) {
		if new(awsref.Reader).Is(ref) && !strings.HasPrefix(ref, "arn:") {
			t.Error(ref)
		}
	})
}
