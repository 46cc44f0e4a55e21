package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How a connection to a mail server is protected.
const (
	securitySTARTTLS = "starttls" // the default; a server that does not offer it is not used
	securityTLS      = "tls"      // from the first byte; the default of port 465
	securityNone     = "none"     // in the clear, never with a password
)

const (
	maxRecipients = 20
	maxTraffic    = 1 << 20 // bytes that are read of a mail server, its certificates included
)

// email is a mail by SMTP (RFC 5321) with STARTTLS (RFC 3207) or TLS from the start (RFC 8314).
type email struct {
	Host     string     `json:"host"`
	Port     int        `json:"port"`
	Security string     `json:"security"`
	Username string     `json:"username,omitempty"`
	Password string     `json:"password,omitempty"`
	From     string     `json:"from"`
	To       recipients `json:"to"`
}

// recipients are taken as a list or as one text with commas.
type recipients []string

// UnmarshalJSON implements json.Unmarshaler.
func (r *recipients) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*r = append(*r, part)
			}
		}
		return nil
	}
	if err := json.Unmarshal(b, (*[]string)(r)); err != nil {
		return &FieldError{"to", "must be a list of addresses"}
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$`)

func (s *email) validate() error {
	if s.Port == 0 {
		s.Port = 587
	}
	if s.Security == "" {
		s.Security = securitySTARTTLS
		if s.Port == 465 {
			s.Security = securityTLS
		}
	}
	_, notIP := netip.ParseAddr(s.Host)
	switch {
	case s.Host == "":
		return &FieldError{"host", "is missing"}
	case len(s.Host) > 253 || notIP != nil && !hostName.MatchString(s.Host):
		return &FieldError{"host", "is not the name or address of a host"}
	case s.Port < 1 || s.Port > 65535:
		return &FieldError{"port", "must be between 1 and 65535"}
	case s.Security != securitySTARTTLS && s.Security != securityTLS && s.Security != securityNone:
		return &FieldError{"security", "must be starttls, tls or none"}
	case s.Security == securityNone && s.Password != "":
		return &FieldError{"security", "must be starttls or tls where there is a password"}
	case s.Username == "" && s.Password != "":
		return &FieldError{"username", "is missing"}
	case s.Username != "" && s.Password == "":
		return &FieldError{"password", "is missing"}
	case len(s.Username) > 320 || strings.ContainsFunc(s.Username, isControl):
		return &FieldError{"username", "must be at most 320 bytes without control characters"}
	case len(s.Password) > maxSecret || strings.ContainsFunc(s.Password, isControl):
		return &FieldError{"password", fmt.Sprintf("must be at most %d bytes without control characters", maxSecret)}
	}
	return s.validateAddresses()
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (s *email) validateAddresses() error {
	if err := checkAddress("from", &s.From); err != nil {
		return err
	}
	if len(s.To) == 0 {
		return &FieldError{"to", "is missing"}
	}
	if len(s.To) > maxRecipients {
		return &FieldError{"to", fmt.Sprintf("has more than %d addresses", maxRecipients)}
	}
	for i := range s.To {
		if err := checkAddress("to", &s.To[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkAddress wants one address, perhaps with a name before it, and writes it in one way. The address itself is ASCII:
// others need an extension that few servers have. One that only quotes make an address ("a,b"@x) is refused: without them it
// is two in a header and a parameter more in a command, and few servers take it with them.
func checkAddress(field string, s *string) error {
	if *s == "" {
		return &FieldError{field, "is missing"}
	}
	if len(*s) > 400 || strings.ContainsFunc(*s, isControl) {
		return &FieldError{field, "holds what is not an e-mail address"}
	}
	a, err := mail.ParseAddress(*s)
	if err != nil || len(a.Address) > 320 || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) ||
		strings.ContainsAny(a.Address, "<>") {
		return &FieldError{field, "holds what is not an e-mail address"}
	}
	if plain, err := mail.ParseAddress(a.Address); err != nil || plain.Address != a.Address {
		return &FieldError{field, "holds an address that needs quotes, which mail servers do not take"}
	}
	a.Name = oneLine(a.Name, maxName)
	*s = a.Address
	if a.Name != "" {
		*s = a.String() // encoded where it must be
	}
	return nil
}

// secrets are the server and the login. The addresses are not: a server's refusal of one is of use to who wrote it.
func (s *email) secrets() []string { return []string{s.Host, s.Password} }

func (s *email) send(ctx context.Context, h *Hub, m *message) error {
	if h.o.Dial == nil {
		return temporary("sending mail is not set up")
	}
	raw, err := h.o.Dial(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return err
	}
	conn := &boundedConn{Conn: raw, left: maxTraffic}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // nobody waits for a server beyond the time of a send
	defer stop()
	c, err := s.greet(ctx, h, conn)
	if err != nil {
		return smtpFailure("the mail server", err)
	}
	return s.deliver(c, h, m)
}

// greet opens the conversation and protects it.
func (s *email) greet(ctx context.Context, h *Hub, conn net.Conn) (*smtp.Client, error) {
	config := &tls.Config{ServerName: strings.TrimSuffix(s.Host, "."), RootCAs: h.o.Roots, MinVersion: tls.VersionTLS12}
	if s.Security == securityTLS {
		t := tls.Client(conn, config)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = t
	}
	c, err := smtp.NewClient(conn, config.ServerName)
	if err != nil {
		return nil, err
	}
	if err := c.Hello(helloName(h.o.PublicURL)); err != nil {
		return nil, err
	}
	if s.Security == securitySTARTTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, permanent("the mail server does not offer STARTTLS: set security to tls (port 465), or to none where it is trusted")
		}
		if err := c.StartTLS(config); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// helloName is what the gateway calls itself.
func helloName(publicURL string) string {
	if u, err := url.Parse(publicURL); err == nil && hostName.MatchString(u.Hostname()) {
		return u.Hostname()
	}
	return "localhost"
}

// deliver hands the mail over. Recipients that the server refuses do not keep it from the others.
func (s *email) deliver(c *smtp.Client, h *Hub, m *message) error {
	if s.Password != "" {
		if err := c.Auth(s.auth(c)); err != nil {
			return smtpFailure("the login", err)
		}
	}
	if err := c.Mail(bare(s.From)); err != nil {
		return smtpFailure("the sender", err)
	}
	var refused error
	accepted := 0
	for _, to := range s.To {
		if err := c.Rcpt(bare(to)); err != nil {
			refused = err
			continue
		}
		accepted++
	}
	if accepted == 0 {
		return smtpFailure("the recipient", refused)
	}
	w, err := c.Data()
	if err != nil {
		return smtpFailure("the mail", err)
	}
	if _, err := w.Write(s.mail(m, helloName(h.o.PublicURL))); err != nil {
		return smtpFailure("the mail", err)
	}
	if err := w.Close(); err != nil {
		return smtpFailure("the mail", err)
	}
	_ = c.Quit() // it is accepted already
	return nil
}

// auth is PLAIN, or LOGIN for servers that offer only that. validate sees to it that neither is used in the clear.
func (s *email) auth(c *smtp.Client) smtp.Auth {
	_, offered := c.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	if slices.Contains(ways, "LOGIN") && !slices.Contains(ways, "PLAIN") {
		return &login{s.Username, s.Password}
	}
	return smtp.PlainAuth("", s.Username, s.Password, strings.TrimSuffix(s.Host, "."))
}

// login is the mechanism LOGIN, which was never standardised: the server asks twice, for the name and for the password.
type login struct{ username, password string }

// Start implements smtp.Auth.
func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, permanent("a password is sent over TLS only")
	}
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth.
func (l *login) Next(asked []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case strings.HasPrefix(strings.ToLower(string(asked)), "user"):
		return []byte(l.username), nil
	case strings.HasPrefix(strings.ToLower(string(asked)), "pass"):
		return []byte(l.password), nil
	}
	return nil, permanent("the mail server asks for more than a name and a password")
}

// bare is the address without the name.
func bare(s string) string {
	if a, err := mail.ParseAddress(s); err == nil {
		return a.Address
	}
	return s
}

// mail is the message of RFC 5322. Nothing in a header comes from outside without being encoded or checked.
func (s *email) mail(m *message, host string) []byte {
	var b bytes.Buffer
	header := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	header("From", s.From)
	header("To", strings.Join(s.To, ",\r\n "))
	subject := mime.QEncoding.Encode("utf-8", oneLine("[Sluice] "+m.title, maxTitle+20))
	header("Subject", strings.ReplaceAll(subject, "?= =?", "?=\r\n =?")) // encoded words come in one line, a line has its limit
	header("Date", m.now.UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+m.id+"@"+host+">") // the same on every try
	header("Auto-Submitted", "auto-generated")  // RFC 3834: holiday answers stay away
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(w, m.plain(same)+"\n")
	_ = w.Close()
	return b.Bytes()
}

// smtpFailure is a reply of the server in words: 4yz is for now, 5yz for good.
func smtpFailure(what string, err error) error {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return err
	}
	f := temporary("%s was refused: %d %s", what, reply.Code, oneLine(reply.Msg, 4*maxRefusal))
	f.permanent = reply.Code >= 500
	return f
}

// boundedConn ends a server that talks without end.
type boundedConn struct {
	net.Conn
	left int
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
