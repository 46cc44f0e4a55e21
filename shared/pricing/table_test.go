package pricing_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

func TestTable(t *testing.T) {
	rows := []pricing.Row{
		{Model: "a", Rates: pricing.Rates{Input: 1, Output: pricing.Unknown, CacheRead: 0, Write5m: pricing.Unknown, Write1h: pricing.Unknown}, Source: "one, two"},
		{Model: "b", Kind: core.KindBedrock, From: date(1, 2), To: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC), Rates: flat(1), LongOver: 5, Long: flat(2), Fast: flat(3),
			Search: 10_500_000, Regional: 110, Batch: 40, Source: "x"},
		{Model: "c", Kind: core.KindBedrock, From: date(1, 2), To: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC), Rates: flat(1), LongOver: 5, Long: flat(2), Fast: flat(3),
			Search: 10_500_000, Regional: 110, Batch: 40, Source: "x"},
	}
	doc := pricing.AppendTable(nil, rows)
	want := "model,kind,from,to,price,long,fast,search,regional,batch,source\n" +
		"a,,,,0.000001/?/0,,,,,,one, two\n" +
		"b c,bedrock,2026-01-02,2026-02-03T04:05:06.000000007Z,1/1/1/1/1,5:2/2/2/2/2,3/3/3/3/3,10.5,110,40,x\n"
	if string(doc) != want {
		t.Errorf("got\n%s\nwant\n%s", doc, want)
	}
	back, err := pricing.ReadTable(bytes.NewReader(append([]byte("# note\n#source x = a text\n\n"), doc...)))
	rows[1].Source, rows[2].Source = "a text", "a text"
	if err != nil || !slices.Equal(back, rows) {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestReadTableRefuses(t *testing.T) {
	for _, c := range []struct{ why, line string }{
		{"too few columns", "a,,,,1/2"},
		{"no price", "a,,,,,,,,,,s"},
		{"no number", "a,,,,x,,,,,,s"},
		{"less than nothing", "a,,,,-1/2,,,,,,s"},
		{"out of bounds", "a,,,,1001/2,,,,,,s"},
		{"a sixth class", "a,,,,1/2/3/4/5/6,,,,,,s"},
		{"a band without a length", "a,,,,1/2,3/4,,,,,s"},
		{"of no length", "a,,,,1/2,0:3/4,,,,,s"},
		{"no day", "a,,2026-13-01,,1/2,,,,,,s"},
		{"no percentage", "a,,,,1/2,,,,1x,,s"},
	} {
		if rows, err := pricing.ReadTable(strings.NewReader(c.line)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %+v, %v", c.why, rows, err)
		}
	}
	if _, err := pricing.ReadTable(strings.NewReader(strings.Repeat("#\n", 1<<20))); err == nil {
		t.Error("a table without end is read")
	}
}

// The shipped file is small, dated, under a licence, and holds the reference as it is.
func TestShippedFile(t *testing.T) {
	file, err := os.ReadFile("prices.csv")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := os.ReadFile("../../tests/prices/reference.csv")
	if err != nil {
		t.Fatal(err)
	}
	if len(file) > 120_000 || !bytes.Contains(file, reference) {
		t.Errorf("%d bytes, or without tests/prices/reference.csv: make it again", len(file))
	}
	for _, s := range []string{"as of 2026-", "NOTICE", "MIT licence", "Copyright (c)", "#source list = "} {
		if !bytes.Contains(file, []byte(s)) {
			t.Errorf("it does not say %q", s)
		}
	}
}

// FuzzReadTable: what is read can be written, and read again as the same.
func FuzzReadTable(f *testing.F) {
	f.Add("a b,bedrock,2026-01-02,,1/?/3,5:1/2,3/4,10,110,50,s\n#source s = t")
	f.Add("a,,,,0,,,,,,")
	f.Fuzz(func(t *testing.T, doc string) {
		rows, err := pricing.ReadTable(strings.NewReader(doc))
		if err != nil {
			return
		}
		l, err := pricing.New(rows)
		if err != nil {
			return
		}
		rows = l.Rows()
		back, err := pricing.ReadTable(bytes.NewReader(pricing.AppendTable(nil, rows)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range back { // the source is free text, in which line ends are lost
			back[i].Source, rows[i].Source = "", ""
		}
		if !slices.Equal(back, rows) {
			t.Errorf("%+v\nthen %+v", rows, back)
		}
	})
}
