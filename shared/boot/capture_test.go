package boot_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/store/memory"
)

// TestCaptureURL: a start tells that bodies can be captured, and refuses a place that is none by the variable's name.
func TestCaptureURL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why, url string
		hosted   bool
		want     string // in the error; empty: it starts
	}{
		{"none", "", false, ""},
		{"a folder", "file:" + filepath.Join(t.TempDir(), "captures"), false, ""},
		{"a bucket, of which nothing is asked", "s3://bucket/pre?region=eu-central-1", true, ""},
		{"a file in its place", "file:" + file, false, "CAPTURE_URL: "},
		{"a folder on Lambda", "file:" + t.TempDir(), true, "CAPTURE_URL: a function has no disk"},
		{"a bucket without its region", "s3://bucket/pre", false, "CAPTURE_URL: needs the bucket's region"},
		{"another scheme", "ftp://bucket", false, "CAPTURE_URL: is neither"},
	} {
		t.Run(c.why, func(t *testing.T) {
			var log bytes.Buffer
			cfg, err := boottest.Parse(map[string]string{"CAPTURE_URL": c.url})
			var app *boot.App
			if err == nil {
				app, err = boot.Open(context.Background(), boot.Options{Part: boot.Everything(), Config: cfg, Hosted: c.hosted, Log: slog.New(slog.NewTextHandler(&log, nil)),
					Openers: map[string]boot.Opener{"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
						return boot.Opened{Store: memory.New(), Where: "memory"}, nil
					}}})
			}
			if app != nil {
				defer func() { _ = app.Close() }()
			}
			if c.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(log.String(), "can be captured"); told != (c.url != "") {
				t.Errorf("the log: %s", log.String())
			}
		})
	}
}
