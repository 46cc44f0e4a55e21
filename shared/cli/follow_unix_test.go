//go:build unix

package cli_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"sluice/shared/cli"
)

// TestFollowShowsOnce: the first poll shows as many as were asked for, later ones what came since, but nothing older; what a
// poll brought that failed midway is shown by the next.
func TestFollowShowsOnce(t *testing.T) {
	entry := func(second int) string {
		return fmt.Sprintf(`{"id":"r%d","model_id":"m-%d.","created_at":"2026-03-14T11:00:%02dZ"}`, second, second, second)
	}
	page := func(next string, seconds ...int) string {
		var logs []string
		for _, s := range seconds {
			logs = append(logs, entry(s))
		}
		return `{"logs":[` + strings.Join(logs, ",") + `],"next_cursor":"` + next + `"}`
	}
	answers := []string{
		page("more", 9, 8), // --limit 2 of many
		page("more", 11, 10, 9),
		"", // the second page of the second poll
		page("more", 11, 10, 9),
		page("", 8, 7, 6),
	}
	calls := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		switch {
		case calls > len(answers):
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT) // the command takes it
			_, _ = io.WriteString(w, page("", 11))
		case answers[calls-1] == "":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, answers[calls-1])
		}
	}))
	defer s.Close()
	stdout, stderr, err := world{"", map[string]string{"SLUICE_URL": s.URL, "SLUICE_ADMIN_KEY": adminKey}}.run("logs", "--follow", "--limit", "2")
	var got []string
	for _, w := range strings.Fields(stdout) {
		if strings.HasPrefix(w, "m-") {
			got = append(got, w)
		}
	}
	if want := "m-8. m-9. m-10. m-11."; !errors.Is(err, cli.ErrInterrupted) || strings.Join(got, " ") != want {
		t.Errorf("%v: shows %q, want %q; %s", err, got, want, stderr)
	}
}
