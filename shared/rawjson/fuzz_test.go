package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

var fuzzNames = []string{"a", "model", "a\nb", "é", "", "\""}

// depth is the nesting of a valid document.
func depth(doc []byte) (deepest int) {
	at, inString := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			at++
			deepest = max(deepest, at)
		case c == '}' || c == ']':
			at--
		}
	}
	return deepest
}

// occurs counts the top-level members of that name by way of encoding/json.
func occurs(t *testing.T, doc []byte, name string) (n int) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return n
		}
		if key == name {
			n++
		}
		var skip json.RawMessage
		if dec.Decode(&skip) != nil {
			return n
		}
	}
	return n
}

func FuzzScanAgainstEncodingJSON(f *testing.F) {
	for _, c := range documents {
		if len(c.doc) < 1<<12 {
			f.Add([]byte(c.doc))
			f.Add([]byte(`{"model":` + c.doc + `,"a":[` + c.doc + `]}`))
		}
	}
	f.Add(smallBody())
	f.Add([]byte(`{"\u0061":1,"a":2}`))
	f.Add(append(AppendString([]byte(`{"a":`), source(2000)), '}'))
	f.Fuzz(func(t *testing.T, doc []byte) {
		// Tight capacity: reading past the end must be a panic here.
		doc = bytes.Clone(doc)[:len(doc):len(doc)]
		before := bytes.Clone(doc)
		valid := json.Valid(doc)
		deep := valid && depth(doc) > MaxDepth
		if err := Valid(doc); (err == nil) != (valid && !deep) {
			t.Fatalf("Valid: %v, encoding/json: %v", err, valid)
		}
		out := make([]Value, len(fuzzNames))
		err := Scan(doc, fuzzNames, out)
		if !bytes.Equal(doc, before) {
			t.Fatal("document changed")
		}
		object := valid && !deep && bytes.TrimLeft(doc, " \t\r\n")[0] == '{'
		var dup *DuplicateError
		var syn *SyntaxError
		switch {
		case errors.As(err, &dup):
			// The rest of doc is unchecked then.
			if occurs(t, doc, dup.Name) < 2 {
				t.Fatalf("%v, but it does not", err)
			}
			return
		case errors.As(err, &syn):
			if object || syn.Offset < 0 || syn.Offset > len(doc) {
				t.Fatalf("%v, but encoding/json takes it", err)
			}
			return
		case err != nil || !object:
			t.Fatalf("Scan: %v, encoding/json: %v", err, valid)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(doc, &want); err != nil {
			t.Fatal(err)
		}
		for i, name := range fuzzNames {
			raw, has := want[name]
			if has != out[i].Exists() || !bytes.Equal(raw, out[i].Raw()) {
				t.Fatalf("%q is %q, want %q", name, out[i].Raw(), raw)
			}
			if has && !bytes.HasPrefix(doc[out[i].Offset():], raw) {
				t.Fatalf("%q is not at %d", name, out[i].Offset())
			}
			found, err := Find(doc, name)
			if err != nil || found.Offset() != out[i].Offset() || !bytes.Equal(found.Raw(), raw) {
				t.Fatalf("Find %q: %q, %v", name, found.Raw(), err)
			}
		}
		members := 0
		if err := Members(doc, func(_, _ Value) bool { members++; return true }); err != nil || members < len(want) {
			t.Fatalf("Members: %d of %d, %v", members, len(want), err)
		}
	})
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte(`{"a":1,"model":"m"}`), []byte(`{"x":[]}`), "model", "")
	f.Add([]byte(`{"a":{"model":"m"}}`), []byte(`"text"`), "a", "model")
	f.Fuzz(func(t *testing.T, doc, repl []byte, one, two string) {
		if Valid(repl) != nil {
			return
		}
		path := []string{one}
		if two != "" {
			path = append(path, two)
		}
		v, err := Find(doc, path...)
		if err != nil || !v.Exists() {
			if got := Splice(nil, doc, v, repl); !bytes.Equal(got, doc) {
				t.Fatalf("%q without a value", got)
			}
			return
		}
		dst := append(make([]byte, 0, 32), "before"...)
		got := Splice(dst, doc, v, repl)
		end := v.Offset() + len(v.Raw())
		want := "before" + string(doc[:v.Offset()]) + string(repl) + string(doc[end:])
		if string(got) != want {
			t.Fatalf("%q, want %q", got, want)
		}
		if depth(doc)+depth(repl) > MaxDepth {
			return
		}
		again, err := Find(got[len("before"):], path...)
		if err != nil || !bytes.Equal(again.Raw(), bytes.Trim(repl, " \t\r\n")) {
			t.Fatalf("reads back as %q, %v", again.Raw(), err)
		}
	})
}

