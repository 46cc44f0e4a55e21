// Command vendorui fetches the front-end packages that the console embeds, at the versions that static/vendor/SHA256SUMS.txt
// and the table below name, and stores of each what is served, compressed. `make vendor-ui` runs it; nothing else needs npm.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is a package of the npm registry.
type pkg struct {
	name, version, licence string
	licenceFile            string // in the package
	copyright              string // of a package that brings its licence (MIT) by name only
	files                  []file
}

// file is what is served under one name: the package's files one after the other.
type file struct {
	name string
	from []string
}

func packages() []pkg {
	return []pkg{
		{"@tabler/core", "1.6.1", "MIT", "", "Copyright 2018-2026 The Tabler Authors\nCopyright 2018-2026 codecalm.net Paweł Kuna\nCopyright 2011-2026 The Bootstrap Authors", []file{{"tabler.css", []string{"dist/css/tabler.min.css"}}}},
		// in one file, as htmx looks at the page in a task after its own script: an extension whose script comes later misses it
		{"htmx.org", "4.0.1", "0BSD", "LICENSE", "", []file{{"htmx.js", []string{"dist/htmx.min.js", "dist/ext/hx-sse.min.js"}}}},
		{"uplot", "1.6.32", "MIT", "LICENSE", "", []file{{"uplot.js", []string{"dist/uPlot.iife.min.js"}}, {"uplot.css", []string{"dist/uPlot.min.css"}}}},
	}
}

// mit is what the licence asks to keep with copies.
const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: vendorui DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "vendorui:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	var sums []string
	table := "| package | version | licence | files |\n| --- | --- | --- | --- |\n"
	for _, p := range packages() {
		files, err := fetch(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		var served []string
		for _, f := range p.files {
			data, err := f.read(files)
			if err != nil {
				return fmt.Errorf("%s@%s: %w", p.name, p.version, err)
			}
			sum := sha256.Sum256(data)
			sums = append(sums, hex.EncodeToString(sum[:])+"  "+f.name)
			packed, err := pack(data)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, f.name+".gz"), packed, 0o644); err != nil {
				return err
			}
			served = append(served, "`"+strings.Join(f.from, "` and `")+"` as "+f.name)
		}
		slices.Sort(served)
		table += "| " + p.name + " | " + p.version + " | " + p.licence + " | " + strings.Join(served, ", ") + " |\n"
		text, ok := files[p.licenceFile]
		if p.licenceFile == "" {
			text, ok = []byte("The MIT License (MIT)\n\n"+p.copyright+"\n\n"+mit), true
		}
		if !ok {
			return fmt.Errorf("%s@%s has no %s", p.name, p.version, p.licenceFile)
		}
		if err := os.WriteFile(filepath.Join(dir, "LICENSE."+strings.Trim(strings.ReplaceAll(p.name, "/", "-"), "@")+".txt"), text, 0o644); err != nil {
			return err
		}
	}
	slices.Sort(sums)
	readme := "What the console embeds of others, unchanged but for the lines that name source maps\nand for files that are joined. `make vendor-ui` fetches it anew;\nSHA256SUMS.txt holds the sums of the files before compression.\n\n" + table
	return errors.Join(os.WriteFile(filepath.Join(dir, "SHA256SUMS.txt"), []byte(strings.Join(sums, "\n")+"\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "README.md"), []byte(readme), 0o644))
}

// fetch has npm download the package, which checks it against the registry's own sum, and reads its files.
func fetch(p pkg) (map[string][]byte, error) {
	tmp, err := os.MkdirTemp("", "vendorui")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("npm", "pack", "--silent", "--json", p.name+"@"+p.version)
	cmd.Dir, cmd.Stderr = tmp, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var packed []struct{ Filename string }
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		return nil, fmt.Errorf("npm pack printed %q", out)
	}
	f, err := os.Open(filepath.Join(tmp, filepath.Base(packed[0].Filename)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		_, name, _ := strings.Cut(path.Clean(h.Name), "/")
		if files[name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}

// read is what is served of a package's files.
func (f file) read(files map[string][]byte) ([]byte, error) {
	var parts [][]byte
	for _, from := range f.from {
		data, ok := files[from]
		if !ok {
			return nil, fmt.Errorf("there is no %s", from)
		}
		parts = append(parts, withoutMap(data))
	}
	return bytes.Join(parts, []byte(";\n")), nil // a script may end without, and the next begin with a bracket
}

// withoutMap takes out the comment that names a source map: it is not served, and browsers ask for it.
func withoutMap(data []byte) []byte {
	var out [][]byte
	for _, line := range bytes.Split(data, []byte("\n")) {
		if !bytes.Contains(line, []byte("sourceMappingURL=")) || len(line) > 200 {
			out = append(out, line)
		}
	}
	return bytes.Join(out, []byte("\n"))
}

// pack compresses so that the same bytes always give the same bytes.
func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
