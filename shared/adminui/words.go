package adminui

import (
	"embed"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

//go:embed locale/*.json
var localeFiles embed.FS

// catalogue are the words of a language, by key. {0}, {1} stand for what is told.
type catalogue map[string]string

// The languages. The first is the one that has every key.
var languages = [...]string{"en", "zh-CN"}

func catalogues() map[string]catalogue {
	out := make(map[string]catalogue, len(languages))
	for _, lang := range languages {
		data, err := localeFiles.ReadFile("locale/" + lang + ".json")
		if err != nil {
			panic(err) // it is part of the program
		}
		c := catalogue{}
		if err := json.Unmarshal(data, &c); err != nil {
			panic("locale/" + lang + ".json: " + err.Error())
		}
		out[lang] = c
	}
	return out
}

// langCookie keeps what the switch was set to.
const langCookie = "sluice_lang"

// language is the reader's: of the switch, else the first of Accept-Language that there is, else English.
func language(r *http.Request) string {
	if ck, err := r.Cookie(langCookie); err == nil {
		for _, l := range languages {
			if ck.Value == l {
				return l
			}
		}
	}
	best, bestQ := languages[0], 0.0
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64)
		}
		base, _, _ := strings.Cut(strings.ToLower(tag), "-")
		for _, l := range languages {
			if mine, _, _ := strings.Cut(strings.ToLower(l), "-"); mine == base && q > bestQ {
				best, bestQ = l, q
			}
		}
	}
	return best
}

// t are the words of a key; a key that is missing shows itself.
func (v *view) t(key string, args ...string) string {
	s, ok := v.words[key]
	if !ok {
		return key
	}
	for i, a := range args {
		s = strings.ReplaceAll(s, "{"+strconv.Itoa(i)+"}", a)
	}
	return s
}
