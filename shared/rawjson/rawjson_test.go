package rawjson

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
)

// documents are single values; fault is ok for the valid ones, and at is the
// offset of the fault otherwise.
var documents = []struct {
	reason string
	doc    string
	fault  fault
	at     int
}{
	{"empty object", `{}`, ok, 0},
	{"empty array", `[]`, ok, 0},
	{"whitespace everywhere", " \t\r\n{ \"a\" : [ 1 , { } , [ ] ] , \"b\" : null } \n", ok, 0},
	{"scalars", `[true,false,null,"",0]`, ok, 0},
	{"numbers", `[0,-0,1,-10,0.5,-0.0,1e5,1E+05,2.5e-3,123456789012345678901234567890]`, ok, 0},
	{"all escapes", `"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00"`, ok, 0},
	{"lone surrogates are grammatical", `"\ud800 \udc00"`, ok, 0},
	{"bytes that are not UTF-8 pass", "\"\xff\xc0\x80\"", ok, 0},
	{"DEL is no control character", "\"\x7f\"", ok, 0},
	{"string of exactly a word", `"12345678"`, ok, 0},
	{"escape across a word", `"1234567\n12345678"`, ok, 0},
	{"high bytes beside special ones", "\"\xdc\\\\\xa2\xa0\x80\"", ok, 0},
	{"deepest nesting", nest(MaxDepth), ok, 0},
	{"deepest nesting of objects", strings.Repeat(`{"a":`, MaxDepth-1) + "{}" + strings.Repeat(`}`, MaxDepth-1), ok, 0},
	{"wide is not deep", "[" + strings.Repeat("[],{},", 2000) + "1]", ok, 0},

	{"nothing", "", faultEnd, 0},
	{"whitespace alone", " \n", faultEnd, 2},
	{"byte order mark", "\uFEFF{}", faultBOM, 0},
	{"other whitespace", "\u00a0{}", faultValue, 0},
	{"form feed is no whitespace", "\f{}", faultValue, 0},
	{"too deep by one", nest(MaxDepth + 1), faultDepth, MaxDepth},
	{"too deep by far", strings.Repeat("[", 1<<20), faultDepth, MaxDepth},
	{"two values", `{} {}`, faultTrailing, 3},
	{"closing bracket after", `{}}`, faultTrailing, 2},
	{"NUL after", "{}\x00", faultTrailing, 2},
	{"comment", `{}//`, faultTrailing, 2},
	{"open object", `{`, faultEnd, 1},
	{"open array", `[`, faultEnd, 1},
	{"open after value", `[1`, faultEnd, 2},
	{"open after comma", `[1,`, faultEnd, 3},
	{"open after name", `{"a"`, faultEnd, 4},
	{"open after colon", `{"a":`, faultEnd, 5},
	{"open after member", `{"a":1`, faultEnd, 6},
	{"open after member's comma", `{"a":1,`, faultEnd, 7},
	{"trailing comma in array", `[1,]`, faultValue, 3},
	{"trailing comma in object", `{"a":1,}`, faultKey, 7},
	{"leading comma", `[,1]`, faultValue, 1},
	{"double comma", `[1,,2]`, faultValue, 3},
	{"missing comma", `[1 2]`, faultComma, 3},
	{"missing comma in object", `{"a":1 "b":2}`, faultComma, 7},
	{"missing colon", `{"a" 1}`, faultColon, 5},
	{"equals for colon", `{"a"=1}`, faultColon, 4},
	{"no value", `{"a":}`, faultValue, 5},
	{"bare name", `{a:1}`, faultKey, 1},
	{"single quotes", `{'a':1}`, faultKey, 1},
	{"number as a name", `{1:1}`, faultKey, 1},
	{"brackets crossed", `[{]}`, faultKey, 2},
	{"object closed as an array", `{"a":1]`, faultComma, 6},
	{"array closed as an object", `[1}`, faultComma, 2},
	{"inner brackets crossed", `[[1},2]`, faultComma, 3},
	{"leading zero", `[01]`, faultComma, 2},
	{"plus sign", `+1`, faultValue, 0},
	{"minus alone", `[-]`, faultNumber, 2},
	{"minus at the end", `-`, faultNumber, 1},
	{"no digit before the point", `.5`, faultValue, 0},
	{"no digit after the point", `[1.]`, faultNumber, 3},
	{"no digit in the exponent", `1e`, faultNumber, 2},
	{"sign alone in the exponent", `1e+`, faultNumber, 3},
	{"hexadecimal", `0x10`, faultTrailing, 1},
	{"NaN", `NaN`, faultValue, 0},
	{"Infinity", `-Infinity`, faultNumber, 1},
	{"cut literal", `tru`, faultValue, 0},
	{"wrong case", `True`, faultValue, 0},
	{"literal run on", `nullx`, faultTrailing, 4},
	{"wrong literal", `[falsy]`, faultValue, 1},
	{"open string", `"abc`, faultEnd, 4},
	{"long open string", `"` + strings.Repeat("x", 100), faultEnd, 101},
	{"open string after escape", `"\n`, faultEnd, 3},
	{"escape cut", `"\`, faultEnd, 2},
	{"closing quote escaped", `"\"`, faultEnd, 3},
	{"unknown escape", `"\x41"`, faultEscape, 1},
	{"escaped newline", "\"\\\n\"", faultEscape, 1},
	{"upper case escape", `"\N"`, faultEscape, 1},
	{"bad first hex digit", `"\ug000"`, faultHex, 3},
	{"bad last hex digit", `"\u000g"`, faultHex, 6},
	{"hex digits cut by the quote", `"\u00"`, faultHex, 5},
	{"hex digits cut by the end", `"\u00`, faultEnd, 5},
	{"newline in a string", "\"a\nb\"", faultControl, 2},
	{"NUL in a string", "\"\x00\"", faultControl, 1},
	{"0x1f in a long string", `"` + strings.Repeat("x", 37) + "\x1f" + strings.Repeat("x", 37) + `"`, faultControl, 38},
	{"tab in a name", "{\"a\tb\":1}", faultControl, 3},
	{"bad inner name", "{\"a\":{\"\\q\":1}}", faultEscape, 7},
	{"bad inner name after a comma", "{\"a\":{\"b\":1,\"\\q\":1}}", faultEscape, 13},
}

func nest(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// wantFault fails unless err is the SyntaxError of f at i, or nil for ok.
func wantFault(t *testing.T, what, reason string, err error, f fault, i int) {
	t.Helper()
	if f == ok {
		if err != nil {
			t.Errorf("%s: %s: %v", what, reason, err)
		}
		return
	}
	var syn *SyntaxError
	if !errors.As(err, &syn) || syn.Msg != f.message() || syn.Offset != i {
		t.Errorf("%s: %s: %v, want %s at %d", what, reason, err, f.message(), i)
	}
}

func TestValid(t *testing.T) {
	for _, c := range documents {
		wantFault(t, "Valid", c.reason, Valid([]byte(c.doc)), c.fault, c.at)
		// The table itself must say what the standard library says, but for
		// the depth.
		if c.fault != faultDepth && json.Valid([]byte(c.doc)) != (c.fault == ok) {
			t.Errorf("%s: encoding/json does not agree", c.reason)
		}
	}
}

// TestInside puts the documents where the other walks meet them: as a member,
// an element and behind a path.
func TestInside(t *testing.T) {
	const before, after = `{"x":`, `,"y":1}`
	names, out := []string{"x", "y"}, make([]Value, 2)
	for _, c := range documents {
		switch {
		case c.fault == faultEnd, c.fault == faultTrailing, c.fault == faultBOM, c.reason == "form feed is no whitespace":
			continue // these mean something else with bytes after them
		case c.reason == "minus at the end", c.reason == "no digit in the exponent", c.reason == "sign alone in the exponent":
		case strings.HasPrefix(c.reason, "deepest"):
			c.fault, c.at = faultDepth, strings.LastIndexAny(c.doc, "[{")
		case c.fault == faultDepth:
			c.at--
		}
		doc := []byte(before + c.doc + after)
		at := c.at + len(before)
		wantFault(t, "Scan", c.reason, Scan(doc, names, out), c.fault, at)
		if c.fault != ok && (out[0].Exists() || out[1].Exists()) {
			t.Errorf("%s: values beside the error", c.reason)
		}
		if c.fault == ok && string(out[0].Raw()) != strings.Trim(c.doc, " \t\r\n") {
			t.Errorf("%s: Scan found %q", c.reason, out[0].Raw())
		}
		_, err := Find(doc, "x", "none")
		wantFault(t, "Find", c.reason, err, c.fault, at)
		wantFault(t, "Members", c.reason, Members(doc, func(_, _ Value) bool { return true }), c.fault, at)
		doc = []byte("[0, " + c.doc + ",1]")
		wantFault(t, "Elements", c.reason, Elements(doc, func(Value) bool { return true }), c.fault, c.at+4)
	}
}

func TestScan(t *testing.T) {
	names := []string{"model", "a\nb", "é", ""}
	cases := []struct {
		reason string
		doc    string
		values [4]string // raw, by name
		err    string
	}{
		{"no member", `{}`, [4]string{}, ""},
		{"plain", `{"model":"m","other":1,"":[]}`, [4]string{`"m"`, "", "", "[]"}, ""},
		{"null is a value", `{"model":null}`, [4]string{"null"}, ""},
		{"whitespace is not part of it", "{ \"model\" :\n {\"a\" : 1}\t}", [4]string{`{"a" : 1}`}, ""},
		{"escaped name", `{"\u006dodel":1,"a\nb":2,"\u00E9":3}`, [4]string{"1", "2", "3", ""}, ""},
		{"name in UTF-8", `{"é":3}`, [4]string{2: "3"}, ""},
		{"inner members are not top-level ones", `{"x":{"model":1},"y":[{"model":2}]}`, [4]string{}, ""},
		{"names differ by case", `{"Model":1}`, [4]string{}, ""},
		{"prefix and extension", `{"mode":1,"models":2}`, [4]string{}, ""},
		{"twice", `{"model":1,"model":1}`, [4]string{}, `JSON member "model" occurs twice`},
		{"twice, once escaped", `{"model":1,"mod\u0065l":2}`, [4]string{}, `JSON member "model" occurs twice`},
		{"empty name twice", `{"":1,"":2}`, [4]string{}, `JSON member "" occurs twice`},
		{"an unwanted one twice", `{"x":1,"x":2}`, [4]string{}, ""},
		{"array", ` [1]`, [4]string{}, "invalid JSON at byte 1: want an object"},
		{"string", `"model"`, [4]string{}, "invalid JSON at byte 0: want an object"},
		{"fault after the values", `{"model":1}x`, [4]string{}, "invalid JSON at byte 11: data after the value"},
		{"byte order mark", "\uFEFF{}", [4]string{}, "invalid JSON at byte 0: byte order mark"},
		{"nothing", "", [4]string{}, "invalid JSON at byte 0: unexpected end"},
	}
	out := make([]Value, len(names))
	for _, c := range cases {
		err := Scan([]byte(c.doc), names, out)
		if msg := errText(err); msg != c.err {
			t.Errorf("%s: error %q, want %q", c.reason, msg, c.err)
		}
		for i, v := range out {
			if string(v.Raw()) != c.values[i] || v.Exists() != (c.values[i] != "") {
				t.Errorf("%s: %q is %q, want %q", c.reason, names[i], v.Raw(), c.values[i])
			}
			if v.Exists() && !strings.HasPrefix(c.doc[v.Offset():], string(v.Raw())) {
				t.Errorf("%s: %q is not at %d", c.reason, names[i], v.Offset())
			}
		}
	}
	var dup *DuplicateError
	if err := Scan([]byte(`{"a":1,"a":2}`), []string{"a"}, out[:1]); !errors.As(err, &dup) || dup.Name != "a" {
		t.Errorf("duplicate gives %v", err)
	}
	if err := Scan([]byte(`{}`), names, out[:1]); err != errLengths {
		t.Errorf("lengths that differ give %v", err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMembersAndElements(t *testing.T) {
	cases := []struct {
		reason string
		doc    string
		stop   int // calls after which fn returns false
		seen   string
		err    string
	}{
		{"all members", `{"a":1, "b" : [2] ,"a":{}}`, 9, `"a"=1@5 "b"=[2]@14 "a"={}@23 `, ""},
		{"no members", ` { } `, 9, "", ""},
		{"stops before a fault", `{"a":1,"b":2,`, 2, `"a"=1@5 "b"=2@11 `, ""},
		{"fault after members", `{"a":1,"b":`, 9, `"a"=1@5 `, "invalid JSON at byte 11: unexpected end"},
		{"trailing bytes", `{"a":1}{`, 9, `"a"=1@5 `, "invalid JSON at byte 7: data after the value"},
		{"all elements", ` [1, "x" ,[]]`, 9, `1@2 "x"@5 []@10 `, ""},
		{"no elements", `[ ]`, 9, "", ""},
		{"elements stop before a fault", `[1,2,`, 2, "1@1 2@3 ", ""},
		{"fault after elements", `[1,`, 9, "1@1 ", "invalid JSON at byte 3: unexpected end"},
		{"elements and trailing bytes", `[1]]`, 9, "1@1 ", "invalid JSON at byte 3: data after the value"},
	}
	for _, c := range cases {
		seen, left := "", c.stop
		note := func(v Value) bool {
			seen += string(v.Raw()) + "@" + strconv.Itoa(v.Offset()) + " "
			left--
			return left > 0
		}
		var err error
		if strings.Contains(c.doc, "{") {
			err = Members([]byte(c.doc), func(k, v Value) bool {
				seen += string(k.Raw()) + "="
				return note(v)
			})
		} else {
			err = Elements([]byte(c.doc), note)
		}
		if seen != c.seen || errText(err) != c.err {
			t.Errorf("%s: saw %q, %v, want %q, %q", c.reason, seen, err, c.seen, c.err)
		}
	}
	if err := Members([]byte(`[]`), nil); errText(err) != "invalid JSON at byte 0: want an object" {
		t.Error(err)
	}
	if err := Elements([]byte(`{}`), nil); errText(err) != "invalid JSON at byte 0: want an array" {
		t.Error(err)
	}
	if err := Elements(nil, nil); errText(err) != "invalid JSON at byte 0: unexpected end" {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	const doc = ` {"message":{"usage":{"input_tokens":12,"n":null},"list":[{"a":1}]},"a\tb":{"":true},` +
		`"twice":{"a":1,"a":2},"a":"text"}`
	cases := []struct {
		reason string
		doc    string
		path   []string
		raw    string
		err    string
	}{
		{"three levels", doc, []string{"message", "usage", "input_tokens"}, "12", ""},
		{"null is found", doc, []string{"message", "usage", "n"}, "null", ""},
		{"an object", doc, []string{"message", "usage"}, `{"input_tokens":12,"n":null}`, ""},
		{"escaped and empty names", doc, []string{"a\tb", ""}, "true", ""},
		{"missing at the end", doc, []string{"message", "usage", "x"}, "", ""},
		{"missing on the way", doc, []string{"message", "x", "y"}, "", ""},
		{"null on the way", doc, []string{"message", "usage", "n", "x"}, "", ""},
		{"array on the way", doc, []string{"message", "list", "a"}, "", ""},
		{"string on the way", doc, []string{"a", "b"}, "", ""},
		{"no path", ` [1] `, nil, "[1]", ""},
		{"path into an array", `[1]`, []string{"a"}, "", ""},
		{"path into a scalar", `7`, []string{"a"}, "", ""},
		{"twice on the path", doc, []string{"twice", "a"}, "", `JSON member "a" occurs twice`},
		{"twice off the path", doc, []string{"twice", "b"}, "", ""},
		{"fault behind the value", `{"a":1,"b":tru}`, []string{"a"}, "", "invalid JSON at byte 11: want a value"},
		{"trailing bytes", `{"a":1}]`, []string{"a"}, "", "invalid JSON at byte 7: data after the value"},
		{"trailing bytes and nothing found", `[1]]`, []string{"a"}, "", "invalid JSON at byte 3: data after the value"},
		{"nothing", ``, []string{"a"}, "", "invalid JSON at byte 0: unexpected end"},
	}
	for _, c := range cases {
		v, err := Find([]byte(c.doc), c.path...)
		if string(v.Raw()) != c.raw || errText(err) != c.err {
			t.Errorf("%s: %q, %v, want %q, %q", c.reason, v.Raw(), err, c.raw, c.err)
		}
		if v.Exists() && !strings.HasPrefix(c.doc[v.Offset():], c.raw) {
			t.Errorf("%s: not at %d", c.reason, v.Offset())
		}
	}
}

func TestInt(t *testing.T) {
	cases := []struct {
		reason, doc string
		n           int64
		ok          bool
	}{
		{"zero", "0", 0, true},
		{"minus zero", "-0", 0, true},
		{"plain", "4096", 4096, true},
		{"largest", "9223372036854775807", math.MaxInt64, true},
		{"smallest", "-9223372036854775808", math.MinInt64, true},
		{"over by one", "9223372036854775808", 0, false},
		{"under by one", "-9223372036854775809", 0, false},
		{"wraps 64 bits", "18446744073709551617", 0, false},
		{"far over", "99999999999999999999999999", 0, false},
		{"fraction", "1.0", 0, false},
		{"exponent", "1e3", 0, false},
		{"string", `"1"`, 0, false},
		{"null", "null", 0, false},
	}
	for _, c := range cases {
		if n, good := value(t, c.doc).Int(); n != c.n || good != c.ok {
			t.Errorf("%s: %d, %v, want %d, %v", c.reason, n, good, c.n, c.ok)
		}
	}
	if _, good := (Value{}).Int(); good {
		t.Error("the zero Value has an Int")
	}
}

func value(t *testing.T, doc string) Value {
	t.Helper()
	v, err := Find([]byte(doc))
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return v
}
