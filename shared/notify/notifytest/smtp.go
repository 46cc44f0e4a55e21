package notifytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// Mail is what the mail server took.
type Mail struct {
	From, User string // User: who logged in
	To         []string
	TLS        bool
	Data       string // as it came, dots undone
}

// SMTPOptions say what a mail server is like.
type SMTPOptions struct {
	Implicit           bool              // TLS from the first byte
	NoSTARTTLS         bool              // it is not offered
	Username, Password string            // a login that is demanded, over TLS only; "": none is
	Auth               string            // mechanisms offered; "": PLAIN
	Refuse             map[string]string // recipient, or command -> reply in its place: "450 4.2.0 greylisted"
}

// SMTP is a small mail server after RFC 5321, with STARTTLS and a certificate of its own. It is safe for concurrent use.
type SMTP struct {
	Host  string // 127.0.0.1
	Port  int
	Roots *x509.CertPool // trusts the certificate

	o     SMTPOptions
	l     net.Listener
	tls   *tls.Config
	wg    sync.WaitGroup
	mu    sync.Mutex
	mails []Mail
	conns map[net.Conn]bool
}

// NewSMTP starts a mail server on a free port of the loopback address.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	s := &SMTP{Host: "127.0.0.1", o: o, conns: make(map[net.Conn]bool)}
	if err := s.certify(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.l, s.Port = l, l.Addr().(*net.TCPAddr).Port
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(conn) })
		}
	})
	return s, nil
}

func (s *SMTP) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	s.Roots = x509.NewCertPool()
	s.Roots.AddCert(cert)
	s.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	return nil
}

// Close ends the server and every conversation.
func (s *SMTP) Close() {
	_ = s.l.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Mails returns what was taken, in order.
func (s *SMTP) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// talk is one conversation.
type talk struct {
	s      *SMTP
	conn   net.Conn
	text   *textproto.Conn
	secure bool
	mail   Mail
}

func (s *SMTP) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	t := &talk{s: s, conn: conn, secure: s.o.Implicit}
	if s.o.Implicit {
		t.conn = tls.Server(conn, s.tls)
	}
	t.text = textproto.NewConn(t.conn)
	t.say("220 mail.test ESMTP")
	for {
		line, err := t.text.ReadLine()
		if err != nil || !t.command(line) {
			return
		}
	}
}

func (t *talk) say(line string) { _ = t.text.PrintfLine("%s", line) }

// command answers one line; false ends the conversation.
func (t *talk) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if reply := t.s.o.Refuse[verb]; reply != "" {
		t.say(reply)
		return true
	}
	switch verb {
	case "EHLO":
		t.hello()
	case "STARTTLS":
		t.say("220 go ahead")
		t.conn = tls.Server(t.conn, t.s.tls)
		t.text, t.secure = textproto.NewConn(t.conn), true
	case "AUTH":
		t.auth(rest)
	case "MAIL":
		if t.s.o.Username != "" && t.mail.User == "" {
			t.say("530 5.7.0 authentication required")
			return true
		}
		t.mail.From = address(rest)
		t.say("250 ok")
	case "RCPT":
		if reply := t.s.o.Refuse[address(rest)]; reply != "" {
			t.say(reply)
			return true
		}
		t.mail.To = append(t.mail.To, address(rest))
		t.say("250 ok")
	case "DATA":
		return t.data()
	case "QUIT":
		t.say("221 bye")
		return false
	default:
		t.say("502 5.5.1 not implemented")
	}
	return true
}

func (t *talk) hello() {
	t.say("250-mail.test")
	if !t.secure && !t.s.o.NoSTARTTLS {
		t.say("250-STARTTLS")
	}
	if t.secure && t.s.o.Username != "" {
		offered := t.s.o.Auth
		if offered == "" {
			offered = "PLAIN"
		}
		t.say("250-AUTH " + offered)
	}
	t.say("250 8BITMIME")
}

func (t *talk) auth(rest string) {
	var user, password string
	switch how, initial, _ := strings.Cut(rest, " "); how {
	case "PLAIN":
		raw, _ := base64.StdEncoding.DecodeString(initial)
		if parts := strings.Split(string(raw), "\x00"); len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case "LOGIN":
		user, password = t.ask("Username:"), t.ask("Password:")
	}
	if !t.secure || user != t.s.o.Username || password != t.s.o.Password {
		t.say("535 5.7.8 authentication failed for " + password) // some repeat what they were given
		return
	}
	t.mail.User = user
	t.say("235 2.7.0 ok")
}

func (t *talk) ask(what string) string {
	t.say("334 " + base64.StdEncoding.EncodeToString([]byte(what)))
	line, _ := t.text.ReadLine()
	raw, _ := base64.StdEncoding.DecodeString(line)
	return string(raw)
}

func (t *talk) data() bool {
	if len(t.mail.To) == 0 {
		t.say("503 5.5.1 no recipient")
		return true
	}
	t.say("354 go ahead")
	raw, err := io.ReadAll(t.text.DotReader())
	if err != nil {
		return false
	}
	t.mail.Data, t.mail.TLS = string(raw), t.secure
	t.s.mu.Lock()
	t.s.mails = append(t.s.mails, t.mail)
	t.s.mu.Unlock()
	t.mail = Mail{User: t.mail.User}
	t.say("250 2.0.0 queued")
	return true
}

func address(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}
