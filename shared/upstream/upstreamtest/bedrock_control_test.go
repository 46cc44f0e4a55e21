package upstreamtest_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "sluice/shared/upstream/upstreamtest"
)

func bedrockGet(t *testing.T, url string) reply {
	t.Helper()
	r := newRequest(t, deadline(t), http.MethodGet, url, "")
	r.Header = http.Header{"Authorization": {"Bearer k"}, "Anthropic-Version": {"2023-06-01"}}
	return do(t, r)
}

func TestBedrockFoundationModels(t *testing.T) {
	k := NewBedrock(t)
	type answer struct {
		ModelSummaries []struct {
			ModelID, ModelArn, ProviderName string
			InferenceTypesSupported         []string
			ModelLifecycle                  struct{ Status string }
		}
	}
	var all, anthropic, demand answer
	decode(t, bedrockGet(t, k.ControlURL()+"/foundation-models").body, &all)
	decode(t, bedrockGet(t, k.ControlURL()+"/foundation-models?byProvider=anthropic").body, &anthropic)
	decode(t, bedrockGet(t, k.ControlURL()+"/foundation-models?byInferenceType=ON_DEMAND").body, &demand)
	if len(all.ModelSummaries) != 11 || len(anthropic.ModelSummaries) != 7 || len(demand.ModelSummaries) != 4 {
		t.Errorf("got %d, %d, %d", len(all.ModelSummaries), len(anthropic.ModelSummaries), len(demand.ModelSummaries))
	}
	m := all.ModelSummaries[0]
	if m.ModelID != "anthropic.claude-opus-5-5" || m.ModelArn != "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-5-5" || m.ProviderName != "Anthropic" || m.ModelLifecycle.Status != "ACTIVE" ||
		len(m.InferenceTypesSupported) != 1 || m.InferenceTypesSupported[0] != "INFERENCE_PROFILE" {
		t.Errorf("got %+v", m)
	}
	mustStatus(t, bedrockGet(t, k.ControlURL()+"/foundation-models?byInferenceType=ALL"), 400)
	k.QueueOperation("ListFoundationModels", Status(503, ""))
	mustStatus(t, bedrockGet(t, k.ControlURL()+"/foundation-models"), 503)
}

