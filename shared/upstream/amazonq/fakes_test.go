package amazonq_test

import (
	"errors"
	"io"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/upstream/upstreamtest"
)

// From the login to a conversation, its models and its quota, and what ends it, over the fakes of both services. BUG 2.7: the
// old system refreshed for every request; here one refresh follows one refusal.
func TestAgainstTheFakes(t *testing.T) {
	q, oidc := upstreamtest.NewAmazonQ(t), upstreamtest.NewOIDC(t)
	q.SetTokens(oidc.Valid)
	o := amazonq.Options{Transports: real(t), Endpoint: q.URL, TokenEndpoint: oidc.URL + "/token"}
	l := amazonq.NewLogin(o)
	r, err := l.Register(t.Context(), "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	c := amazonq.Credential{ClientID: r.ClientID, ClientSecret: r.ClientSecret.Reveal()}
	d, err := l.StartDevice(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	oidc.Pending(-1)
	if _, err = l.PollDevice(t.Context(), c, d.DeviceCode); !errors.Is(err, amazonq.ErrPending) {
		t.Fatalf("got %v", err)
	}
	oidc.Approve(d.UserCode)
	g, err := l.PollDevice(t.Context(), c, d.DeviceCode)
	if err != nil {
		t.Fatal(err)
	}
	c.RefreshToken = g.Refresh.Reveal()
	fresh, err := l.Refresh(t.Context(), c, core.Secret{})
	if err != nil {
		t.Fatal(err)
	}

	v := &vault{token: "stale", next: fresh.Access.Reveal()}
	o.Tokens = v
	cl := amazonq.New(o)
	to := upstream.Target{Node: &core.Node{}, Credential: c.Secret()}
	resp, err := cl.Send(t.Context(), to, replayed(`{"conversationState":{"chatTriggerType":"MANUAL","currentMessage":{"userInputMessage":{"content":"hi","modelId":"auto"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || err != nil || len(b) == 0 || len(v.renewed) != 1 || oidc.Refreshes() != 1 {
		t.Errorf("status %d, %d bytes, %v, %d renewals, %d refreshes; refused: %v", resp.StatusCode, len(b), err, len(v.renewed), oidc.Refreshes(), q.Refused())
	}
	if m, err := cl.Models(t.Context(), to); err != nil || len(m) == 0 {
		t.Errorf("models %v, %v", m, err)
	}
	if u, err := cl.Quota(t.Context(), to); err != nil || u.Subscription == "" || u.Limit == 0 || u.ResetsAt.IsZero() {
		t.Errorf("quota %+v, %v", u, err)
	}
	if _, err := cl.Profiles(t.Context(), to); err != nil {
		t.Error(err)
	}
	for _, f := range []struct {
		b     upstreamtest.Behaviour
		class upstream.Class
		block string
	}{{upstreamtest.Suspended(), upstream.Credential, core.BlockedSuspended}, {upstreamtest.MonthlyQuota(), upstream.RateLimited, ""},
		{upstreamtest.ModelCapacity(), upstream.Overloaded, ""}} {
		q.QueueOperation("ListAvailableModels", f.b)
		_, err := cl.Models(t.Context(), to)
		var told *upstream.Error
		if !errors.As(err, &told) || told.Class != f.class || told.Blocked != f.block {
			t.Errorf("got %v, want class %d", err, f.class)
		}
	}
	oidc.ForgetClients()
	if _, err := l.Refresh(t.Context(), c, fresh.Refresh); !errors.Is(err, upstream.ErrInvalidGrant) {
		t.Errorf("got %v", err)
	}
}
