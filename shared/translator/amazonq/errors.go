package amazonq

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// statusOverloaded is Anthropic's status for want of capacity.
const statusOverloaded = 529

// maxMessage bounds what is passed on of the service's words.
const maxMessage = 2 << 10

var errorFields = []string{"__type", "message", "Message", "reason", "code"}

// failure is an error as the service tells it.
type failure struct {
	name    string // its shape, without namespace and without Exception or Error
	reason  string
	message string
}

// ParseError implements translator.Back for {"__type","message","reason"}. Messages about accounts are our own words: the
// service's name the operator's account.
func (Codec) ParseError(status int, body []byte) *translator.Error {
	return readFailure("", body).err(status)
}

// streamError reads an exception or an error in a stream, of the name that its frame has.
func streamError(name string, payload []byte) *translator.Error {
	e := readFailure(name, payload).err(0)
	e.Raw = string(typed(name, payload))
	return e
}

// typed is an exception's payload with its name in it, as the same error has it in a body of its own.
func typed(name string, payload []byte) []byte {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(payload), []byte{'{'})
	out := rawjson.AppendString([]byte(`{"__type":`), name)
	if rest = bytes.TrimSpace(rest); !ok || len(rest) < 2 {
		return append(out, '}')
	}
	return append(append(out, ','), rest...)
}

func readFailure(name string, body []byte) (f failure) {
	var v [5]rawjson.Value
	if rawjson.Scan(body, errorFields, v[:]) == nil {
		if f.message, _ = v[1].Text(); f.message == "" {
			f.message, _ = v[2].Text()
		}
		f.reason, _ = v[3].Text()
		for _, other := range [...]rawjson.Value{v[0], v[4]} {
			if name == "" {
				name, _ = other.Text()
			}
		}
	}
	name = name[strings.LastIndexByte(name, '#')+1:]
	name, _, _ = strings.Cut(name, ":")
	f.name = strings.TrimSuffix(strings.TrimSuffix(name, "Exception"), "Error")
	return f
}

// byReason are the errors that a reason names, and byName those that a shape names. An empty message is the service's own.
// Source: the error types and the retry classifier of aws/amazon-q-developer-cli.
var (
	byReason = map[string]translator.Error{
		"INSUFFICIENT_MODEL_CAPACITY":      {Status: statusOverloaded, Message: overloaded},
		"MODEL_TEMPORARILY_UNAVAILABLE":    {Status: statusOverloaded, Message: overloaded},
		"MONTHLY_REQUEST_COUNT":            {Status: http.StatusTooManyRequests, Message: "the upstream account has used up its requests of this month; try again when another account is free"},
		"OVERAGE_REQUEST_LIMIT_EXCEEDED":   {Status: http.StatusTooManyRequests, Message: "the upstream account has used up its requests of this month and the overage; try again when another account is free"},
		"DAILY_REQUEST_COUNT":              {Status: http.StatusTooManyRequests, Message: "the upstream account has used up its requests of this day; try again later"},
		"CONVERSATION_LIMIT_EXCEEDED":      {Status: http.StatusBadRequest, Message: contextFull, Code: translator.CodeContext}, // no quota: each request is a conversation of its own
		"TEMPORARILY_SUSPENDED":            {Status: http.StatusForbidden, Message: "the upstream account is suspended; the operator must clear this with the service"},
		"FEATURE_NOT_SUPPORTED":            {Status: http.StatusForbidden, Message: "the upstream account may not use this feature"},
		"INVALID_MODEL_ID":                 {Status: http.StatusNotFound, Message: "model: the upstream account is not offered this model"},
		"CONTENT_LENGTH_EXCEEDS_THRESHOLD": {Status: http.StatusBadRequest, Message: contextFull, Code: translator.CodeContext},
	}
	byName = map[string]translator.Error{
		"Throttling":           {Status: http.StatusTooManyRequests, Message: throttled},
		"TooManyRequests":      {Status: http.StatusTooManyRequests, Message: throttled},
		"ServiceQuotaExceeded": {Status: http.StatusTooManyRequests, Message: "the upstream account has used up a quota; try again later"},
		"AccessDenied":         {Status: http.StatusForbidden, Message: "the upstream refused the account access; the operator must check its login and its profile"},
		"UnrecognizedClient":   {Status: http.StatusUnauthorized, Message: loginNeeded},
		"ExpiredToken":         {Status: http.StatusUnauthorized, Message: loginNeeded},
		"InvalidToken":         {Status: http.StatusUnauthorized, Message: loginNeeded},
		"ResourceNotFound":     {Status: http.StatusNotFound},
		"Conflict":             {Status: http.StatusConflict},
		"Validation":           {Status: http.StatusBadRequest},
		"Serialization":        {Status: http.StatusBadRequest},
		"ServiceUnavailable":   {Status: http.StatusServiceUnavailable, Message: "the upstream is unavailable; try again shortly"},
		"InternalServer":       {Status: http.StatusInternalServerError, Message: internal},
		"InternalFailure":      {Status: http.StatusInternalServerError, Message: internal},
		"error":                {Status: http.StatusInternalServerError, Message: internal}, // of the stream's union
	}
)

const (
	overloaded  = "the upstream has no capacity for this model at the moment; try again shortly, or name another model"
	throttled   = "the upstream account is asked too often; try again shortly"
	loginNeeded = "the upstream did not accept the account's login; the operator must log in again"
	internal    = "the upstream failed; try again"
	contextFull = "prompt is too long: the conversation is longer than the upstream takes for this model; shorten it, or start a new one"
)

// err makes the error that a client is told of. status is 0 within a stream.
func (f failure) err(status int) *translator.Error {
	e := f.known()
	if e.Status == 0 {
		if e.Status = status; status < 400 {
			e.Status = http.StatusBadGateway
		}
	}
	e.Type = translator.ErrorType(e.Status)
	if e.Message == "" {
		e.Message = f.words(status)
	}
	return &e
}

// known is what is known of it; the status is 0 for a shape that is new.
func (f failure) known() translator.Error {
	switch low := strings.ToLower(f.message); {
	case strings.Contains(low, "input is too long"):
		return byReason["CONTENT_LENGTH_EXCEEDS_THRESHOLD"]
	case strings.Contains(low, "unexpectedly high load"):
		return byReason["INSUFFICIENT_MODEL_CAPACITY"]
	case f.name == "Validation" && len(low) < 512 && !strings.Contains(low, "conversationstate") &&
		(strings.Contains(low, "profilearn") || strings.Contains(low, "profile arn") || strings.Contains(low, "arn:aws:codewhisperer:")):
		return byName["AccessDenied"] // the node's profile, in which the client has no part
	}
	if e, ok := byReason[f.reason]; ok {
		return e
	}
	return byName[f.name]
}

// words are the service's, unless there are none or they may name an account.
func (f failure) words(status int) string {
	m := strings.ToValidUTF8(strings.TrimSpace(f.message), "")
	switch {
	case m == "" || strings.Contains(strings.ToLower(m), "arn:"):
		switch {
		case plain(f.name):
			m = "the upstream reported an error: " + f.name
		case status >= 400:
			m = "the upstream answered with status " + strconv.Itoa(status) + " and no message"
		default:
			m = "the upstream reported an error without words for it"
		}
	case len(m) > maxMessage:
		n := maxMessage
		for !utf8.RuneStart(m[n]) {
			n--
		}
		m = m[:n]
	}
	return m
}

// plain reports whether a name is one, and not something that is sent in its place.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}
