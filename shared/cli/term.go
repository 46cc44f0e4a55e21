package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// file is the terminal behind a reader or writer; nil: it is none.
func file(v any) *os.File {
	f, ok := v.(*os.File)
	if !ok || f == nil || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// IsTerminal reports whether a reader or writer is a terminal.
func IsTerminal(v any) bool { return file(v) != nil }

// size is the size of a terminal in characters; 0: it is none, or does not say.
func size(v any) (width, height int) {
	f := file(v)
	if f == nil {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

const (
	keyInterrupt = 3
	keyEnd       = 4
	keyBack      = 8
	keyTab       = 9
	keyLine      = 10
	keyEnter     = 13
	keyKill      = 21
	keyEscape    = 27
	keyDelete    = 127
)

// maxSecret is the longest line that is read as a secret: refresh tokens have some kilobytes.
const maxSecret = 64 << 10

// secret reads a secret that a flag asks for: from the terminal without an echo, else the next line of standard input.
func (s *session) secret(ctx context.Context, name, given string) (string, error) {
	if given != "-" {
		return "", usageError("%s: give - and the value on standard input; in a command line, every user of this machine could read it", name)
	}
	var text string
	var err error
	if in := file(s.env.Stdin); in != nil {
		text, err = readLine(ctx, in, func() { fmt.Fprintf(s.env.Stderr, "%s (not shown): ", name) }, nil)
		fmt.Fprintln(s.env.Stderr)
	} else {
		text, err = s.nextLine()
	}
	if err != nil {
		return "", err
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", usageError("%s: nothing was given on standard input", name)
	}
	return text, nil
}

// nextLine reads one line of standard input that is no terminal.
func (s *session) nextLine() (string, error) {
	var b strings.Builder
	for b.Len() <= maxSecret {
		c, err := s.in.ReadByte()
		if errors.Is(err, io.EOF) || err == nil && c == '\n' {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		b.WriteByte(c)
	}
	return "", errors.New("the line on standard input is too long for a secret")
}

// confirm asks before something that cannot be undone.
func (s *session) confirm(ctx context.Context, question string) error {
	if s.f.yes {
		return nil
	}
	in := file(s.env.Stdin)
	if in == nil || !IsTerminal(s.env.Stderr) {
		return usageError("%s Nobody can be asked here: give --yes", question)
	}
	answer, err := readLine(ctx, in, func() { fmt.Fprintf(s.env.Stderr, "%s [y/N] ", question) }, s.env.Stderr)
	fmt.Fprintln(s.env.Stderr)
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// readLine asks and reads a line from a terminal; echo is where it is shown, nil: nowhere. The terminal is as before
// afterwards, also when ctx ends. It asks only once the terminal itself shows nothing any more: a secret that is pasted as
// soon as the question is there would be on the screen.
func readLine(ctx context.Context, in *os.File, ask func(), echo io.Writer) (line string, err error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, term.Restore(int(in.Fd()), old)) }()
	ask()
	var b []byte
	for {
		keys, err := readKeys(ctx, in)
		if err != nil {
			return "", err
		}
		for _, k := range keys {
			switch k {
			case keyInterrupt:
				return "", ErrInterrupted
			case keyLine, keyEnter, keyEnd:
				return string(b), nil
			case keyBack, keyDelete:
				b = shorter(b, echo)
			case keyKill:
				for len(b) > 0 {
					b = shorter(b, echo)
				}
			default:
				if k < ' ' || len(b) >= maxSecret {
					continue
				}
				b = append(b, k)
				if echo != nil {
					_, _ = echo.Write([]byte{k})
				}
			}
		}
	}
}

// shorter takes the last character away.
func shorter(b []byte, echo io.Writer) []byte {
	if len(b) == 0 {
		return b
	}
	n := len(b) - 1
	for n > 0 && b[n]&0xc0 == 0x80 { // the rest of a character
		n--
	}
	if echo != nil {
		_, _ = io.WriteString(echo, "\b \b")
	}
	return b[:n]
}

// screen takes a terminal for drawing: another page than the one that scrolls, no cursor, and keys as they are pressed.
// What it returns gives the terminal back; it may be called twice.
func screen(in, out *os.File) (restore func(), err error) {
	var old *term.State
	if in != nil {
		if old, err = term.MakeRaw(int(in.Fd())); err != nil {
			return nil, err
		}
	}
	_, _ = io.WriteString(out, "\x1b[?1049h\x1b[?25l")
	done := false
	return func() {
		if done {
			return
		}
		done = true
		_, _ = io.WriteString(out, "\x1b[?25h\x1b[?1049l")
		if old != nil {
			_ = term.Restore(int(in.Fd()), old)
		}
	}, nil
}
