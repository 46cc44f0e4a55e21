package amazonq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

const arn = "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL"

func TestModels(t *testing.T) {
	g := &capture{answers: []func() *http.Response{
		answer(403, expired),
		answer(200, `{"models":[{"modelId":"claude-sonnet-4.5","modelName":"Claude Sonnet 4.5"},{"modelId":"a\nb"},{"modelId":""}],"nextToken":"p2"}`),
		answer(200, `{"models":[{"modelId":"auto"}],"defaultModel":{"modelId":"auto"}}`),
	}}
	v := &vault{token: "old", next: "new"}
	got, err := client(g, nil, v).Models(t.Context(), target(core.Node{Profile: arn}))
	if err != nil || fmt.Sprint(got) != "[{claude-sonnet-4.5 Claude Sonnet 4.5 anthropic} {auto  amazon}]" {
		t.Errorf("got %v, %v", got, err)
	}
	if len(v.renewed) != 1 || len(g.got) != 3 {
		t.Fatalf("%d renewals, %d requests", len(v.renewed), len(g.got))
	}
	if h := g.got[0]; h.Header.Get("X-Amz-Target") != "AmazonCodeWhispererService.ListAvailableModels" || h.URL.Host != "q.us-east-1.amazonaws.com" {
		t.Errorf("got %v %v", h.URL, h.Header)
	}
	if g.bodies[1] != `{"origin":"CLI","maxResults":50,"profileArn":"`+arn+`"}` || !strings.Contains(g.bodies[2], `"nextToken":"p2"`) {
		t.Errorf("got %v", g.bodies)
	}
}

func TestControl_Kiro(t *testing.T) {
	g := &capture{}
	if _, err := client(g, nil, &vault{token: "t"}).Quota(t.Context(), target(core.Node{API: "kiro", Region: "eu-central-1", Profile: "us-east-1"})); err != nil {
		t.Fatal(err)
	}
	r := g.got[0]
	if r.URL.String() != "https://management.eu-central-1.kiro.dev/" || r.Header.Get("X-Amz-Target") != "KiroControlPlaneBearerService.GetUsageLimits" ||
		g.bodies[0] != `{"origin":"KIRO_CLI","isEmailRequired":true}` {
		t.Errorf("got %v %v %s", r.URL, r.Header, g.bodies[0])
	}
}

// A list without end ends all the same.
func TestModels_Bounded(t *testing.T) {
	n := 0
	page := func() *http.Response {
		n++
		return answer(200, fmt.Sprintf(`{"models":[%s{"modelId":"m"}],"nextToken":"p%d"}`, strings.Repeat(`{"modelId":"m"},`, 299), n))()
	}
	got, err := client(&capture{answers: []func() *http.Response{page}}, nil, &vault{token: "t"}).Models(t.Context(), target(core.Node{}))
	if err != nil || len(got) != 1000 || n != 4 {
		t.Errorf("%d models of %d pages, %v", len(got), n, err)
	}
	for why, body := range map[string]string{"the same page": `{"nextToken":"p"}`, "new pages": ""} {
		g := &capture{}
		i := 0
		g.answers = []func() *http.Response{func() *http.Response {
			if i++; body == "" {
				return answer(200, fmt.Sprintf(`{"nextToken":"p%d"}`, i))()
			}
			return answer(200, body)()
		}}
		if got, err := client(g, nil, &vault{token: "t"}).Models(t.Context(), target(core.Node{})); err != nil || len(got) != 0 || len(g.got) > 20 {
			t.Errorf("%s: %d requests, %v", why, len(g.got), err)
		}
	}
}

func TestControl_Errors(t *testing.T) {
	for _, c := range []struct {
		why, body string
		status    int
		class     upstream.Class
		block     string
	}{
		{"suspended", `{"reason":"TEMPORARILY_SUSPENDED"}`, 403, upstream.Credential, core.BlockedSuspended},
		{"no JSON", `<html>`, 200, upstream.Server, ""},
		{"cut", `{"models":[`, 200, upstream.Server, ""},
		{"another type", `[]`, 200, upstream.Server, ""},
		{"huge", `{"models":[]` + strings.Repeat(" ", 1<<20) + `}`, 200, upstream.Server, ""},
		{"redirect", ``, 302, upstream.Server, ""},
	} {
		_, err := client(&capture{answers: []func() *http.Response{answer(c.status, c.body)}}, nil, &vault{token: "t"}).Models(t.Context(), target(core.Node{}))
		var told *upstream.Error
		if !errors.As(err, &told) || told.Class != c.class || told.Blocked != c.block {
			t.Errorf("%s: got %v", c.why, err)
		}
	}
}

