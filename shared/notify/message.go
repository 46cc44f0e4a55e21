package notify

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/shared/core"
)

// The longest texts, in runes. Together they fit every service but WeCom and Telegram, which cut.
const (
	maxName    = 100
	maxSubject = 200
	maxText    = 1000
	maxTitle   = 150
	maxContent = 2000 // of a test
)

// bounded is the event with texts that are safe to store and short enough to send.
func bounded(e core.Event, now time.Time) core.Event {
	e.Subject = oneLine(e.Subject, maxSubject)
	e.Node = oneLine(e.Node, maxName)
	e.Name = oneLine(e.Name, maxName)
	e.Text = oneLine(e.Text, maxText)
	e.Once = oneLine(e.Once, maxSubject)
	if e.At.IsZero() {
		e.At = now
	}
	return e
}

// message is what a channel is to tell.
type message struct {
	id      string // delivery id
	event   core.Event
	title   string
	text    string // may have several lines in a test
	gateway string // public URL, may be empty
	now     time.Time
}

func (h *Hub) message(id string, e core.Event) *message {
	m := &message{id: id, event: bounded(e, h.o.Now()), gateway: h.o.PublicURL, now: h.o.Now()}
	_, title := describe(e.Type)
	about := m.event.Name
	if about == "" {
		about = m.event.Subject
	}
	if about != "" {
		title += ": " + about
	}
	m.title, m.text = oneLine(title, maxTitle), m.event.Text
	return m
}

// lines are the message's body: the text last, so that a service with a short limit cuts that.
func (m *message) lines(escape func(string) string) []string {
	out := []string{"Event: " + escape(string(m.event.Type))}
	if m.event.Subject != "" {
		out = append(out, "Subject: "+escape(m.event.Subject))
	}
	out = append(out, "Time: "+m.event.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	if m.gateway != "" {
		out = append(out, "Gateway: "+m.gateway)
	}
	for line := range strings.Lines(m.text) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			out = append(out, escape(line))
		}
	}
	return out
}

// plain is the whole message as text without any markup.
func (m *message) plain(escape func(string) string) string {
	return escape(m.title) + "\n" + strings.Join(m.lines(escape), "\n")
}

func same(s string) string { return s }

// chatText makes a text mean nothing but itself where the service has no way to escape, or several that differ between
// its clients: signs that begin a mention, a tag, a link or markup become their full-width twins.
func chatText(s string) string { return chatTwins.Replace(s) }

var chatTwins = strings.NewReplacer("@", "＠", "<", "＜", ">", "＞", "[", "［", "]", "］", "*", "＊", "`", "｀", "#", "＃",
	"~", "～", "|", "｜", `\`, "＼")

// slackText escapes the three characters that begin Slack's markup: mentions, channels and links are all written <...>.
// https://docs.slack.dev/messaging/formatting-message-text#escaping
func slackText(s string) string { return slackEscapes.Replace(s) }

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "＊", "`", "｀")

// oneLine is s in valid UTF-8, in one line, without control characters and without those that turn the reading direction,
// of at most n runes.
func oneLine(s string, n int) string { return cutRunes(strings.Join(strings.Fields(clean(s)), " "), n) }

// someLines is oneLine for a text that may have lines.
func someLines(s string, n int) string {
	return cutRunes(strings.TrimSpace(clean(strings.ReplaceAll(s, "\r\n", "\n"))), n)
}

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\u2028' || r == '\u2029' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u200b' || r == '\ufeff':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// cutRunes keeps at most n runes; what is cut ends in an ellipsis.
func cutRunes(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	return cut(s, n, func(rune) int { return 1 })
}

// cutBytes keeps at most n bytes of whole runes.
func cutBytes(s string, n int) string { return cut(s, n, utf8.RuneLen) }

// cutUnits keeps at most n UTF-16 code units of whole runes.
func cutUnits(s string, n int) string {
	return cut(s, n, func(r rune) int {
		if r >= 0x10000 {
			return 2
		}
		return 1
	})
}

// cut keeps what costs at most n; the ellipsis counts, too.
func cut(s string, n int, cost func(rune) int) string {
	const ellipsis = '…'
	total, keep := 0, 0
	for i, r := range s {
		if total+cost(ellipsis) <= n {
			keep = i
		}
		if total += cost(r); total > n {
			return s[:keep] + string(ellipsis)
		}
	}
	return s
}

// ascii is s with every run of other characters as one "?".
func ascii(s string, n int) string {
	var b strings.Builder
	other := false
	for _, r := range s {
		if b.Len() >= n {
			break
		}
		if r >= ' ' && r < 0x7f {
			b.WriteRune(r)
			other = false
		} else if !other {
			b.WriteByte('?')
			other = true
		}
	}
	return b.String()
}
