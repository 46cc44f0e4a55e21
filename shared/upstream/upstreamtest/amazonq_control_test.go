package upstreamtest_test

import (
	"strings"
	"testing"
	"time"

	. "sluice/shared/upstream/upstreamtest"
)

const qControl = "AmazonCodeWhispererService."

func TestAmazonQModels(t *testing.T) {
	q := NewAmazonQ(t, WithModels("m-1", "m-2", "m-3"), WithPage(2))
	type answer struct {
		Models []struct {
			ID     string `json:"modelId"`
			Limits struct {
				Input int `json:"maxInputTokens"`
			} `json:"tokenLimits"`
		}
		Default struct {
			ID string `json:"modelId"`
		} `json:"defaultModel"`
		Next string `json:"nextToken"`
	}
	var first, second answer
	got := do(t, qRequest(t, q.URL, qControl+"ListAvailableModels", `{"origin":"CLI","maxResults":50}`))
	mustStatus(t, got, 200)
	decode(t, got.body, &first)
	if len(first.Models) != 2 || first.Models[0].ID != "m-1" || first.Models[0].Limits.Input != 200_000 || first.Default.ID != "m-1" || first.Next == "" {
		t.Errorf("got %s", got.body)
	}
	got = do(t, qRequest(t, q.URL, "KiroControlPlaneBearerService.ListAvailableModels", `{"nextToken":"`+first.Next+`"}`))
	mustStatus(t, got, 200)
	decode(t, got.body, &second)
	if len(second.Models) != 1 || second.Models[0].ID != "m-3" || second.Next != "" || got.Header.Get("Content-Type") != "application/x-amz-json-1.0" {
		t.Errorf("got %s, %v", got.body, got.Header)
	}
}

func TestAmazonQControl(t *testing.T) {
	q := NewAmazonQ(t)
	q.SetQuota(999.5, 1000, time.Unix(1_800_000_000, 0))
	got := do(t, qRequest(t, q.URL, qControl+"GetUsageLimits", `{"origin":"KIRO_CLI","resourceType":"CREDIT","isEmailRequired":false}`))
	mustStatus(t, got, 200)
	var quota struct {
		Reset float64 `json:"nextDateReset"`
		List  []struct {
			Used  float64 `json:"currentUsageWithPrecision"`
			Limit float64 `json:"usageLimitWithPrecision"`
		} `json:"usageBreakdownList"`
	}
	decode(t, got.body, &quota)
	if quota.Reset != 1_800_000_000 || len(quota.List) != 1 || quota.List[0].Used != 999.5 || quota.List[0].Limit != 1000 {
		t.Errorf("got %s", got.body)
	}
	q.SetProfiles(Profile{ARN: "arn:1", Name: "one"}, Profile{ARN: "arn:2", Name: "two"})
	got = do(t, qRequest(t, q.URL, qControl+"ListAvailableProfiles", `{"maxResults":1}`))
	mustStatus(t, got, 200)
	if !strings.HasPrefix(got.body, `{"profiles":[{"arn":"arn:1","profileName":"one"}],"nextToken":"`) {
		t.Errorf("got %s", got.body)
	}
	q.QueueOperation("GetUsageLimits", Status(429, ""), Reply().Cut(BeforeHeaders, EndReset))
	limits := func() reply { return do(t, qRequest(t, q.URL, qControl+"GetUsageLimits", `{}`)) }
	mustStatus(t, limits(), 429)
	if got := limits(); got.err == nil {
		t.Errorf("got %s", got.body)
	}
	mustStatus(t, limits(), 200)
	for _, c := range []struct{ operation, body string }{
		{"ListAvailableProfiles", `{"maxResults":11}`},
		{"ListAvailableModels", `{"maxResults":0}`},
		{"ListAvailableModels", `{"nextToken":"x"}`},
		{"ListAvailableModels", `{"origin":"X"}`},
		{"GetUsageLimits", `{"resourceType":"X"}`},
		{"GetUsageLimits", `{"profileArn":"X"}`},
		{"GetUsageLimits", `[]`},
	} {
		if got := do(t, qRequest(t, q.URL, qControl+c.operation, c.body)); got.StatusCode != 400 {
			t.Errorf("%s %s: got %s", c.operation, c.body, got.body)
		}
	}
	if len(q.Refused()) != 7 || len(q.Conversations()) != 0 {
		t.Errorf("got %q", q.Refused())
	}
}
