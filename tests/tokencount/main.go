// Command tokencount measures sluice/shared/tokencount against a tokenizer library, and makes the files that it and its tests
// are built on. It is a module of its own so that the gateway does not depend on that library, whose vocabularies are megabytes.
//
//	go run . -update        count the texts of testdata/texts anew, into testdata/counts.json
//	go run . -pieces        make pieces.txt anew from the vocabulary of cl100k_base
//	go run . FILE...        show for each file what is counted and what is estimated
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/tiktoken-go/tokenizer"

	"sluice/shared/tokencount"
)

// vocabulary is how many words cl100k_base has, without the special ones.
const vocabulary = 100_256

func main() {
	update := flag.Bool("update", false, "write counts.json anew")
	pieces := flag.Bool("pieces", false, "write pieces.txt anew")
	pkg := flag.String("package", "../../shared/tokencount", "folder of the package")
	flag.Parse()
	var err error
	switch {
	case *update:
		err = writeCounts(*pkg)
	case *pieces:
		err = writePieces(*pkg)
	default:
		err = compare(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writePieces(pkg string) error {
	enc, err := tokenizer.Get(tokenizer.Cl100kBase)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(pkg, "pieces.txt"), tokencount.Pieces(func(yield func(string) bool) {
		for i := range uint(vocabulary) {
			s, err := enc.Decode([]uint{i})
			if err == nil && utf8.ValidString(s) && !yield(s) {
				return
			}
		}
	}), 0o644)
}

func writeCounts(pkg string) error {
	files, err := filepath.Glob(filepath.Join(pkg, "testdata/texts/*.txt"))
	if err != nil {
		return err
	}
	counts := map[string]map[string]int{}
	for _, name := range []tokenizer.Encoding{tokenizer.Cl100kBase, tokenizer.O200kBase} {
		enc, err := tokenizer.Get(name)
		if err != nil {
			return err
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			n, err := enc.Count(string(text))
			if err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			key := strings.TrimSuffix(filepath.Base(f), ".txt")
			if counts[key] == nil {
				counts[key] = map[string]int{}
			}
			counts[key][string(name)] = n
		}
	}
	out, err := json.MarshalIndent(counts, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(pkg, "testdata/counts.json"), append(out, '\n'), 0o644)
}

func compare(files []string) error {
	enc, err := tokenizer.Get(tokenizer.Cl100kBase)
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		n, err := enc.Count(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		got := tokencount.Text(text)
		fmt.Printf("%8d %8d %+6.1f%% %s\n", n, got, 100*float64(got-n)/float64(max(n, 1)), f)
	}
	return nil
}
