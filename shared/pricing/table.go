package pricing

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
)

// prices.csv is the list that the gateway ships. tests/prices makes it.
//
//go:embed prices.csv
var builtin []byte

// Builtin is the list that the gateway ships; its rows name their source and its day. Models that it lacks are unpriced until
// the operator gives a price. It takes some hundred microseconds: keep it.
func Builtin() *List {
	rows, err := readTable(builtin)
	if err == nil {
		var l *List
		if l, err = New(rows); err == nil {
			return l
		}
	}
	panic(err) // the file is a constant, and a test reads it
}

const (
	maxTable = 1 << 20
	columns  = 11
	header   = "model,kind,from,to,price,long,fast,search,regional,batch,source"
)

// ReadTable reads a price list in the form of prices.csv, of at most 1 MiB. A line is a price, with the columns
//
//	model     one or several names, a space between
//	kind      of the nodes it holds for, empty: any
//	from, to  days, or times as in RFC 3339; empty: open
//	price     USD for a million tokens: input/output/cache read/5-minute write/1-hour write; "?" or left out: unknown
//	long      input tokens, a colon, and the price of longer prompts
//	fast      the price of fast mode
//	search    USD for 1,000 web searches
//	regional  percentage where processing is bound to a region
//	batch     percentage in batches, empty: 50
//	source    a word, which a line "#source WORD = text" above explains, or the text itself
//
// Lines that are empty or begin with "#" are comments. The rows are checked by [New], not here.
func ReadTable(r io.Reader) ([]Row, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxTable+1))
	if err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	if len(doc) > maxTable {
		return nil, fmt.Errorf("price table: it is over %d bytes", maxTable)
	}
	return readTable(doc)
}

func readTable(doc []byte) ([]Row, error) {
	rows := make([]Row, 0, bytes.Count(doc, []byte("\n")))
	sources := make(map[string]string)
	no := 0
	for line := range strings.Lines(string(doc)) {
		no++
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "#source "); ok {
			if key, text, ok := strings.Cut(rest, " = "); ok {
				sources[key] = text
			}
			continue
		}
		if line == "" || line[0] == '#' || line == header {
			continue
		}
		models, r, ok := readLine(line)
		if !ok {
			return nil, fmt.Errorf("price table: line %d is no price; the columns are %s", no, header)
		}
		if text, ok := sources[r.Source]; ok {
			r.Source = text
		}
		for m := range strings.SplitSeq(models, " ") {
			r.Model = m
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func readLine(line string) (models string, r Row, ok bool) {
	var col [columns]string
	for i := range columns - 1 {
		if col[i], line, ok = strings.Cut(line, ","); !ok {
			return "", r, false
		}
	}
	r.Kind, r.Source = core.Kind(col[1]), line
	good := readTime(col[2], &r.From) && readTime(col[3], &r.To) && readRates(col[4], &r.Rates)
	if over, price, banded := strings.Cut(col[5], ":"); banded {
		good = good && readInt(over, &r.LongOver) && r.LongOver > 0 && readRates(price, &r.Long)
	} else if col[5] != "" {
		good = false
	}
	if col[6] != "" {
		good = good && readRates(col[6], &r.Fast)
	}
	if col[7] != "" {
		good = good && readUSD(col[7], &r.Search)
	}
	return col[0], r, good && readInt(col[8], &r.Regional) && readInt(col[9], &r.Batch)
}

func readTime(s string, t *time.Time) bool {
	if s == "" {
		return true
	}
	var err error
	if len(s) == len(time.DateOnly) {
		*t, err = time.Parse(time.DateOnly, s)
	} else {
		*t, err = time.Parse(time.RFC3339Nano, s)
	}
	*t = t.UTC()
	return err == nil && !t.IsZero()
}

func readRates(s string, r *Rates) bool {
	for i, p := range [...]*int64{&r.Input, &r.Output, &r.CacheRead, &r.Write5m, &r.Write1h} {
		var one string
		if one, s, _ = strings.Cut(s, "/"); one == "" && i > 0 || one == "?" {
			*p = Unknown
		} else if !readUSD(one, p) {
			return false
		}
	}
	return s == ""
}

func readUSD(s string, n *int64) (ok bool) {
	*n, ok = decimal([]byte(s), 6)
	return ok
}

func readInt(s string, n *int64) bool {
	if s == "" {
		return true
	}
	var err error
	*n, err = strconv.ParseInt(s, 10, 64)
	return err == nil
}

// AppendTable writes rows in the form that ReadTable reads, without the lines that explain sources: rows that differ in
// nothing but the name share a line when they follow each other.
func AppendTable(dst []byte, rows []Row) []byte {
	dst = append(dst, header+"\n"...)
	for i := 0; i < len(rows); {
		n := i + 1
		for n < len(rows) && alike(rows[i], rows[n]) {
			n++
		}
		for j, r := range rows[i:n] {
			if j > 0 {
				dst = append(dst, ' ')
			}
			dst = append(dst, r.Model...)
		}
		dst = rows[i].append(dst)
		i = n
	}
	return dst
}

func alike(a, b Row) bool {
	a.Model = b.Model
	return a == b
}

func (r *Row) append(dst []byte) []byte {
	dst = append(append(dst, ','), r.Kind...)
	dst = appendTime(append(dst, ','), r.From)
	dst = appendTime(append(dst, ','), r.To)
	dst = appendRates(append(dst, ','), &r.Rates)
	if dst = append(dst, ','); r.LongOver > 0 {
		dst = append(strconv.AppendInt(dst, r.LongOver, 10), ':')
		dst = appendRates(dst, &r.Long)
	}
	if dst = append(dst, ','); r.Fast != (Rates{}) {
		dst = appendRates(dst, &r.Fast)
	}
	if dst = append(dst, ','); r.Search > 0 {
		dst = appendUSD(dst, r.Search)
	}
	for _, n := range [...]int64{r.Regional, r.Batch} {
		if dst = append(dst, ','); n > 0 {
			dst = strconv.AppendInt(dst, n, 10)
		}
	}
	source := strings.NewReplacer("\r", " ", "\n", " ").Replace(r.Source)
	return append(append(append(dst, ','), source...), '\n')
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	if t = t.UTC(); t.Equal(t.Truncate(24 * time.Hour)) {
		return t.AppendFormat(dst, time.DateOnly)
	}
	return t.AppendFormat(dst, time.RFC3339Nano)
}

func appendRates(dst []byte, r *Rates) []byte {
	all := r.all()
	known := len(all)
	for known > 1 && all[known-1] == Unknown {
		known--
	}
	for i, n := range slices.All(all[:known]) {
		if i > 0 {
			dst = append(dst, '/')
		}
		if n == Unknown {
			dst = append(dst, '?')
		} else {
			dst = appendUSD(dst, n)
		}
	}
	return dst
}
