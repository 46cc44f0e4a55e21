// Command prices makes shared/pricing/prices.csv anew, from reference.csv and a public price list. It is a module of its own
// so that nothing that ships depends on it.
//
//	go run . genai.json                    from what export.mjs wrote (genai-prices, of which the shipped file is made)
//	go run . model_prices_and_context_window.json    from LiteLLM's list
//
// Rows of reference.csv beat those of the list.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

// most is the largest file that the package may embed.
const most = 120_000

func main() {
	out := flag.String("out", "../../shared/pricing/prices.csv", "file to write")
	reference := flag.String("reference", "reference.csv", "rows that beat the list's")
	day := flag.String("day", time.Now().UTC().Format(time.DateOnly), "day that the list was taken, for the file")
	flag.Parse()
	if err := run(flag.Arg(0), *reference, *out, *day); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(list, reference, out, day string) error {
	if list == "" {
		return errors.New("name a price list; see the top of main.go")
	}
	doc, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	own, err := os.ReadFile(reference)
	if err != nil {
		return err
	}
	first, err := pricing.ReadTable(bytes.NewReader(own))
	if err != nil {
		return err
	}
	rows, notice, err := public(doc, day)
	if err != nil {
		return err
	}
	rows = without(rows, first)
	if _, err := pricing.New(append(slices.Clone(first), rows...)); err != nil {
		return err
	}
	file := slices.Concat([]byte(notice), []byte("#\n"), own, pricing.AppendTable(nil, grouped(rows)))
	if len(file) > most {
		return fmt.Errorf("%s would have %d bytes, more than %d", out, len(file), most)
	}
	fmt.Printf("%s: %d rows of reference.csv, %d of the list, %d bytes\n", out, len(first), len(rows), len(file))
	return os.WriteFile(out, file, 0o644)
}

const made = `# The prices that the gateway ships, as of %[1]s. Made by tests/prices (go run . FILE); do not edit by hand.
#
# NOTICE: the rows with the source "list" are a subset of the data of %[2]s.
# Copyright (c) %[3]s. They are under the MIT licence:
# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
# files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
# modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
# Software is furnished to do so, subject to the following conditions:
# The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
# WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
# COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
# ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
#
#source list = %[2]s (MIT), taken %[1]s
`

// public reads either list, and says whose it is.
func public(doc []byte, day string) ([]pricing.Row, string, error) {
	var g struct {
		Version   string
		Providers []provider
	}
	if json.Unmarshal(doc, &g) == nil && len(g.Providers) > 0 {
		notice := fmt.Sprintf(made, day, "genai-prices "+g.Version, "Pydantic Services Inc. 2025 to present")
		return genai(g.Providers), notice + "# A price that depends on the hour is the dearest of the day's.\n", nil
	}
	rows, err := pricing.Parse(bytes.NewReader(doc))
	for i := range rows {
		rows[i].Source = "list"
	}
	return rows, fmt.Sprintf(made, day, "LiteLLM's price list", "2023 Berri AI"), err
}

// without leaves out the models that the reference has, also for Bedrock, where Claude costs the same and regions a tenth more.
func without(rows, reference []pricing.Row) []pricing.Row {
	have := make(map[string]bool)
	for _, r := range reference {
		have[r.Model] = true
	}
	return slices.DeleteFunc(rows, func(r pricing.Row) bool { return have[r.Model] || odd(r.Model) })
}

// odd reports whether a model does not talk in text, or is of the first generation, whose names are ambiguous.
func odd(model string) bool {
	for _, s := range []string{"embed", "tts", "whisper", "transcribe", "realtime", "audio", "image", "moderation", "-live", "sonic", "ocr", "voxtral", "voice",
		"omni-", "davinci", "babbage", "curie", "gpt-oss", "claude-v1", "claude-2", "gemma-", "palmyra-creative", "vision"} {
		if strings.Contains(model, s) && !strings.HasPrefix(model, "openai.gpt-oss") {
			return true
		}
	}
	return model == "ada" || model == "claude"
}

// grouped sorts rows so that those which differ in nothing but the name follow each other.
func grouped(rows []pricing.Row) []pricing.Row {
	first := make(map[pricing.Row]string)
	slices.SortFunc(rows, func(a, b pricing.Row) int { return strings.Compare(a.Model, b.Model) })
	key := func(r pricing.Row) pricing.Row { // of one family, so that lines read well
		r.Model = r.Model[:strings.IndexAny(r.Model+"-", "-.0123456789")]
		return r
	}
	for _, r := range rows {
		if _, ok := first[key(r)]; !ok {
			first[key(r)] = r.Model
		}
	}
	slices.SortStableFunc(rows, func(a, b pricing.Row) int {
		if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
			return c
		}
		if c := strings.Compare(first[key(a)], first[key(b)]); c != 0 {
			return c
		}
		return a.From.Compare(b.From)
	})
	return rows
}

// kinds are the providers of genai-prices that are taken, by the kind of nodes that their rows are for.
var kinds = map[string]core.Kind{"anthropic": "", "openai": "", "google": "", "deepseek": "", "mistral": "", "x-ai": "", "moonshotai": "", "zai": "", "minimax": "",
	"aws": core.KindBedrock}
