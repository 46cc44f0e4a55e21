package notify_test

import (
	"context"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/notify/notifytest"
)

func mailConfig(s *notifytest.SMTP, edit map[string]any) map[string]any {
	c := map[string]any{"host": s.Host, "port": s.Port, "from": "Sluice <gate@example.com>", "to": "ops@example.com, Wang <wang@example.com>"}
	for k, v := range edit {
		c[k] = v
	}
	return c
}

// checkMail reads a mail as a reader does: its headers are ours, its lines are short enough.
func checkMail(t *testing.T, m notifytest.Mail) (subject, body string) {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(m.Data))
	if err != nil {
		t.Fatalf("%v in\n%s", err, m.Data)
	}
	for name := range msg.Header {
		switch name {
		case "From", "To", "Subject", "Date", "Message-Id", "Auto-Submitted", "Mime-Version", "Content-Type", "Content-Transfer-Encoding":
		default:
			t.Errorf("header %s", name)
		}
	}
	for line := range strings.Lines(m.Data) {
		if len(line) > 998 {
			t.Errorf("a line of %d bytes", len(line))
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r >= 0x7f || r < ' ' && r != '\r' && r != '\n' }) {
			t.Errorf("not ASCII: %q", line)
		}
	}
	subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		t.Error(err)
	}
	raw, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if err != nil {
		t.Error(err)
	}
	return subject, string(raw)
}

// TestMail: a real conversation, in every way that a server may want it.
func TestMail(t *testing.T) {
	login := map[string]any{"username": "gate", "password": "p4ssw0rd-x"}
	for _, c := range []struct {
		why    string
		server notifytest.SMTPOptions
		config map[string]any
		strip  bool // the server's certificate is not trusted
		tls    bool
		failed string // what the error holds
	}{
		{why: "STARTTLS and a login", server: notifytest.SMTPOptions{Username: "gate", Password: "p4ssw0rd-x"}, config: login, tls: true},
		{why: "LOGIN, where only that is offered", server: notifytest.SMTPOptions{Username: "gate", Password: "p4ssw0rd-x", Auth: "LOGIN XOAUTH2"}, config: login, tls: true},
		{why: "TLS from the start", server: notifytest.SMTPOptions{Implicit: true, Username: "gate", Password: "p4ssw0rd-x"},
			config: map[string]any{"username": "gate", "password": "p4ssw0rd-x", "security": "tls"}, tls: true},
		{why: "STARTTLS without a login", tls: true},
		{why: "in the clear, as asked for", server: notifytest.SMTPOptions{NoSTARTTLS: true}, config: map[string]any{"security": "none"}},
		{why: "no STARTTLS is no excuse for sending in the clear", server: notifytest.SMTPOptions{NoSTARTTLS: true}, failed: "does not offer STARTTLS"},
		{why: "a certificate of nobody", strip: true, failed: "certificate is not valid"},
		{why: "a server that wants no TLS yet", config: map[string]any{"security": "tls"}, failed: "does not speak TLS"},
		{why: "a wrong password, which the server repeats", server: notifytest.SMTPOptions{Username: "gate", Password: "another-one"}, config: login, failed: "the login was refused: 535"},
		{why: "a login is demanded", server: notifytest.SMTPOptions{Username: "gate", Password: "x"}, failed: "the sender was refused: 530"},
		{why: "all recipients refused", server: notifytest.SMTPOptions{Refuse: map[string]string{"ops@example.com": "550 5.1.1 unknown", "wang@example.com": "550 5.1.1 unknown"}},
			failed: "the recipient was refused: 550"},
		{why: "the server is full", server: notifytest.SMTPOptions{Refuse: map[string]string{"DATA": "452 4.3.1 insufficient storage"}}, failed: "the mail was refused: 452"},
	} {
		t.Run(c.why, func(t *testing.T) {
			s, err := notifytest.NewSMTP(c.server)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			r := newRig(t, func(o *notify.Options) {
				if !c.strip {
					o.Roots = s.Roots
				}
			})
			ch := r.channel("a", "email", mailConfig(s, c.config))
			err = r.hub.Test(t.Context(), ch, "磁盘 full", "line one\n.line two\n.\nend")
			if c.failed != "" {
				if err == nil || !strings.Contains(err.Error(), c.failed) || strings.Contains(err.Error(), "p4ssw0rd") || strings.Contains(err.Error(), s.Host) {
					t.Errorf("error %v, want %s", err, c.failed)
				}
				if len(s.Mails()) != 0 {
					t.Error("and yet a mail came")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := s.Mails()
			if len(m) != 1 || m[0].TLS != c.tls || m[0].From != "gate@example.com" || len(m[0].To) != 2 || m[0].To[1] != "wang@example.com" {
				t.Fatalf("%+v", m)
			}
			subject, body := checkMail(t, m[0])
			if subject != "[Sluice] 磁盘 full" || !strings.Contains(body, "line one\n.line two\n.\nend\n") {
				t.Errorf("subject %q, body\n%s", subject, body)
			}
		})
	}
}

// TestMailOneRefused: one dead address does not keep the mail from the others, and nobody gets it twice.
func TestMailOneRefused(t *testing.T) {
	s, err := notifytest.NewSMTP(notifytest.SMTPOptions{Refuse: map[string]string{"ops@example.com": "550 5.1.1 unknown"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r := newRig(t, func(o *notify.Options) { o.Roots = s.Roots })
	r.channel("a", "email", mailConfig(s, nil), core.EventNodeFailed)
	r.emit(r.hub, failed("a", "node 1"))
	r.want(r.hub, "one is refused", 1, 0, 0)
	if m := s.Mails(); len(m) != 1 || len(m[0].To) != 1 {
		t.Errorf("%+v", m)
	}
}

// TestMailIDs: the Message-ID is the notice's on every try, so that readers can fold repetitions.
func TestMailIDs(t *testing.T) {
	s, err := notifytest.NewSMTP(notifytest.SMTPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r := newRig(t, func(o *notify.Options) { o.Roots = s.Roots })
	r.channel("a", "email", mailConfig(s, nil), core.EventNodeFailed)
	r.emit(r.hub, failed("a", "node 1"))
	id := r.outbox()[0].ID
	r.want(r.hub, "sent", 1, 0, 0)
	if !strings.Contains(s.Mails()[0].Data, "Message-ID: <"+id+"@gate.example>") {
		t.Errorf("no id in\n%s", s.Mails()[0].Data)
	}
}

// TestMailServerThatTalksForEver, or not at all, is left within the time of one send.
func TestMailServerThatTalksForEver(t *testing.T) {
	for _, c := range []struct {
		why  string
		talk func(net.Conn)
	}{
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"endless lines", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "220-more and more\r\n"); err != nil {
					return
				}
			}
		}},
		{"an endless line", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *notify.Options) {
					o.Now = time.Now
					o.Dial = func(context.Context, string, string) (net.Conn, error) {
						ours, theirs := net.Pipe()
						go func() {
							c.talk(theirs)
							_ = theirs.Close()
						}()
						return ours, nil
					}
				})
				ch := r.channel("a", "email", map[string]any{"host": "mail.example", "from": "a@example.com", "to": []string{"b@example.com"}})
				began := time.Now()
				if err := r.hub.Test(t.Context(), ch, "", ""); err == nil {
					t.Error("it succeeds")
				}
				if d := time.Since(began); d > 10*time.Second {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}
