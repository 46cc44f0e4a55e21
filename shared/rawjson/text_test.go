package rawjson

import (
	"strings"
	"testing"
)

func TestKindAndBool(t *testing.T) {
	cases := []struct {
		doc     string
		kind    Kind
		name    string
		val, ok bool
	}{
		{"null", Null, "null", false, false},
		{"true", Bool, "bool", true, true},
		{"false", Bool, "bool", false, true},
		{"-1", Number, "number", false, false},
		{"7", Number, "number", false, false},
		{`"true"`, String, "string", false, false},
		{"[true]", Array, "array", false, false},
		{"{}", Object, "object", false, false},
	}
	for _, c := range cases {
		v := value(t, c.doc)
		val, good := v.Bool()
		if v.Kind() != c.kind || v.Kind().String() != c.name || val != c.val || good != c.ok {
			t.Errorf("%s: %v, %v, %v", c.doc, v.Kind(), val, good)
		}
	}
	var zero Value
	if zero.Exists() || zero.Raw() != nil || zero.Offset() != 0 || zero.Kind() != Absent || zero.TextEquals("") {
		t.Error("the zero Value is not absent")
	}
	if _, good := zero.Text(); good {
		t.Error("the zero Value has a Text")
	}
	if Absent.String() != "absent" || Kind(99).String() != "unknown" {
		t.Error("names of kinds")
	}
}

