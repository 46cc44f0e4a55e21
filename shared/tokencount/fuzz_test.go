package tokencount_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"sluice/shared/rawjson"
	"sluice/shared/tokencount"
)

func FuzzText(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.text)
	}
	f.Add([]byte("\xf0\x9f\x98 \xe3\x81\n\r \xc3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		text = bytes.Clone(text)[:len(text):len(text)] // reading past the end must be a panic
		n := tokencount.Text(text)
		if n < 0 || n > 4*len(text) || len(text) > 200 && n == 0 {
			t.Fatalf("%d tokens in %d bytes", n, len(text))
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"}}]}]}`))
	f.Add([]byte(`{"input":[{"type":"input_image","image_url":"data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ=="}],"tools":[{"parameters":{"a":[1,"\ud83d\ude00\u00e9\n"]}}]}`))
	f.Add([]byte(`{"system":[{"type":"text","text":"\\\"\ud800"}],"text":{"format":{"type":"json_schema"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		body = bytes.Clone(body)[:len(body):len(body)]
		before := bytes.Clone(body)
		n, err := tokencount.Request(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		object := rawjson.Valid(body) == nil && bytes.TrimLeft(body, " \t\r\n")[0] == '{'
		if (err == nil) != object {
			t.Fatalf("%v, but one JSON object: %v", err, object)
		}
		if err == nil && (n < 3 || n > 30_000*(1+len(body)/8)) {
			t.Fatalf("%d tokens in %d bytes", n, len(body))
		}
		var small bytes.Buffer
		if err == nil && json.Compact(&small, body) == nil {
			if again, err := tokencount.Request(small.Bytes()); err != nil || again != n {
				t.Fatalf("%d without white space, %d with it: %v", again, n, err)
			}
		}
	})
}

// body is a request of about size bytes that holds the samples of the wanted kinds in random order.
func body(tb testing.TB, size int, kinds ...string) []byte {
	tb.Helper()
	wanted := map[string]bool{}
	for _, k := range kinds {
		wanted[k] = true
	}
	var texts []sample
	for _, s := range samples(tb) {
		if len(kinds) == 0 || wanted[s.kind] {
			texts = append(texts, s)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	out := []byte(`{"model":"m","messages":[`)
	for len(out) < size {
		out = append(out, `{"role":"user","content":`...)
		out = append(rawjson.AppendString(out, string(texts[rng.IntN(len(texts))].text)), "},"...)
	}
	return append(out[:len(out)-1], "]}"...)
}

func benchRequest(b *testing.B, doc []byte) {
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokencount.Request(doc); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(doc)), "ns/byte")
}

func BenchmarkRequestProse1MiB(b *testing.B) {
	benchRequest(b, body(b, 1<<20, "english", "technical"))
}
func BenchmarkRequestCode1MiB(b *testing.B) {
	benchRequest(b, body(b, 1<<20, "go", "python", "typescript", "rust", "java"))
}
func BenchmarkRequestChinese1MiB(b *testing.B) { benchRequest(b, body(b, 1<<20, "chinese")) }
func BenchmarkRequestAll1MiB(b *testing.B)     { benchRequest(b, body(b, 1<<20)) }
func BenchmarkRequestSmall(b *testing.B)       { benchRequest(b, body(b, 1<<10, "english")) }

// BenchmarkTextLetters1MiB is the dearest text known: letters without sense.
func BenchmarkTextLetters1MiB(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = byte('a' + rng.IntN(26))
		if rng.IntN(20) == 0 {
			text[i] = ' '
		}
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tokencount.Text(text)
	}
}
