package adminapi

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"sluice/shared/capture"
	"sluice/shared/core"
	"sluice/shared/web"
)

// Capture reads and removes captured bodies.
type Capture interface {
	// Read returns capture.ErrNone where nothing is kept of a request, or nothing younger than days.
	Read(ctx context.Context, account, request string, days int) (*capture.Record, error)
	Drop(ctx context.Context, account string) error
}

const bodiesPath = "/api/usage/logs/{id}/bodies"

// captureView are an account's settings of body capture.
type captureView struct {
	Enabled    bool       `json:"enabled"`
	Until      *time.Time `json:"until"`
	Redact     []string   `json:"redact"`
	Emails     bool       `json:"redact_emails"`
	KeepDays   int        `json:"keep_days"`
	FailedOnly bool       `json:"failed_only"`
	MaxBytes   int        `json:"max_bytes"`
}

// viewCapture is for administrators; the account itself learns that it is captured, and until when.
func (c *call) viewCapture(a *core.Account) (capturing bool, until *time.Time, v *captureView) {
	s := a.Capture
	if capturing = c.a.o.Capture != nil && s.On(c.a.o.Now()); capturing {
		until = new(s.Until.UTC())
	}
	if !c.who.admin || c.a.o.Capture == nil {
		return capturing, until, nil
	}
	v = &captureView{Enabled: s.Enabled, Redact: s.Redact, Emails: s.Emails, KeepDays: s.Days(), FailedOnly: s.FailedOnly, MaxBytes: s.Bytes()}
	if v.Redact == nil {
		v.Redact = []string{}
	}
	if !s.Until.IsZero() {
		v.Until = new(s.Until.UTC())
	}
	return capturing, until, v
}

// captureInput changes the settings; a field that is missing changes nothing.
type captureInput struct {
	Enabled    *bool      `json:"enabled"`
	Until      *time.Time `json:"until"`
	Redact     *[]string  `json:"redact"`
	Emails     *bool      `json:"redact_emails"`
	KeepDays   *int       `json:"keep_days"`
	FailedOnly *bool      `json:"failed_only"`
	MaxBytes   *int       `json:"max_bytes"`
}

// apply changes s, without a judgement.
func (in *captureInput) apply(s *core.Capture) {
	if in == nil {
		return
	}
	set(&s.Enabled, in.Enabled)
	set(&s.Until, in.Until)
	set(&s.Redact, in.Redact)
	set(&s.Emails, in.Emails)
	set(&s.KeepDays, in.KeepDays)
	set(&s.FailedOnly, in.FailedOnly)
	set(&s.MaxBytes, in.MaxBytes)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// check judges a change of settings that were old. Only what the call names is judged: an account whose capture has ended
// can be edited.
func (in *captureInput) check(old core.Capture, possible bool, now time.Time) error {
	if in == nil {
		return nil
	}
	s := old
	in.apply(&s)
	within := func(v *int, lo, hi int) bool { return v == nil || *v >= lo && *v <= hi }
	switch on := in.Enabled != nil && *in.Enabled; {
	case on && !possible:
		return bad("capture.enabled: the gateway has no place for bodies; its operator must set CAPTURE_URL")
	case on && s.Until.IsZero():
		return bad("capture.until: is required: a time such as 2026-01-31T15:04:05Z, at most 30 days ahead")
	case on && !now.Before(s.Until):
		return bad("capture.until: is over; name a time at most 30 days ahead")
	case in.Until != nil && in.Until.After(now.Add(core.MaxCaptureAhead)):
		return bad("capture.until: must be at most 30 days ahead")
	case !within(in.KeepDays, 1, core.MaxCaptureDays):
		return bad("capture.keep_days: must be from 1 to " + itoa(core.MaxCaptureDays))
	case !within(in.MaxBytes, 1024, core.MaxCaptureBytes):
		return bad("capture.max_bytes: must be from 1024 to " + itoa(core.MaxCaptureBytes))
	}
	if in.Redact != nil {
		for _, r := range *in.Redact {
			if !utf8.ValidString(r) {
				return bad("capture.redact: must be valid UTF-8")
			}
		}
		if err := capture.CheckRules(*in.Redact); err != nil {
			return bad("capture.redact: " + err.Error())
		}
	}
	return nil
}

// dropCaptures removes what was kept of an account.
func (c *call) dropCaptures(account string) error {
	if c.a.o.Capture == nil {
		return nil
	}
	return c.a.o.Capture.Drop(c.r.Context(), account)
}

// bodiesView is a captured exchange.
type bodiesView struct {
	*capture.Record
	Request  string `json:"request"`
	Response string `json:"response"`
}

// showBodies answers with what was kept of a request. Each reading is noted: what people wrote is in it.
func (c *call) showBodies() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	account, err := c.target()
	if err != nil {
		return err
	}
	if c.a.o.Capture == nil {
		return core.E(core.CodeNotFound, "nothing is captured: CAPTURE_URL is not set")
	}
	a, err := c.a.o.Tables.Accounts.Get(c.r.Context(), account)
	if err != nil {
		return err
	}
	rec, err := c.a.o.Capture.Read(c.r.Context(), account, c.id, a.Value.Capture.Days())
	if errors.Is(err, capture.ErrNone) {
		return core.E(core.CodeNotFound, "nothing was captured of this request, or its time is over; account_id names the account if it is not your own")
	}
	if err != nil {
		return err
	}
	info := web.FromContext(c.r.Context())
	c.a.o.Log.Info("captured bodies were read", "request_id", info.ID, "captured_request", rec.RequestID, "account", account,
		"by_account", c.who.account, "client", info.Client.String())
	return c.ok(bodiesView{rec, string(rec.Request), string(rec.Response)})
}
