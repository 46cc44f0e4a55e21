package boot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/capture"
	"sluice/shared/gateway"
)

// openCapture opens the place of CAPTURE_URL; without one no account can be captured.
func (a *App) openCapture(o *Options) error {
	if o.Config.CaptureURL == "" {
		return nil
	}
	place, err := capture.ParsePlace(o.Config.CaptureURL)
	if err == nil && place.OnDisk() && o.Hosted {
		err = errors.New("a function has no disk that lasts: use s3://BUCKET/PREFIX?region=REGION")
	}
	if err == nil {
		a.capture, err = capture.Open(capture.Options{Place: place, Box: a.Box, Log: o.Log, Now: o.Now})
	}
	if err != nil {
		return fmt.Errorf("CAPTURE_URL: %w", err)
	}
	o.Log.Warn("requests and answers can be captured: an administrator may turn it on for an account", "place", place.String())
	return nil
}

// gatewayCapture is the capture as the gateway takes it: an interface without a value where there is none.
func (a *App) gatewayCapture() gateway.Capture {
	if a.capture == nil {
		return nil
	}
	return a.capture
}

// adminCapture is likewise for the admin API.
func (a *App) adminCapture() adminapi.Capture {
	if a.capture == nil {
		return nil
	}
	return a.capture
}

// expireTime bounds one removal of captures: the next goes on with what is left.
const expireTime = 30 * time.Second

// expireCaptures removes captures whose time is over, and those of accounts that are gone.
func (a *App) expireCaptures(ctx context.Context, now time.Time) {
	if a.capture == nil {
		return
	}
	rows, err := a.Tables.Accounts.All(ctx, "")
	if err != nil {
		if ctx.Err() == nil {
			a.log.Error("captures not removed: accounts not read", "error", err)
		}
		return
	}
	days := make(map[string]int, len(rows))
	for i := range rows {
		days[rows[i].Value.ID] = rows[i].Value.Capture.Days()
	}
	within, cancel := context.WithTimeout(ctx, expireTime)
	defer cancel()
	_, err = a.capture.Expire(within, now, func(id string) (int, bool) { n, ok := days[id]; return n, ok })
	if err != nil && ctx.Err() == nil {
		a.log.Error("captures not removed", "error", err)
	}
}

func (a *App) closeCapture() {
	if a.capture != nil {
		a.capture.Close()
	}
}
