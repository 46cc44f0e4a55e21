package adminui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed static/*.css static/*.js static/*.svg static/vendor/*.gz
var staticFiles embed.FS

// assetPath is where the console's files are, below /admin so that they reach who serves that: their names hold a hash of what
// is in them, so that browsers may keep them.
const assetPath = "/admin/assets/"

// asset is a file as it is served.
type asset struct {
	kind   string
	packed []byte // gzip
}

// assets are the console's files, by the name that they are served by.
type assets struct {
	files map[string]asset
	names map[string]string // by their own
}

var loadAssets = sync.OnceValue(readAssets)

func readAssets() *assets {
	a := &assets{files: map[string]asset{}, names: map[string]string{}}
	for _, dir := range []string{"static", "static/vendor"} {
		entries, err := staticFiles.ReadDir(dir)
		if err != nil {
			panic(err) // they are part of the program
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			data, err := staticFiles.ReadFile(path.Join(dir, e.Name()))
			if err != nil {
				panic(err)
			}
			name, packed := strings.CutSuffix(e.Name(), ".gz")
			if !packed {
				data = squeeze(data)
			}
			sum := sha256.Sum256(data)
			ext := path.Ext(name)
			hashed := strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
			a.files[hashed] = asset{kind: mimeOf(ext), packed: data}
			a.names[name] = hashed
		}
	}
	return a
}

// mimeOf does not ask the machine's tables, which may lack the type or have another one.
func mimeOf(ext string) string {
	switch ext {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(ext)
}

// path is the address of a file, below the prefix of the console.
func (a *assets) path(name string) string { return assetPath + a.names[name] }

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[strings.TrimPrefix(r.URL.Path, assetPath)]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := f.packed
	if gzipped(r) {
		h.Set("Content-Encoding", "gzip")
	} else {
		z, err := gzip.NewReader(bytes.NewReader(f.packed))
		if err == nil {
			body, err = io.ReadAll(z)
		}
		if err != nil {
			http.Error(w, "damaged file", http.StatusInternalServerError)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// gzipped reports whether the client takes gzip.
func gzipped(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}

func squeeze(data []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed+4)
	_, _ = z.Write(data) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}
