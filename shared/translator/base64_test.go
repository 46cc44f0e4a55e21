package translator

import (
	"encoding/base64"
	"strings"
	"testing"
)

// An image that was no base64 once went to services that cannot read such a request.
func TestRaw_IsBase64(t *testing.T) {
	for _, c := range []struct {
		why, raw string
		want     bool
	}{
		{"whole quanta", `"aGVs"`, true},
		{"one pad", `"aGU="`, true},
		{"two pads", `"aA=="`, true},
		{"nothing is of no bytes", `""`, true},
		{"the other two signs, one escaped", `"+/\/+"`, true},
		{"lines", `"aGVs\r\nbG8h"`, true},
		{"a pad within", `"aG=k"`, false},
		{"a pad before a quantum", `"aA==aA=="`, false},
		{"three pads", `"a==="`, false},
		{"pads alone", `"===="`, false},
		{"no padding", `"aGU"`, false},
		{"the alphabet of addresses", `"a-_b"`, false},
		{"a blank", `"aGVs bG8"`, false},
		{"no string", `1234`, false},
		{"absent", ``, false},
	} {
		if got := Raw(c.raw).IsBase64(); got != c.want {
			t.Errorf("%s: %s is %v", c.why, c.raw, got)
		}
	}
}

func FuzzIsBase64(f *testing.F) {
	for _, s := range []string{"", "aGVs", "aG=k", "aA==", "a\nA=\r=", "===="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, '\ufffd') || strings.ToValidUTF8(s, "") != s {
			return
		}
		_, err := base64.StdEncoding.DecodeString(s)
		if got := Quote(s).IsBase64(); got != (err == nil) {
			t.Errorf("%q is %v, and %v", s, got, err)
		}
	})
}
