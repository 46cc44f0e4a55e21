package anthropic

import (
	"strconv"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// Codec is the Anthropic Messages dialect for the hub: both halves, and the tap between two of the same.
type Codec struct{}

var (
	_ translator.Front  = Codec{}
	_ translator.Back   = Codec{}
	_ translator.Passer = Codec{}
)

// AppendError implements translator.Front: {"type":"error","error":{"type","message"},"request_id"} (D14).
func (Codec) AppendError(dst []byte, e *translator.Error, requestID string) []byte {
	typ := e.Type
	if typ == "" {
		typ = translator.ErrorType(e.Status)
	}
	return appendError(dst, typ, clientMessage(e), requestID)
}

// AppendErrorEvent implements translator.Front.
func (c Codec) AppendErrorEvent(dst []byte, e *translator.Error, o translator.ReplyOptions) []byte {
	return sse.AppendEvent(dst, "error", c.AppendError(nil, e, o.ID))
}

// AppendKeepAlive implements translator.Front: a ping may stand anywhere, also before message_start (D11).
func (Codec) AppendKeepAlive(dst []byte, _ bool, _ translator.ReplyOptions) []byte {
	return append(dst, ping...)
}

// Resume implements translator.Front: a ping says nothing of the answer, so that all of it is still to be sent.
func (Codec) Resume(held []byte) []byte { return held }

// ParseError implements translator.Back.
func (Codec) ParseError(status int, body []byte) *translator.Error {
	e := parseError(body)
	if e.Type == "" {
		e.Type = translator.ErrorType(status)
	}
	if e.Message == "" {
		e.Message = "The upstream answered with status " + strconv.Itoa(status) + "."
	}
	return &translator.Error{Status: status, Type: e.Type, Message: e.Message}
}

// streamError is the error of an event, or of a body of an answer that has a good status.
func streamError(data []byte) *translator.Error {
	e := parseError(data)
	if e.Type == "" {
		e.Type = "api_error"
	}
	if e.Message == "" {
		e.Message = "The upstream reported an error without a message."
	}
	return &translator.Error{Status: translator.ErrorStatus(e.Type), Type: e.Type, Message: e.Message}
}

// tooLong is the text by which clients know that they must shorten the conversation (D15).
const tooLong = "prompt is too long"

func clientMessage(e *translator.Error) string {
	if !e.TooLong() || strings.Contains(strings.ToLower(e.Message), tooLong) {
		return e.Message
	}
	limit := numberAfter(e.Message, "maximum context length is ", "context window of ", "context length of ")
	used := numberAfter(e.Message, "resulted in ", "you requested ", "your request has ", "your input is ")
	if limit > 0 && used > limit {
		return tooLong + ": " + strconv.FormatInt(used, 10) + " tokens > " + strconv.FormatInt(limit, 10) + " maximum"
	}
	return tooLong + ": " + e.Message
}

// numberAfter reads the number that follows the first of the phrases that is followed by one; 0: none.
func numberAfter(text string, phrases ...string) int64 {
	lower := strings.ToLower(text)
	for _, p := range phrases {
		_, rest, ok := strings.Cut(lower, p)
		if !ok {
			continue
		}
		end := 0
		for end < len(rest) && (rest[end] >= '0' && rest[end] <= '9' || rest[end] == ',') {
			end++
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(rest[:end], ",", ""), 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// member appends a member to an object that has one already.
func member(dst []byte, name string, value []byte) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return append(dst, value...)
}

// optional is member for a value that may be absent.
func optional(dst []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	return member(dst, name, value)
}

func stringMember(dst []byte, name, value string) []byte {
	return rawjson.AppendString(member(dst, name, nil), value)
}

// citation reads one of Anthropic's citations.
func citation(raw []byte) *translator.Citation {
	c := &translator.Citation{Raw: raw, Start: -1, End: -1}
	var v [5]rawjson.Value
	if rawjson.Scan(raw, []string{"url", "title", "document_title", "cited_text", "source"}, v[:]) != nil {
		return c
	}
	text := func(vs ...rawjson.Value) translator.Raw {
		for _, v := range vs {
			if v.Kind() == rawjson.String {
				return v.Raw()
			}
		}
		return nil
	}
	c.URL, c.Title, c.Text = text(v[0]), text(v[1], v[2]), text(v[3])
	if s, _ := v[4].Text(); c.URL == nil && (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")) {
		c.URL = v[4].Raw() // of a search_result_location
	}
	return c
}
