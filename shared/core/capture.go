package core

import "time"

// Bounds of what an account's settings of body capture may say.
const (
	MaxCaptureBytes    = 2 << 20 // of each body
	MaxCaptureDays     = 90      // that captures are kept
	MaxCaptureAhead    = 30 * 24 * time.Hour
	usualCaptureBytes  = 1 << 20
	usualDaysOfCapture = 7
)

// Capture is whether requests and answers of an account are kept for inspection. They are not, unless an administrator turned
// it on, until a time that must be named.
type Capture struct {
	Enabled    bool      `json:"enabled,omitempty"`
	Until      time.Time `json:"until,omitzero"`        // nothing is captured from then on
	Redact     []string  `json:"redact,omitempty"`      // patterns (RE2) of what is not kept
	Emails     bool      `json:"emails,omitempty"`      // nor are e-mail addresses
	KeepDays   int       `json:"keep_days,omitempty"`   // that captures are kept; 0: 7
	FailedOnly bool      `json:"failed_only,omitempty"` // only of requests that failed
	MaxBytes   int       `json:"max_bytes,omitempty"`   // of each body; 0: 1 MiB
}

// On reports whether exchanges are captured at now.
func (c *Capture) On(now time.Time) bool { return c.Enabled && now.Before(c.Until) }

// Days is for how many days captures are kept.
func (c *Capture) Days() int {
	if c.KeepDays <= 0 {
		return usualDaysOfCapture
	}
	return c.KeepDays
}

// Bytes is how much is kept of each body.
func (c *Capture) Bytes() int {
	if c.MaxBytes <= 0 {
		return usualCaptureBytes
	}
	return min(c.MaxBytes, MaxCaptureBytes)
}
