package gateway

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
	"sluice/shared/web"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// seconds rounds a wait up to whole seconds, at least 1: retry-after has no fractions.
func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

// WriteError answers with one of our own errors in the dialect of the path.
func WriteError(w http.ResponseWriter, r *http.Request, e *core.Error) {
	info := web.FromContext(r.Context())
	info.ErrorCode = string(e.Code)
	h := w.Header()
	if e.RetryAfter > 0 {
		h["Retry-After"] = []string{itoa(seconds(e.RetryAfter))}
	}
	if e.NoRetry || e.Code == core.CodeUnauthenticated || e.Code == core.CodeForbidden {
		// no retry makes a key right; without this Claude Code goes on for minutes
		h["X-Should-Retry"] = []string{"false"}
	}
	var body []byte
	status := e.Code.Status()
	switch of := translator.OfCode(e); dialectName(r) {
	case core.DialectBedrockInvoke:
		var name string
		status, name = awsError(status, e.Kind)
		h["X-Amzn-Requestid"] = []string{info.ID}
		body = appendAWSError(nil, h, name, e.Message)
	case core.DialectOpenAIChat:
		h["X-Request-Id"] = []string{info.ID} // the name that OpenAI's clients show
		body = openaichat.Codec{}.AppendError(nil, of, info.ID)
	case core.DialectOpenAIResponses:
		h["X-Request-Id"] = []string{info.ID}
		body = responses.Codec{}.AppendError(nil, of, info.ID)
	default:
		body = anthropic.Codec{}.AppendError(nil, of, info.ID)
	}
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

var (
	jsonType   = []string{"application/json"}
	streamType = []string{"text/event-stream; charset=utf-8"}
	noCache    = []string{"no-cache"}
	noBuffer   = []string{"no"}
)

// headerText makes a node's name fit for a header: percent-encoded unless it is printable ASCII.
func headerText(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '%' {
			return url.PathEscape(s)
		}
	}
	return s
}
