package adminui

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	maxMessage = 1 << 10 // bytes of a message that is looked up; the gateway's own are far shorter
	maxNested  = 3       // messages within messages
)

// translate tells a message of the gateway, such as an API's error or why a node failed, in the reader's language. What is
// not known, such as what an upstream said, stays as it is, and so do the values in a message.
func translate(lang, message string) string {
	b := phrasebookOf(lang)
	if b == nil || len(message) > maxMessage {
		return message
	}
	return b.say(message, 0)
}

// phrasebookOf returns nil for the language that the gateway itself speaks.
func phrasebookOf(lang string) *phrasebook {
	if lang == "zh-CN" {
		return chinese()
	}
	return nil
}

// chinese takes milliseconds to compile, which nobody spends who reads English.
var chinese = sync.OnceValue(func() *phrasebook { return newPhrasebook("zh-CN") })

// phrasebook are the messages of a language. The files have them as formats: %s and %q stand for a value, %d for a number,
// %v for what is a message itself.
type phrasebook struct {
	exact   map[string]string
	phrases []phrase // those that say most first
}

// phrase is a message that has something in it.
type phrase struct {
	longest string // text of it: most messages lack it
	size    int    // of all its text
	match   *regexp.Regexp
	verbs   []byte // in the order of the match
	texts   []string
	args    []int // the one that follows each of the texts but the last
}

func newPhrasebook(lang string) *phrasebook {
	data, err := localeFiles.ReadFile("locale/messages." + lang + ".json")
	if err != nil {
		panic(err) // it is part of the program
	}
	var formats map[string]string
	if err := json.Unmarshal(data, &formats); err != nil {
		panic("locale/messages." + lang + ".json: " + err.Error())
	}
	b := &phrasebook{exact: make(map[string]string, len(formats))}
	for from, to := range formats {
		texts, verbs, _ := cutFormat(from)
		said, _, args := cutFormat(to)
		if len(verbs) == 0 {
			b.exact[texts[0]] = said[0]
			continue
		}
		b.phrases = append(b.phrases, newPhrase(texts, verbs, said, args))
	}
	slices.SortFunc(b.phrases, func(x, y phrase) int {
		return cmp.Or(y.size-x.size, strings.Compare(x.match.String(), y.match.String()))
	})
	return b
}

func newPhrase(texts []string, verbs []byte, said []string, args []int) phrase {
	p := phrase{verbs: verbs, texts: said, args: args}
	var re strings.Builder
	re.WriteString(`(?s)^`)
	for i, text := range texts {
		p.size += len(text)
		if len(text) > len(p.longest) {
			p.longest = text
		}
		re.WriteString(regexp.QuoteMeta(text))
		if i < len(verbs) {
			re.WriteString(map[byte]string{'d': `(-?[0-9]+)`, 'q': `(".*?")`}[verbs[i]])
			if verbs[i] == 's' || verbs[i] == 'v' {
				re.WriteString(`(.*?)`)
			}
		}
	}
	re.WriteString(`$`)
	p.match = regexp.MustCompile(re.String())
	return p
}

var formatVerb = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`%(?:\[([1-9])\])?([sqdv])`) })

// cutFormat returns the texts around the verbs of a format, the verbs, and which argument each is for.
func cutFormat(format string) (texts []string, verbs []byte, args []int) {
	plain := func(s string) string { return strings.ReplaceAll(s, "%%", "%") }
	end := 0
	for _, m := range formatVerb().FindAllStringSubmatchIndex(format, -1) {
		texts, verbs = append(texts, plain(format[end:m[0]])), append(verbs, format[m[4]])
		at := len(args)
		if m[2] >= 0 {
			at, _ = strconv.Atoi(format[m[2]:m[3]])
			at--
		}
		args, end = append(args, at), m[1]
	}
	return append(texts, plain(format[end:])), verbs, args
}

func (b *phrasebook) say(message string, depth int) string {
	if said, ok := b.exact[message]; ok {
		return said
	}
	if depth > maxNested {
		return message
	}
	for i := range b.phrases {
		if said, ok := b.phrases[i].say(b, message, depth); ok {
			return said
		}
	}
	// "field: what is wrong with it"
	if field, rest, ok := strings.Cut(message, ": "); ok && field != "" && !strings.ContainsAny(field, " ,") {
		return field + ": " + b.say(rest, depth+1)
	}
	return message
}

func (p *phrase) say(b *phrasebook, message string, depth int) (string, bool) {
	if !strings.Contains(message, p.longest) {
		return "", false
	}
	found := p.match.FindStringSubmatch(message)
	if found == nil {
		return "", false
	}
	var out strings.Builder
	for i, text := range p.texts {
		out.WriteString(text)
		if i == len(p.args) {
			break
		}
		value := found[1+p.args[i]]
		if p.verbs[p.args[i]] == 'v' {
			value = b.say(value, depth+1)
		}
		out.WriteString(value)
	}
	return out.String(), true
}
