package adminui

import (
	"embed"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/html"
)

//go:embed templates/*.html
var templateFiles embed.FS

// parseTemplates reads the templates. They say words by {{T . "key"}} of the view, or by {{T $ "key"}} within a range; they call
// no methods, but the functions of methods.
func parseTemplates(*Console) *template.Template {
	return template.Must(template.New("").Funcs(methods()).Funcs(template.FuncMap{
		"int": grouped, "int64": func(n int) string { return grouped(int64(n)) }, "money": money, "dollars": func(usd float64) string { return money(&usd) }, "percent": percent, "ms": millis, "lag": lag, "clause": clause, "tokens": tokens, "size": size, "amount": amount, "time": stamp, "json": jsonText,
		"content": func(v *view) (template.HTML, error) { // what stands in the frame: escaped by its own template
			var b strings.Builder
			err := v.c.tmpl.ExecuteTemplate(&b, v.content, v)
			return template.HTML(b.String()), err
		},
		"dict": dict,
	}).ParseFS(templateFiles, "templates/*.html"))
}

// dict makes the argument of a template of names and values.
func dict(pairs ...any) map[string]any {
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if k, ok := pairs[i].(string); ok {
			m[k] = pairs[i+1]
		}
	}
	return m
}

// grouped writes a whole number by thousands, as both languages do.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// tokens writes a count in at most four characters and a letter: 12.3k, 4.56M.
func tokens(n int64) string {
	f := float64(n)
	for _, u := range [...]struct {
		of   float64
		unit string
	}{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(f) >= u.of*0.9995 { // what three digits make a whole one of
			return strconv.FormatFloat(f/u.of, 'g', 3, 64) + u.unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// size writes bytes as tokens does.
func size(n int64) string { return strings.Replace(tokens(n), "B", "G", 1) + "B" }

// money writes dollars; what has no price is a dash, not 0.
func money(usd *float64) string {
	if usd == nil {
		return "–"
	}
	digits := 2
	switch a := math.Abs(*usd); {
	case a > 0 && a < 0.001:
		digits = 6
	case a > 0 && a < 1:
		digits = 4
	}
	return "$" + strconv.FormatFloat(*usd, 'f', digits, 64)
}

// plainNumber writes a number as forms take it.
func plainNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// percent writes a share.
func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', 1, 64) + "%" }

// millis writes a time that something took, a *float64 or a float64; what was not measured is a nil, and a dash.
func millis(took any) string {
	ms, measured := took.(float64)
	if p, ok := took.(*float64); ok && p != nil {
		ms, measured = *p, true
	}
	switch {
	case !measured:
		return "–"
	case ms < 1:
		return "<1 ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
}

// lag writes a time to the first byte, of which the API tells 0 where no byte came.
func lag(ms float64) string {
	if ms == 0 {
		return millis(nil)
	}
	return millis(ms)
}

// clause is a text that a sentence goes on after.
func clause(s string) string { return strings.TrimRight(s, ".。 ") }

// stamp marks a moment up: the browser writes it in the reader's locale and zone.
func stamp(at time.Time) template.HTML {
	if at.IsZero() {
		return "–"
	}
	utc := at.UTC()
	return template.HTML(`<time datetime="` + utc.Format(time.RFC3339) + `">` + utc.Format("2006-01-02 15:04:05") + ` UTC</time>`)
}

// jsonText is data for a script, in an attribute.
func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
