package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// request is one request as bytes, rendered once.
type request struct {
	addr string // host:port
	data []byte
}

// api is one of the APIs that the gateway speaks, on either side.
type api int

const (
	apiMessages api = iota
	apiChat
	apiResponses
	apiAmazonQ // of nodes alone
)

// wires are what the APIs differ in, here: where requests go, the headers that
// the official SDKs send with the key last, and the last event of a stream.
var wires = [...]struct{ path, headers, last string }{
	apiMessages:  {"/v1/messages", "User-Agent: Anthropic/JS 0.70.0\r\nAnthropic-Version: 2023-06-01\r\nX-Api-Key: ", "message_stop"},
	apiChat:      {"/v1/chat/completions", "User-Agent: OpenAI/JS 6.9.0\r\nAuthorization: Bearer ", doneEvent},
	apiResponses: {"/v1/responses", "User-Agent: OpenAI/JS 6.9.0\r\nAuthorization: Bearer ", "response.completed"},
}

// newRequest renders a POST /v1/messages.
func newRequest(addr, key string, body []byte) request {
	return newRequestOf(apiMessages, addr, key, body)
}

// newRequestOf renders a request of an API with the headers that the official
// SDKs send.
func newRequestOf(a api, addr, key string, body []byte) request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\n", wires[a].path, addr)
	b.WriteString("Accept: application/json\r\nContent-Type: application/json\r\n" +
		"X-Stainless-Lang: js\r\nX-Stainless-Package-Version: 0.70.0\r\nX-Stainless-OS: Linux\r\n" +
		"X-Stainless-Arch: x64\r\nX-Stainless-Runtime: node\r\nX-Stainless-Retry-Count: 0\r\n")
	fmt.Fprintf(&b, "%s%s\r\nContent-Length: %d\r\n\r\n", wires[a].headers, key, len(body))
	b.Write(body)
	return request{addr, b.Bytes()}
}

// reply is what is kept of an answer.
type reply struct {
	Status int
	Bytes  int    // of the body, without the framing of HTTP
	Events int    // server-sent events in it
	Last   string // the last event's name; of one without a name, its data if that is the end of a chat, else "data"
}

func (r reply) String() string {
	s := fmt.Sprintf("status %d, %d bytes", r.Status, r.Bytes)
	if r.Events > 0 {
		s += fmt.Sprintf(", %d events, the last %q", r.Events, r.Last)
	}
	return s
}

// clientConn is one keep-alive connection, made for load: it parses no more of
// HTTP than the servers under test send.
type clientConn struct {
	net.Conn
	r      *bufio.Reader
	forget func() bool
	closed bool // the server said that it closes the connection
}

// dial connects; the end of ctx closes the connection and so breaks off what
// it is used for. Everything on it must be done by the deadline.
func dial(ctx context.Context, addr string, deadline time.Time, bufSize int) (*clientConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return newClientConn(ctx, c, bufSize), nil
}

func newClientConn(ctx context.Context, c net.Conn, bufSize int) *clientConn {
	return &clientConn{
		Conn:   c,
		r:      bufio.NewReaderSize(c, bufSize),
		forget: context.AfterFunc(ctx, func() { c.Close() }),
	}
}