func FuzzTextAgainstEncodingJSON(f *testing.F) {
	for _, s := range []string{`abc`, `a\nb`, `\ud83d\ude00`, `\ud83d\ud83d\ude00`, `\ud800\n`, "\xff\\u00e9\xe4", `\ufffd`, `12345678\"`} {
		f.Add([]byte(s), "abc")
	}
	f.Add([]byte("\xff"), "\uFFFD")
	f.Fuzz(func(t *testing.T, body []byte, other string) {
		doc := append(append([]byte{'"'}, body...), '"')
		var want string
		stdErr := json.Unmarshal(doc, &want)
		v, err := Find(doc)
		if (err == nil) != (stdErr == nil) {
			t.Fatalf("%v, encoding/json: %v", err, stdErr)
		}
		if err != nil {
			return
		}
		got, good := v.Text()
		if !good || got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		if !v.TextEquals(want) || v.TextEquals(other) != (other == want) || v.TextEquals(want+"x") {
			t.Fatalf("TextEquals of %q with %q, %q", doc, want, other)
		}
		if string(body) != want && v.TextEquals(string(body)) {
			t.Fatalf("TextEquals of %q with its own spelling", doc)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "abc", "a\"b\\c", "\x00\n\x1f", "\xff\xe4\xbd", "é😀\u2028", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		doc := AppendString(nil, s)
		var want string
		if err := json.Unmarshal(doc, &want); err != nil || !utf8.Valid(doc) {
			t.Fatalf("%q: %v", doc, err)
		}
		if replaced := string([]rune(s)); want != replaced {
			t.Fatalf("%q reads as %q, want %q", doc, want, replaced)
		}
		v, err := Find(doc)
		if err != nil || !v.TextEquals(want) {
			t.Fatalf("%q: %v", doc, err)
		}
	})
}

// TestRandomDocuments joins random pieces, so that most documents are nearly
// valid, and wants the verdict of encoding/json on each, at every alignment.
func TestRandomDocuments(t *testing.T) {
	pieces := []string{"{", "}", "[", "]", ",", ":", `"`, `"`, `\`, `\n`, `\"`, `\u12aF`, `\u`, " ", "\n", "\x1f", "\x80", "\xdc",
		"#", "!", "]", "^", "a", "abcdefgh", "0123456789abcdef", "1", "-0.5e+7", "0", ".", "e", "true", "null", "fals",
		`"key":`, `"v",`, `{"a":`, `[1,`}
	rng := rand.New(rand.NewPCG(3, 4))
	valid := 0
	for range 200_000 {
		doc := []byte(`{"a":"`)
		if rng.IntN(2) == 0 {
			doc = []byte(`{"a":[`)
		}
		last := doc[len(doc)-1]
		for range rng.IntN(8) {
			doc = append(doc, pieces[rng.IntN(len(pieces))]...)
		}
		if last == '[' {
			doc = append(doc, "]}"...)
		} else {
			doc = append(doc, `"}`...)
		}
		std := json.Valid(doc)
		if err := Valid(doc); (err == nil) != std {
			t.Fatalf("%q: %v, encoding/json: %v", doc, err, std)
		}
		if std {
			valid++
		}
	}
	if valid < 10_000 {
		t.Errorf("only %d of the documents are valid, too few to tell", valid)
	}
}

// TestEveryByteAtEveryPlace tries each byte, bare and escaped, at each place of
// a string longer than the words it is read by.
func TestEveryByteAtEveryPlace(t *testing.T) {
	for _, filler := range []byte{'x', '#', '!', ' ', 0x80, 0xff, 0xdc, 0xa2, ']'} {
		for at := range 40 {
			for c := range 256 {
				doc := append(bytes.Repeat([]byte{filler}, 42), '"')
				doc[0], doc[1+at] = '"', byte(c)
				if err := Valid(doc); (err == nil) != json.Valid(doc) {
					t.Fatalf("%q: %v", doc, err)
				}
				if at > 0 {
					doc[at] = '\\'
				}
				if err := Valid(doc); (err == nil) != json.Valid(doc) {
					t.Fatalf("%q: %v", doc, err)
				}
			}
		}
	}
}