func TestProfiles(t *testing.T) {
	g := &capture{answers: []func() *http.Response{answer(200, `{"profiles":[{"arn":"`+arn+`","profileName":"p"},{"arn":"x"},{"arn":"arn: \n"}]}`)}}
	got, err := client(g, nil, &vault{token: "t"}).Profiles(t.Context(), target(core.Node{}))
	if err != nil || len(got) != 1 || got[0] != (amazonq.Profile{ARN: arn, Name: "p"}) || g.bodies[0] != `{"maxResults":10}` {
		t.Errorf("got %v, %v, asked %s", got, err, g.bodies[0])
	}
}

func TestQuota(t *testing.T) {
	for _, c := range []struct{ why, answer, want string }{
		{"credits with a trial and overages", `{"nextDateReset":1.7987904E9,"daysUntilReset":17,"subscriptionInfo":{"subscriptionTitle":"KIRO PRO","type":"PRO"},
			"overageConfiguration":{"overageStatus":"ENABLED"},"userInfo":{"userId":"u","email":"a@example.com"},
			"usageBreakdownList":[{"resourceType":"SPEC","currentUsage":1,"usageLimit":2},{"resourceType":"CREDIT","displayName":"Credits","unit":"INVOCATIONS",
			"currentUsage":10,"currentUsageWithPrecision":10.25,"usageLimit":1000,"usageLimitWithPrecision":1000.5,"currentOverages":3,"overageCap":10,"overageRate":0.04,
			"overageCharges":0.12,"currency":"USD","nextDateReset":1798790400,
			"freeTrialInfo":{"freeTrialStatus":"ACTIVE","freeTrialExpiry":1798790400,"currentUsage":5,"usageLimit":500}}]}`,
			`{"subscription":"KIRO PRO","subscription_type":"PRO","email":"a@example.com","resource_type":"CREDIT","name":"Credits","unit":"INVOCATIONS","used":10.25,"limit":1000.5,` +
				`"resets_at":"2027-01-01T08:00:00Z","free_trial":{"status":"ACTIVE","used":5,"limit":500,"expires_at":"2027-01-01T08:00:00Z"},` +
				`"overage":{"used":3,"cap":10,"rate":0.04,"charges":0.12,"currency":"USD"},"overage_status":"ENABLED",` +
				`"others":[{"resource_type":"SPEC","used":1,"limit":2,"resets_at":"2027-01-01T08:00:00Z"}]}`},
		{"one breakdown", `{"usageBreakdown":{"resourceType":"AGENTIC_REQUEST","currentUsage":7,"usageLimit":50}}`, `{"resource_type":"AGENTIC_REQUEST","used":7,"limit":50}`},
		{"the older list", `{"daysUntilReset":1,"limits":[{"type":"AI_EDITOR","currentUsage":1,"totalUsageLimit":2},{"type":"AGENTIC_REQUEST","currentUsage":7,"totalUsageLimit":50}]}`,
			`{"resource_type":"AGENTIC_REQUEST","used":7,"limit":50,"resets_at":"2026-12-16T06:00:00Z","others":[{"resource_type":"AI_EDITOR","used":1,"limit":2,"resets_at":"2026-12-16T06:00:00Z"}]}`},
		{"milliseconds", `{"nextDateReset":1798790400000}`, `{"used":0,"limit":0,"resets_at":"2027-01-01T08:00:00Z"}`},
		{"text", `{"nextDateReset":"2027-01-01T00:00:00Z"}`, `{"used":0,"limit":0,"resets_at":"2027-01-01T00:00:00Z"}`},
		{"members of other types", `{"nextDateReset":{},"daysUntilReset":"x","subscriptionInfo":{"subscriptionTitle":5,"type":"a\u0007"},"usageBreakdownList":[{"currentUsage":"1","unit":[]}]}`, `{"used":0,"limit":0}`},
		{"times beyond all", `{"nextDateReset":1e300,"daysUntilReset":1e300,"usageBreakdownList":[{"nextDateReset":-1}]}`, `{"used":0,"limit":0}`},
		{"nothing", `{}`, `{"used":0,"limit":0}`},
	} {
		g := &capture{answers: []func() *http.Response{answer(200, c.answer)}}
		q, err := client(g, nil, &vault{token: "t"}).Quota(t.Context(), target(core.Node{Profile: arn}))
		if got, _ := json.Marshal(q); err != nil || string(got) != c.want {
			t.Errorf("%s: error %v\ngot  %s\nwant %s", c.why, err, got, c.want)
		}
		if g.bodies[0] != `{"profileArn":"`+arn+`","origin":"CLI","isEmailRequired":true}` {
			t.Errorf("%s: asked %s", c.why, g.bodies[0])
		}
		if d := q.ResetAfter(fixed()); d <= 0 || d > 40*24*time.Hour {
			t.Errorf("%s: resets after %v", c.why, d)
		}
	}
	q := amazonq.Quota{Usage: amazonq.Usage{ResetsAt: fixed().Add(time.Hour)}}
	if a, b := q.ResetAfter(fixed()), (amazonq.Quota{}).ResetAfter(fixed()); a != time.Hour || b != 16*24*time.Hour+18*time.Hour {
		t.Errorf("got %v and %v", a, b)
	}
}