func TestBedrockInferenceProfiles(t *testing.T) {
	k := NewBedrock(t, WithPage(3))
	type answer struct {
		InferenceProfileSummaries []struct {
			InferenceProfileID, InferenceProfileArn, Type, Status string
			Models                                                []struct{ ModelArn string }
		}
		NextToken string
	}
	var ids []string
	token := ""
	for range 20 {
		var page answer
		decode(t, bedrockGet(t, k.ControlURL()+"/inference-profiles?maxResults=2&nextToken="+url.QueryEscape(token)).body, &page)
		if len(page.InferenceProfileSummaries) > 2 {
			t.Fatalf("got a page of %d", len(page.InferenceProfileSummaries))
		}
		for _, p := range page.InferenceProfileSummaries {
			ids = append(ids, p.InferenceProfileID)
			if p.Type != "SYSTEM_DEFINED" || len(p.Models) != 1 || !strings.HasSuffix(p.InferenceProfileArn, ":inference-profile/"+p.InferenceProfileID) {
				t.Errorf("got %+v", p)
			}
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	got := strings.Join(ids, " ")
	if len(ids) != 13 || !strings.Contains(got, "global.anthropic.claude-opus-5-5 us.anthropic.claude-opus-5-5") || strings.Contains(got, "jp.") || strings.Contains(got, "eu.") {
		t.Errorf("got %d %s", len(ids), got)
	}
	var apps answer
	decode(t, bedrockGet(t, k.ControlURL()+"/inference-profiles?type=APPLICATION").body, &apps)
	if len(apps.InferenceProfileSummaries) != 1 || apps.InferenceProfileSummaries[0].InferenceProfileArn != bAppARN {
		t.Errorf("got %+v", apps)
	}
	for _, query := range []string{"maxResults=0", "maxResults=1001", "maxResults=x", "type=ALL", "nextToken=x", "a=%zz"} {
		mustStatus(t, bedrockGet(t, k.ControlURL()+"/inference-profiles?"+query), 400)
	}
}

func TestBedrockListModels(t *testing.T) {
	k := NewBedrock(t)
	r := newRequest(t, deadline(t), http.MethodGet, k.ExternalURL()+"/v1/models", "")
	r.Header.Set("Anthropic-Workspace-Id", "w")
	for want, got := range map[string]reply{
		`{"object":"list","data":[{"id":"anthropic.claude-opus-5-5","object":"model","created":1767225600,"owned_by":"anthropic"},`: bedrockGet(t, k.MantleURL()+"/v1/models"),
		`{"data":[{"id":"anthropic.claude-opus-5-5","type":"model","display_name":"Claude Opus 5.5"`:                                bedrockGet(t, k.MantleURL()+"/anthropic/v1/models"),
		`{"data":[{"id":"claude-opus-5-5","type":"model"`:                                                                           do(t, r),
	} {
		mustStatus(t, got, 200)
		if !strings.HasPrefix(got.body, want) || strings.Count(got.body, `"id":`) != 4 {
			t.Errorf("got %s", got.body)
		}
	}
}

const bRole = "arn:aws:iam::123456789012:role/tenant-a"

func assume(t *testing.T, k *Bedrock, c BedrockCredentials, form url.Values) reply {
	t.Helper()
	body := form.Encode()
	r := newRequest(t, deadline(t), http.MethodPost, k.STSURL()+"/", body)
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	bedrockSign(t, r, body, "sts", "us-east-1", c, time.Now())
	return do(t, r)
}

func assumeForm(more ...string) url.Values {
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {bRole}, "RoleSessionName": {"gateway"}, "ExternalId": {"ext-1"}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// The credentials of a role sign until they expire.
func TestBedrockAssumeRole(t *testing.T) {
	k := NewBedrock(t)
	k.SetRoles(BedrockRole{ARN: bRole, ExternalID: "ext-1"})
	got := assume(t, k, DefaultBedrockCredentials(), assumeForm("DurationSeconds", "900"))
	mustStatus(t, got, 200)
	var answer struct {
		Result struct {
			User struct {
				Arn string
			} `xml:"AssumedRoleUser"`
			Credentials struct {
				AccessKeyId, SecretAccessKey, SessionToken string
				Expiration                                 time.Time
			}
		} `xml:"AssumeRoleResult"`
	}
	if err := xml.Unmarshal([]byte(got.body), &answer); err != nil {
		t.Fatal(err)
	}
	c := answer.Result.Credentials
	if got.Header.Get("Content-Type") != "text/xml" || answer.Result.User.Arn != "arn:aws:sts::123456789012:assumed-role/tenant-a/gateway" || !strings.HasPrefix(c.AccessKeyId, "ASIA") {
		t.Errorf("got %v %+v", got.Header, answer)
	}
	if left := time.Until(c.Expiration); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("got credentials for %v", left)
	}
	cred := BedrockCredentials{AccessKeyID: c.AccessKeyId, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	ask := func() reply {
		return do(t, signedRequest(t, bedrockPath(k, bOpus, "invoke"), bClaude, "bedrock", cred, time.Now()))
	}
	mustStatus(t, ask(), 200)
	k.SetClock(func() time.Time { return c.Expiration.Add(time.Second) })
	if got := ask(); got.Header.Get("X-Amzn-Errortype") != "ExpiredTokenException" {
		t.Errorf("got %s", got.body)
	}
}

// Codes: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html and
// CommonErrors.html.
func TestBedrockRefusesAssumeRole(t *testing.T) {
	static := DefaultBedrockCredentials()
	for _, c := range []struct {
		why    string
		cred   BedrockCredentials
		form   url.Values
		status int
		code   string
	}{
		{"no external id", static, assumeForm("ExternalId", ""), 403, "AccessDenied"},
		{"another external id", static, assumeForm("ExternalId", "ext-2"), 403, "AccessDenied"},
		{"another role", static, assumeForm("RoleArn", bRole+"x"), 403, "AccessDenied"},
		{"no ARN", static, assumeForm("RoleArn", "tenant-a"), 400, "ValidationError"},
		{"a session of another form", static, assumeForm("RoleSessionName", "a b"), 400, "ValidationError"},
		{"an external id of another form", static, assumeForm("ExternalId", "a b"), 400, "ValidationError"},
		{"too short", static, assumeForm("DurationSeconds", "899"), 400, "ValidationError"},
		{"too long", static, assumeForm("DurationSeconds", "43201"), 400, "ValidationError"},
		{"another action", static, assumeForm("Action", "Foo"), 400, "InvalidAction"},
		{"an unknown key", BedrockCredentials{AccessKeyID: "AKIAX", SecretAccessKey: "s"}, assumeForm(), 403, "InvalidClientTokenId"},
		{"a wrong secret", BedrockCredentials{AccessKeyID: static.AccessKeyID, SecretAccessKey: "s"}, assumeForm(), 403, "SignatureDoesNotMatch"},
	} {
		t.Run(c.why, func(t *testing.T) {
			k := NewBedrock(t)
			k.SetRoles(BedrockRole{ARN: bRole, ExternalID: "ext-1", Lifetime: time.Minute})
			got := assume(t, k, c.cred, c.form)
			mustStatus(t, got, c.status)
			if !strings.Contains(got.body, "<Code>"+c.code+"</Code>") || got.Header.Get("Content-Type") != "text/xml" || len(k.Refused()) != 1 {
				t.Errorf("got %s, refused %q", got.body, k.Refused())
			}
		})
	}
	k := NewBedrock(t)
	k.SetRoles(BedrockRole{ARN: bRole})
	k.QueueOperation("AssumeRole", RateLimited(0))
	if got := assume(t, k, static, assumeForm("ExternalId", "")); got.StatusCode != 429 || !strings.Contains(got.body, "<Code>Throttling</Code>") {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	mustStatus(t, assume(t, k, static, assumeForm("ExternalId", "")), 200)
}
