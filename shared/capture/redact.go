package capture

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Bounds of an account's rules.
const (
	MaxRules    = 20
	MaxRuleSize = 500 // bytes
	// maxProgram bounds what a rule compiles to: matching takes up to that many steps for each byte.
	maxProgram = 1000
)

const (
	mark = "[redacted]"
	// Texts are searched in pieces that overlap, so that a deadline holds: what is longer than overlap may be missed where
	// two pieces meet.
	window    = 64 << 10
	overlap   = 16 << 10
	edge      = 1 << 10
	maxWindow = 512 << 10 // of a match that fills its window
	// Slack is how much more of a body than is kept should be handed to Keep: what is cut off there may be half a secret.
	Slack = 4 << 10
	// maxSpans bounds the memory that matches take; more than that is no redaction but another text.
	maxSpans = 200_000
	// maxSegs bounds the memory that a view takes: its parts are sixteen times as large as the escapes of a body of nothing else.
	maxSegs   = 500_000
	minSecret = 8 // bytes; less is found in innocent text
)

var (
	errRules   = errors.New("the account's rules could not be applied")
	errTooMany = fmt.Errorf("%w: they match nearly everywhere", errRules)
	errEscapes = fmt.Errorf("%w: the body is nearly all escapes", errRules)
	errSlow    = fmt.Errorf("%w: redaction took too long", errRules)
)

// ruleSet are the compiled rules of an account.
type ruleSet struct {
	from  []string
	rules []rule
}

// rule is a compiled one.
type rule struct {
	re        *regexp.Regexp
	needs     []byte // a match holds this, but for the case of ASCII letters: looking for it first is much faster
	backslash bool   // it looks for escapes as they are written
}

// CheckRules reports what is wrong with an account's rules, by their place in the list.
func CheckRules(rules []string) error {
	_, err := compile(rules)
	return err
}

func compile(rules []string) (*ruleSet, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("must be at most %d patterns", MaxRules)
	}
	s := &ruleSet{from: slices.Clone(rules)}
	for i, r := range rules {
		re, err := compileOne(r)
		if err != nil {
			return nil, fmt.Errorf("pattern %d %w", i+1, err)
		}
		s.rules = append(s.rules, re)
	}
	return s, nil
}

func compileOne(r string) (u rule, err error) {
	if r == "" || len(r) > MaxRuleSize {
		return u, fmt.Errorf("must have 1 to %d bytes", MaxRuleSize)
	}
	tree, err := syntax.Parse(r, syntax.Perl)
	if err != nil {
		var e *syntax.Error
		if errors.As(err, &e) {
			return u, errors.New("is no regular expression of RE2: " + string(e.Code))
		}
		return u, errors.New("is no regular expression of RE2")
	}
	if prog, err := syntax.Compile(tree.Simplify()); err != nil || len(prog.Inst) > maxProgram {
		return u, errors.New("is too costly: use fewer or smaller repetitions")
	}
	re, err := regexp.Compile(r)
	if err != nil {
		return u, errors.New("is no regular expression of RE2")
	}
	if re.MatchString("") {
		return u, errors.New("matches the empty text, and so everywhere")
	}
	return rule{re, required(tree.Simplify()), strings.Contains(r, `\\`)}, nil
}

// span is a part of a text that is replaced: by the mark, or with more by nothing, as the rest of a match that lies in parts.
type span struct {
	from, to int
	more     bool
}

// redaction collects what must be replaced in one body.
type redaction struct {
	set     *ruleSet
	secrets []string
	emails  bool
	spans   []span
	err     error
}

// redact replaces, in both bodies, what the built-in rules, the account's rules and the secrets match, and base64 of some
// size by its length. Then it cuts them to the size that is kept.
func (e *Exchange) redact(ctx context.Context, set *ruleSet) error {
	most := e.Settings.Bytes()
	for _, b := range []struct {
		text   *[]byte
		cut    *bool
		stream bool
	}{{&e.Request, &e.RequestCut, false}, {&e.Response, &e.ResponseCut, e.Stream}} {
		raw, cut := Clip(nil, *b.text, most+Slack)
		*b.cut = *b.cut || cut
		r := &redaction{set: set, secrets: e.Secrets, emails: e.Settings.Emails}
		if err := r.run(ctx, raw, b.stream); err != nil {
			return err
		}
		keep := len(raw)
		if *b.cut {
			keep = max(0, keep-Slack)
		}
		*b.text, cut = r.replace(raw, keep, most)
		*b.cut = *b.cut || cut
		e.Redacted += len(r.spans)
	}
	return nil
}