// Close closes the connection.
func (c *clientConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// do sends the request and reads the whole answer or, if events is above 0,
// the answer until it has brought that many events; then the connection is of
// no further use.
func (c *clientConn) do(req request, events int) (reply, error) {
	if _, err := c.Write(req.data); err != nil {
		return reply{}, fmt.Errorf("send request: %w", err)
	}
	var rep reply
	length, err := c.head(&rep)
	if err != nil {
		return rep, fmt.Errorf("read head of answer: %w", err)
	}
	body := eventCounter{reply: &rep}
	if rep.Status != http.StatusOK {
		body.text = new(bytes.Buffer)
	}
	if length >= 0 {
		err = c.body(&body, length, events)
	} else {
		err = c.chunks(&body, events)
	}
	switch {
	case err != nil:
		return rep, fmt.Errorf("read answer after %d bytes and %d events: %w", rep.Bytes, rep.Events, err)
	case body.text != nil:
		return rep, fmt.Errorf("status %d: %.300s", rep.Status, body.text)
	case events > 0 && rep.Events < events:
		return rep, fmt.Errorf("the stream ended after %d events", rep.Events)
	}
	return rep, nil
}

// head reads status and headers and returns the body's length, -1 for chunks.
func (c *clientConn) head(rep *reply) (int, error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || string(line[:7]) != "HTTP/1." {
		return 0, fmt.Errorf("not a status line: %.100q", line)
	}
	if rep.Status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, chunked := -1, false
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch len(name) { // most headers are none of these: no need to compare
		case len("content-length"):
			if strings.EqualFold(string(name), "content-length") {
				if length, err = strconv.Atoi(string(value)); err != nil {
					return 0, err
				}
			}
		case len("transfer-encoding"):
			if strings.EqualFold(string(name), "transfer-encoding") {
				chunked = strings.EqualFold(string(value), "chunked")
			}
		case len("connection"):
			if strings.EqualFold(string(name), "connection") {
				c.closed = strings.EqualFold(string(value), "close")
			}
		}
	}
	if chunked {
		return -1, nil
	}
	if length < 0 {
		return 0, errors.New("neither content-length nor chunks")
	}
	return length, nil
}

// line reads one line without its end. It is valid until the next read.
func (c *clientConn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// body feeds n bytes as they come, or fewer if the wanted events are there.
func (c *clientConn) body(to *eventCounter, n, events int) error {
	for n > 0 && (events == 0 || to.Events < events) {
		if _, err := c.r.Peek(1); err != nil {
			return unexpected(err)
		}
		data, err := c.r.Peek(min(n, c.r.Buffered()))
		if err != nil {
			return unexpected(err)
		}
		to.feed(data)
		n -= len(data)
		if _, err := c.r.Discard(len(data)); err != nil {
			return err
		}
	}
	return nil
}

func (c *clientConn) chunks(to *eventCounter, events int) error {
	for {
		line, err := c.line()
		if err != nil {
			return unexpected(err)
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return fmt.Errorf("size of chunk: %w", err)
		}
		if err := c.body(to, int(n), events); err != nil {
			return err
		}
		if events > 0 && to.Events >= events {
			return nil
		}
		end, err := c.line()
		if err != nil {
			return unexpected(err)
		}
		if len(end) > 0 {
			return fmt.Errorf("trailer or bad end of chunk: %.100q", end)
		}
		if n == 0 {
			return nil
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// eventCounter counts bytes and server-sent events of a body that comes in
// pieces.
type eventCounter struct {
	*reply
	text *bytes.Buffer // if not nil, keeps the body
	line [40]byte      // the beginning of the line under way
	n    int           // its length so far
	name [40]byte      // the event's name
	size int           // of the name
}

func (e *eventCounter) feed(data []byte) {
	e.Bytes += len(data)
	if e.text != nil {
		e.text.Write(data)
	}
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		piece := data
		if i >= 0 {
			piece = data[:i]
		}
		if e.n < len(e.line) {
			copy(e.line[e.n:], piece)
		}
		e.n += len(piece)
		if i < 0 {
			return
		}
		e.endLine()
		data = data[i+1:]
	}
}

// doneEvent is the data of the event that ends a stream of chat.
const doneEvent = "[DONE]"

func (e *eventCounter) endLine() {
	const field, data = "event: ", "data: "
	line := e.line[:min(e.n, len(e.line))]
	e.n = 0
	switch {
	case len(line) > len(field) && string(line[:len(field)]) == field:
		e.size = copy(e.name[:], line[len(field):])
	case e.size == 0 && len(line) > len(data) && string(line[:len(data)]) == data: // as chat's are, without a name
		e.size = copy(e.name[:], "data")
		if string(line[len(data):]) == doneEvent {
			e.size = copy(e.name[:], doneEvent)
		}
	case len(line) == 0 && e.size > 0:
		e.Events++
		if string(e.name[:e.size]) != e.Last {
			e.Last = string(e.name[:e.size])
		}
		e.size = 0
	}
}
