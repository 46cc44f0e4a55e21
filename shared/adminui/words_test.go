package adminui

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func read(t *testing.T, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	out := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = string(data)
	}
	return out
}

var (
	keyIn    = regexp.MustCompile(`"([a-z][a-z0-9]*(?:\.[a-zA-Z0-9_%-]+)+)"`)
	holes    = regexp.MustCompile(`\{\d\}`)
	comments = regexp.MustCompile(`(?s)\{\{/\*.*?\*/\}\}`)
	actions  = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	tags     = regexp.MustCompile(`(?s)<[^>]*>`)
	shown    = regexp.MustCompile(`(?:placeholder|title|alt|aria-label|value)="([^"]*)"`)
)

// prefixed reports whether a key of the catalogue has key after a prefix that code puts before it.
func prefixed(catalogue map[string]string, key string) bool {
	for k := range catalogue {
		if strings.HasSuffix(k, "."+key) {
			return true
		}
	}
	return false
}

// actionNames are what the audit log calls something, and not shown as they are.
var actionNames = []string{"login.ok", "login.failed", "settings.update"}

// TestWords: each language has each key, with the same holes; every key that a page uses is there, and none is there in vain.
func TestWords(t *testing.T) {
	all := catalogues()
	first := all[languages[0]]
	used, pages := map[string]bool{}, map[string]bool{}
	for key := range first {
		page, _, _ := strings.Cut(key, ".")
		pages[page] = true
	}
	var prefixes []string
	for pattern, texts := range map[string]map[string]string{"templates": read(t, "templates/*.html"), "go": read(t, "*.go")} {
		for file, text := range texts {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range keyIn.FindAllStringSubmatch(text, -1) {
				key := m[1]
				page, _, _ := strings.Cut(key, ".")
				if before, _, ok := strings.Cut(key, "%"); ok {
					prefixes = append(prefixes, before)
					continue
				}
				if _, ok := first[key]; ok {
					used[key] = true
				} else if (pattern == "templates" || pages[page] && !prefixed(first, key) && !slices.Contains(actionNames, key)) && !strings.HasSuffix(key, ".html") && !strings.Contains(key, ".css") && !strings.Contains(key, ".js") && !strings.Contains(key, ".svg") {
					t.Errorf("%s: no words for %q", file, key)
				}
			}
		}
	}
	prefixes = append(prefixes, "done.") // named by Go code without it
	for key := range first {
		if !used[key] && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("nothing uses %q", key)
		}
	}
	for _, lang := range languages[1:] {
		for key, text := range first {
			other, ok := all[lang][key]
			if !ok || other == "" {
				t.Errorf("%s lacks %q", lang, key)
				continue
			}
			a, b := holes.FindAllString(text, -1), holes.FindAllString(other, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
				t.Errorf("%s: %q has other holes: %q, %q", lang, key, text, other)
			}
		}
		for key := range all[lang] {
			if _, ok := first[key]; !ok {
				t.Errorf("%s alone has %q", lang, key)
			}
		}
	}
}

// TestKeysAreRevokedInOneWord: Chinese has two words; that of links is not said of keys.
func TestKeysAreRevokedInOneWord(t *testing.T) {
	for key, text := range catalogues()["zh-CN"] {
		if (strings.Contains(key, "keys.") || strings.Contains(text, "密钥")) && strings.Contains(text, "撤销") {
			t.Errorf("%s: %s", key, text)
		}
	}
}

// TestNoWordsInTemplates: what people read comes from the catalogue, also in attributes.
func TestNoWordsInTemplates(t *testing.T) {
	letters := func(s string) bool {
		return strings.IndexFunc(strings.ReplaceAll(s, "Sluice", ""), unicode.IsLetter) >= 0
	}
	for file, text := range read(t, "templates/*.html") {
		text = actions.ReplaceAllString(comments.ReplaceAllString(text, ""), "")
		for _, m := range shown.FindAllStringSubmatch(text, -1) {
			if letters(m[1]) && m[0][:5] != "value" {
				t.Errorf("%s: %s", file, m[0])
			}
		}
		for line := range strings.Lines(tags.ReplaceAllString(text, " ")) {
			if letters(line) {
				t.Errorf("%s: %q", file, strings.TrimSpace(line))
			}
		}
	}
}

// FuzzLanguage: whatever a browser says, the language is one that there is.
func FuzzLanguage(f *testing.F) {
	for _, s := range []string{"", "zh", "zh-TW,zh;q=0.9,en;q=0.8", "de, fr", "en;q=NaN", "zh;q=1e999", ";;,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		r := requestOf("GET", "/admin")
		r.Header.Set("Accept-Language", accept)
		if l := language(r); !slices.Contains(languages[:], l) {
			t.Errorf("%q", l)
		}
	})
}

// TestOneWordForOneThing: what Chinese has two words for is called by one of them throughout.
func TestOneWordForOneThing(t *testing.T) {
	for _, c := range []struct{ why, keys, wrong, but string }{
		{"what is switched off is 停用", "", "禁用", ""},
		{"an account is 账号; AWS says the other", "", "账户", "AWS 账户"},
		{"readers are 您", "", "你", ""},
		{"bodies that are kept are 保留的正文", "", "捕获", ""},
		{"and not 留存", "", "留存", ""},
		{"an agent is no proxy", "usage.", "代理", ""},
		{"a node that failed is tried again: nobody switched it off", "settings.", "停用", ""},
		{"the operator is 运维人员", "", "运营", ""},
		{"and not 运维者", "", "运维者", ""},
		{"a credential is 凭据", "", "凭证", ""},
		{"all are 所有, but of the choice of a state", "pricing.", "全部", ""},
		{"AWS's regions are 区域", "pricing.", "地区", ""},
	} {
		for key, text := range catalogues()["zh-CN"] {
			if c.but != "" {
				text = strings.ReplaceAll(text, c.but, "")
			}
			if strings.HasPrefix(key, c.keys) && strings.Contains(text, c.wrong) {
				t.Errorf("%s: %s: %s", c.why, key, text)
			}
		}
	}
}
