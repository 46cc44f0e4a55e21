package tokencount_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/tokencount"
)

// sample is a text of testdata/texts with what tokenizers count.
type sample struct {
	name, kind string
	held       bool // the weights were set without looking at it
	text       []byte
	cl100k     int
}

// allowed is the largest error of the kinds that the estimate is made for; any other may have 25 %.
const allowed, allowedElse = 0.15, 0.25

var promised = map[string]bool{"english": true, "technical": true, "chinese": true, "mixed": true, "go": true, "python": true,
	"typescript": true, "rust": true, "java": true, "shell": true, "sql": true, "html": true, "json": true, "schema": true, "markdown": true}

func samples(t testing.TB) (out []sample) {
	t.Helper()
	data, err := os.ReadFile("testdata/counts.json")
	if err != nil {
		t.Fatal(err)
	}
	var counts map[string]map[string]int
	if err := json.Unmarshal(data, &counts); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/texts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		kind, part, _ := strings.Cut(name, ".")
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		n := counts[name]["cl100k_base"]
		if n < 50 {
			t.Fatalf("%s has no count in counts.json: run the tool in tests/tokencount", name)
		}
		out = append(out, sample{name: name, kind: kind, held: part == "b", text: text, cl100k: n})
	}
	if len(out) < 30 || len(out) != len(counts) {
		t.Fatalf("%d texts, %d counts", len(out), len(counts))
	}
	return out
}

func off(got, want int) float64 { return float64(got-want) / float64(want) }

func TestTextAgainstRecordedCounts(t *testing.T) {
	sum, n := map[bool]float64{}, map[bool]float64{}
	for _, s := range samples(t) {
		got := tokencount.Text(s.text)
		e := off(got, s.cl100k)
		limit := allowedElse
		if promised[s.kind] {
			limit = allowed
		}
		t.Logf("%-14s %4d tokens, estimate %4d, %+5.1f %%", s.name, s.cl100k, got, 100*e)
		if math.Abs(e) > limit {
			t.Errorf("%s: estimate %d, counted %d: %+.1f %%, allowed are %.0f", s.name, got, s.cl100k, 100*e, 100*limit)
		}
		sum[s.held] += math.Abs(e)
		n[s.held]++
	}
	for held, total := range sum {
		mean := total / n[held]
		t.Logf("held out %v: mean error %.1f %% of %.0f samples", held, 100*mean, n[held])
		if mean > 0.06 {
			t.Errorf("held out %v: the mean error is %.1f %%", held, 100*mean)
		}
	}
}

// TestTextOfAllAtOnce joins the samples, as a long conversation would: errors of one kind must not pile up.
func TestTextOfAllAtOnce(t *testing.T) {
	var all []byte
	want := 0
	for _, s := range samples(t) {
		all, want = append(all, s.text...), want+s.cl100k
	}
	if got := tokencount.Text(all); math.Abs(off(got, want)) > 0.04 {
		t.Errorf("estimate %d, counted %d", got, want)
	}
}

func TestTextOfOddBytes(t *testing.T) {
	for _, c := range []struct {
		why, text   string
		least, most int
	}{
		{"nothing", "", 0, 0},
		{"a word", "hello", 1, 1},
		{"the space before belongs to the word", " hello", 1, 1},
		{"digits go by three", "1234567", 3, 3},
		{"the line end, the indentation, the word with the last space", "\n        return", 3, 3},
		{"white space alone", strings.Repeat(" ", 40), 1, 1},
		{"bytes that are no UTF-8", "\xff\xfe\x80\xc3", 2, 8},
		{"a character cut off", "日本\xe8\xaa", 2, 6},
		{"a word without end", strings.Repeat("z", 4000), 500, 2500},
		{"a rule of dashes", strings.Repeat("-", 64), 1, 30},
	} {
		if got := tokencount.Text([]byte(c.text)); got < c.least || got > c.most {
			t.Errorf("%s: %d, want %d to %d", c.why, got, c.least, c.most)
		}
	}
}