func TestText(t *testing.T) {
	cases := []struct {
		reason, doc, text string
		ok                bool
	}{
		{"plain", `"abc"`, "abc", true},
		{"empty", `""`, "", true},
		{"all short escapes", `"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t", true},
		{"text around escapes", `"ab\ncd\te"`, "ab\ncd\te", true},
		{"hex escapes in both cases", `"\u00e9\u00E9A"`, "ééA", true},
		{"escaped NUL", `"a\u0000b"`, "a\x00b", true},
		{"surrogate pair", `"\ud83d\ude00"`, "😀", true},
		{"lone high", `"\ud83d!"`, "\uFFFD!", true},
		{"lone high at the end", `"\ud83d"`, "\uFFFD", true},
		{"lone low", `"\ude00"`, "\uFFFD", true},
		{"halves swapped", `"\ude00\ud83d"`, "\uFFFD\uFFFD", true},
		{"high then high and low", `"\ud83d\ud83d\ude00"`, "\uFFFD😀", true},
		{"high then another escape", `"\ud83d\u0041"`, "\uFFFDA", true},
		{"high then a short escape", `"\ud83d\nabcde"`, "\uFFFD\nabcde", true},
		{"high then text like an escape", `"\ud83d\\ude00"`, "\uFFFD\\ude00", true},
		{"escaped U+FFFD", `"\ufffd"`, "\uFFFD", true},
		{"not UTF-8", "\"a\xffb\"", "a\uFFFDb", true},
		{"UTF-8 cut short", "\"\xe4\xbd\"", "\uFFFD\uFFFD", true},
		{"UTF-8 cut short by an escape", "\"\xe4\xbd\\n\xa0\"", "\uFFFD\uFFFD\n\uFFFD", true},
		{"number", `1`, "", false},
		{"null", `null`, "", false},
	}
	for _, c := range cases {
		v := value(t, c.doc)
		if s, good := v.Text(); s != c.text || good != c.ok {
			t.Errorf("%s: %q, %v, want %q", c.reason, s, good, c.text)
		}
		if v.TextEquals(c.text) != c.ok {
			t.Errorf("%s: TextEquals is %v", c.reason, !c.ok)
		}
		for _, other := range []string{c.text + "x", "x" + c.text, strings.ToUpper(c.text) + "\xff"} {
			if v.TextEquals(other) {
				t.Errorf("%s: TextEquals %q", c.reason, other)
			}
		}
	}
	// Text is never anything but UTF-8, so equal bytes are not enough.
	if v := value(t, "\"a\xff\""); v.TextEquals("a\xff") {
		t.Error("TextEquals of a string that is not UTF-8")
	}
}

func TestAppendString(t *testing.T) {
	cases := []struct{ reason, in, want string }{
		{"plain", "abc", `"abc"`},
		{"empty", "", `""`},
		{"quote and backslash", `a"b\c`, `"a\"b\\c"`},
		{"slash and HTML stay", "</a&b>", `"</a&b>"`},
		{"short escapes", "\b\f\n\r\t", `"\b\f\n\r\t"`},
		{"other control characters", "\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""},
		{"UTF-8 stays", "é😀\u2028", "\"é😀\u2028\""},
		{"not UTF-8", "a\xff\xe4\xbdz", `"a\ufffd\ufffd\ufffdz"`},
		{"U+FFFD itself", "\uFFFD", "\"\uFFFD\""},
	}
	for _, c := range cases {
		if got := string(AppendString([]byte("x"), c.in)); got != "x"+c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestSplice(t *testing.T) {
	const doc = `{"model": "short", "n": 1}`
	model, _ := Find([]byte(doc), "model")
	whole, _ := Find([]byte(doc))
	cases := []struct {
		reason string
		v      Value
		repl   string
		want   string
	}{
		{"longer", model, `"much longer"`, `{"model": "much longer", "n": 1}`},
		{"shorter", model, `1`, `{"model": 1, "n": 1}`},
		{"the document itself", whole, `[]`, `[]`},
		{"absent", Value{}, `[]`, doc},
		{"of a longer document", Value{raw: []byte("12"), off: len(doc) - 1}, `[]`, doc},
	}
	for _, c := range cases {
		for _, dst := range [][]byte{nil, []byte("x"), make([]byte, 1, 100)} {
			before := string(dst)
			if got := string(Splice(dst, []byte(doc), c.v, []byte(c.repl))); got != before+c.want {
				t.Errorf("%s: %q, want %q", c.reason, got, before+c.want)
			}
		}
	}
	if dst := Splice(nil, []byte(doc), model, nil); cap(dst) > 2*len(doc) {
		t.Errorf("capacity %d for %d bytes", cap(dst), len(dst))
	}
}

// TestViews sees to it that appending to a view does not write into the document.
func TestViews(t *testing.T) {
	const in = `{"a":[1,2],"b":3}`
	doc := []byte(in)
	out := make([]Value, 1)
	if err := Scan(doc, []string{"a"}, out); err != nil {
		t.Fatal(err)
	}
	_ = append(out[0].Raw(), "XXX"...)
	_ = Members(doc, func(k, v Value) bool {
		_, _ = append(k.Raw(), "XXX"...), append(v.Raw(), "XXX"...)
		return true
	})
	_ = Elements(out[0].Raw(), func(v Value) bool {
		_ = append(v.Raw(), "XXX"...)
		return true
	})
	if string(doc) != in {
		t.Errorf("document is now %s", doc)
	}
}

func TestNoAllocations(t *testing.T) {
	out := make([]Value, len(wanted))
	small := smallBody()
	escaped := []byte(`{"\u006dodel":"a\nb","n":{"x":[1,2,{"y":17}]}}`)
	dst := make([]byte, 0, 4096)
	cases := []struct {
		reason string
		run    func() bool
	}{
		{"Scan of prose", func(doc []byte) func() bool {
			return func() bool { return Scan(doc, wanted, out) == nil && out[0].Exists() }
		}(messagesBody(prose, 64<<10))},
		{"Scan of source", func(doc []byte) func() bool {
			return func() bool { return Scan(doc, wanted, out) == nil && out[0].Exists() }
		}(messagesBody(source(64<<10), 64<<10))},
		{"Scan of a small body", func() bool { return Scan(small, wanted, out) == nil && out[0].TextEquals("claude-haiku-4-5") }},
		{"Scan with escaped names", func() bool { return Scan(escaped, wanted, out) == nil && out[0].TextEquals("a\nb") }},
		{"Find", func() bool {
			v, err := Find(small, "metadata", "user_id")
			return err == nil && v.TextEquals("u-1234567")
		}},
		{"Members, Elements, Int", func() bool {
			sum := int64(0)
			err := Members(escaped, func(k, v Value) bool {
				if !k.TextEquals("n") {
					return true
				}
				x, _ := Find(v.Raw(), "x")
				return Elements(x.Raw(), func(e Value) bool {
					n, _ := e.Int()
					sum += n
					return true
				}) == nil
			})
			return err == nil && sum == 3
		}},
		{"Valid", func() bool { return Valid(small) == nil }},
		{"Splice and AppendString", func() bool {
			v, _ := Find(small, "model")
			name := AppendString(dst[:0], "other")
			return len(Splice(dst[len(name):len(name)], small, v, name)) > 0
		}},
	}
	for _, c := range cases {
		if !c.run() {
			t.Errorf("%s: wrong result", c.reason)
		}
		if n := testing.AllocsPerRun(100, func() { c.run() }); n != 0 {
			t.Errorf("%s: %v allocations", c.reason, n)
		}
	}
}