// run finds the spans of a text, seen in all the ways that a secret may be written in it.
func (r *redaction) run(ctx context.Context, raw []byte, stream bool) error {
	plain := unescaped(&view{text: raw})
	r.view(ctx, &view{text: raw}, plain != nil)
	r.view(ctx, plain, false)
	r.view(ctx, unescaped(plain), false) // JSON in a string of JSON: arguments of tools
	if stream {
		joined := joinDeltas(raw)
		r.view(ctx, joined, false)
		r.view(ctx, unescaped(joined), false)
	}
	r.check(ctx)
	r.spans = merge(r.spans)
	return r.err
}

// view searches one view of the text; nil is none. With escapes, only rules that look for those apply: the next view has
// all the rest.
func (r *redaction) view(ctx context.Context, v *view, escapes bool) {
	if v == nil || r.err != nil {
		return
	}
	if v.full {
		r.err = errEscapes
		return
	}
	hit := func(from, to int) {
		first := true
		v.up(from, to, func(a, b int) {
			if last := len(r.spans) - 1; last >= 0 && r.spans[last].to == a && r.spans[last].more == !first {
				r.spans[last].to = b // what touches is one
			} else {
				r.spans = append(r.spans, span{a, b, !first})
			}
			first = false
		})
	}
	for _, s := range r.secrets {
		if len(s) >= minSecret {
			everywhere(v.text, s, func(at int) { hit(at, at+len(s)) })
		}
	}
	builtin(v.text, hit)
	if r.emails {
		addresses(v.text, hit)
	}
	r.check(ctx)
	var low []byte
	for i := range r.set.rules {
		if u := &r.set.rules[i]; !escapes || u.backslash {
			if low == nil {
				low = lower(v.text)
			}
			r.search(ctx, u, v.text, low, hit)
		}
	}
}

func (r *redaction) check(ctx context.Context) bool {
	switch {
	case r.err != nil:
	case ctx.Err() != nil:
		r.err = errSlow
	case len(r.spans) > maxSpans: // several rules may have found the same
		if r.spans = merge(r.spans); len(r.spans) > maxSpans/2 {
			r.err = errTooMany
		}
	}
	return r.err == nil
}

// search finds the matches of a rule a window at a time. A match at the very end of one may go on: it is looked for again from
// where it begins, and in a larger window if it fills the whole.
func (r *redaction) search(ctx context.Context, u *rule, text, low []byte, hit func(from, to int)) {
	size := window
	for p := 0; p < len(text) && r.check(ctx); {
		end := min(p+size, len(text))
		next, larger := end, window
		if end < len(text) {
			next = end - overlap
		}
		if !bytes.Contains(low[p:end], u.needs) {
			p, size = next, window
			continue
		}
		for _, m := range u.re.FindAllIndex(text[p:end], -1) {
			from, to := p+m[0], p+m[1]
			if end < len(text) && to > end-edge && (from > p || size < maxWindow) {
				if next = from; from == p {
					larger = 2 * size
				}
				break
			}
			if from < to {
				hit(from, to)
				next = max(next, to)
			}
		}
		p, size = next, larger
	}
}

// merge sorts spans and joins those that overlap or touch.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out) - 1; n >= 0 && s.from <= out[n].to {
			out[n].to = max(out[n].to, s.to)
			out[n].more = out[n].more && s.more
			continue
		}
		out = append(out, s)
	}
	return out
}

// replace returns the first keep bytes of raw with their spans replaced, at most most bytes.
func (r *redaction) replace(raw []byte, keep, most int) (out []byte, cut bool) {
	dst, at := make([]byte, 0, keep), 0
	for _, s := range r.spans {
		if s.from >= keep {
			break
		}
		dst = append(dst, raw[at:s.from]...)
		if !s.more {
			dst = append(dst, mark...)
		}
		at = s.to
	}
	if at < keep {
		dst = append(dst, raw[at:keep]...)
	}
	if len(dst) > most {
		return dst[:most], true
	}
	return dst, false
}

// everywhere calls fn for each place of a text, but not within one that was just found.
func everywhere(text []byte, what string, fn func(at int)) {
	w := []byte(what)
	for p := 0; ; {
		i := bytes.Index(text[p:], w)
		if i < 0 {
			return
		}
		fn(p + i)
		p += i + len(w)
	}
}
