package tokencount_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"strings"
	"testing"

	"sluice/shared/tokencount"
)

func request(t testing.TB, body string) int {
	t.Helper()
	n, err := tokencount.Request([]byte(body))
	if err != nil {
		t.Fatalf("%.200s: %v", body, err)
	}
	return n
}

func quote(t testing.TB, s string) string {
	t.Helper()
	out, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// escaped writes every character as \uXXXX.
func escaped(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		if r > 0xffff {
			r -= 0x10000
			out.WriteString(`\u` + hex4(0xd800+r>>10) + `\u` + hex4(0xdc00+r&0x3ff))
			continue
		}
		out.WriteString(`\u` + hex4(r))
	}
	return out.String() + `"`
}

func hex4(r rune) string {
	const digits = "0123456789aBcDeF"
	return string([]byte{digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15]})
}

// TestRequestInEachDialect sends each sample as the text of a message: it counts as the text does, however it is escaped.
func TestRequestInEachDialect(t *testing.T) {
	for _, s := range samples(t) {
		want := tokencount.Text(s.text)
		plain, uni := quote(t, string(s.text)), escaped(string(s.text))
		for _, c := range []struct{ name, body string }{
			{"Messages", `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":` + plain + `}]}`},
			{"blocks", `{"messages" : [ {"content" : [ {"text" : ` + plain + `, "type":"text","cache_control":{"type":"ephemeral","ttl":"1h"}} ], "role":"user"} ] }`},
			{"chat, \\u", `{"messages":[{"role":"user","content":` + uni + `}]}`},
			{"Responses", `{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":` + plain + `}]}]}`},
			{"tool result", `{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_0123456789abcdef","content":[{"type":"text","text":` + plain + `}]}]}]}`},
		} {
			if got := request(t, c.body) - 7; got < want-1 || got > want+1+want/50 {
				t.Errorf("%s as %s: %d, want %d", s.name, c.name, got, want)
			}
		}
		if got := request(t, `{"input":`+plain+`,"metadata":{"user_id":`+plain+`}}`) - 3; got != want && got != want+1 {
			t.Errorf("%s as a string: %d, want %d", s.name, got, want)
		}
	}
}

// TestRequestOfToolSchema compares a definition with what a tokenizer counts of its JSON, pretty-printed or not.
func TestRequestOfToolSchema(t *testing.T) {
	for _, s := range samples(t) {
		if s.kind != "schema" {
			continue
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, s.text, "", "    "); err != nil {
			t.Fatal(err)
		}
		for _, def := range []string{string(s.text), pretty.String()} {
			got := request(t, `{"tools":[`+def+`]}`) - 3
			if bytes.Contains(s.text, []byte("input_schema")) {
				got -= 346
			}
			if e := off(got, s.cl100k); math.Abs(e) > allowed {
				t.Errorf("%s: %d, counted %d: %+.1f %%", s.name, got, s.cl100k, 100*e)
			}
		}
	}
}

func picture(t testing.TB, width, height int, format string) string {
	t.Helper()
	img := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White})
	var out bytes.Buffer
	var err error
	switch format {
	case "png":
		err = png.Encode(&out, img)
	case "gif":
		err = gif.Encode(&out, img, nil)
	case "jpeg":
		err = jpeg.Encode(&out, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	if format == "jpeg" { // a camera's note of 40,000 bytes comes before the size
		note := append([]byte{0xff, 0xd8, 0xff, 0xe1, 40_000 >> 8, 40_000 & 0xff}, make([]byte, 39_998)...)
		data = append(note, data[2:]...)
	}
	return base64.StdEncoding.EncodeToString(data)
}

func TestRequestOfFiles(t *testing.T) {
	message := func(block string) string { return `{"messages":[{"role":"user","content":[` + block + `]}]}` }
	source := func(kind, data string) string {
		return message(`{"type":"` + kind + `","source":{"type":"base64","media_type":"x/y","data":"` + data + `"}}`)
	}
	pdf := base64.StdEncoding.EncodeToString(append([]byte("%PDF-1.7\n"), make([]byte, 200_000)...))
	for _, c := range []struct {
		why, body string
		want      int // besides 7 for message and answer
	}{
		{"width*height/750", source("image", picture(t, 750, 500, "png")), 500},
		{"the data before its type", message(`{"source":{"data":"` + picture(t, 750, 500, "gif") + `","type":"base64"},"type":"image"}`), 500},
		{"a JPEG whose size stands far behind", source("image", picture(t, 300, 500, "jpeg")), 200},
		{"slashes escaped, as PHP does", source("image", strings.ReplaceAll(picture(t, 750, 500, "png"), "/", `\/`)), 500},
		{"a JPEG with escaped slashes is an image at least", source("image", strings.ReplaceAll(picture(t, 300, 500, "jpeg"), "/", `\/`)), 1500},
		{"a large one is scaled down", source("image", picture(t, 3136, 300, "png")), 314},
		{"and has a ceiling", source("image", picture(t, 3000, 3000, "png")), 1600},
		{"chat: a data URL", message(`{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture(t, 750, 500, "png") + `","detail":"high"}}`), 500},
		{"Responses: a data URL", message(`{"type":"input_image","image_url":"data:image/gif;base64,` + picture(t, 750, 500, "gif") + `"}`), 500},
		{"a WebP is not looked into", source("image", base64.StdEncoding.EncodeToString([]byte("RIFF\x00\x10\x00\x00WEBPVP8 "+strings.Repeat("\x00", 90)))), 1500},
		{"an image elsewhere", message(`{"type":"image","source":{"type":"file","file_id":"file_011CNha8iCJcU1wXNR6q4V8w"}}`), 1500},
		{"a PDF by its bytes", source("document", pdf), 4 * 2500},
		{"a PDF elsewhere", message(`{"type":"document","source":{"type":"file","file_id":"file_1"}}`), 25_000},
		{"a document of plain text is its text", message(`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hello world"}}`), 2},
		{"a picture within a tool's result", message(`{"type":"tool_result","content":[{"type":"image","source":{"type":"base64","data":"` + picture(t, 750, 500, "png") + `"}}]}`), 500},
		{"chat: a file", message(`{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdf + `"}}`), 4*2500 + 2},
		{"speech", message(`{"type":"input_audio","input_audio":{"format":"mp3","data":"` + base64.StdEncoding.EncodeToString([]byte("ID3"+strings.Repeat("\x01", 48_000))) + `"}}`), 32},
	} {
		if got := request(t, c.body) - 7; got < c.want-1 || got > c.want+2 {
			t.Errorf("%s: %d, want %d", c.why, got, c.want)
		}
	}
	url := request(t, message(`{"type":"image","source":{"type":"url","url":"https://example.org/a.png"}}`))
	if url < 1500 || url > 1530 {
		t.Errorf("an image by its URL: %d", url)
	}
}

func TestRequestParts(t *testing.T) {
	const empty = 3
	for _, c := range []struct {
		why, body   string
		least, most int // besides empty
	}{
		{"nothing", `{}`, 0, 0},
		{"what no model reads", `{"model":"claude","stream":true,"stop_sequences":["a b c"],"metadata":{"user_id":"someone"}}`, 0, 0},
		{"a message of no text", `{"messages":[{"role":"user","content":""}]}`, 4, 4},
		{"system as text", `{"system":"You are a scientist"}`, 4, 4},
		{"system as blocks", `{"system":[{"type":"text","text":"You are a scientist"}]}`, 4, 4},
		{"ids and signatures do not count", `{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hello","signature":"` + strings.Repeat("Qk", 400) + `"}]}]}`, 5, 5},
		{"arguments of a call, as an object", `{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"get","input":{"city":"Oslo","days":3}}]}]}`, 13, 19},
		{"arguments of a call, as a string", `{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"get","arguments":"{\"city\":\"Oslo\",\"days\":3}"}}]}]}`, 13, 19},
		{"a client tool brings a prompt", `{"tools":[{"name":"get","input_schema":{"type":"object"}}]}`, 355, 375},
		{"Anthropic's own tools have their price", `{"tools":[{"type":"bash_20250124","name":"bash"}]}`, 590, 605},
		{"a web search is just named", `{"tools":[{"type":"web_search_20250305","name":"web_search"}]}`, 8, 12},
		{"a schema of the answer", `{"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"a":{"type":"number"}}}}}}`, 20, 50},
		{"escaped names are just names", `{"messages":[{"r\u006fle":"user","content":"hello"}]}`, 5, 6},
		{"other shapes count as what they hold", `{"messages":"hello","system":[["hello"],7,null],"tools":{"a":"hello"}}`, 3, 3},
	} {
		if got := request(t, c.body) - empty; got < c.least || got > c.most {
			t.Errorf("%s: %d, want %d to %d", c.why, got, c.least, c.most)
		}
	}
}

func TestRequestRefuses(t *testing.T) {
	for _, body := range []string{"", "[]", `"text"`, `{"messages":[}`, `{"messages":[]`, `{"a":1}x`,
		`{"messages":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`} {
		if n, err := tokencount.Request([]byte(body)); err == nil || n != 0 {
			t.Errorf("%.40s: %d, %v", body, n, err)
		}
	}
	deep := `{"messages":` + strings.Repeat("[", 990) + `"hello"` + strings.Repeat("]", 990) + `}`
	if got := request(t, deep); got != 8 {
		t.Errorf("as deep as allowed: %d", got)
	}
}

// TestAllocations: the estimate is made on the request's path.
func TestAllocations(t *testing.T) {
	text := []byte(strings.Repeat("Some words, 日本語, and x = y[0];\n", 100))
	body := []byte(`{"system":"x","messages":[{"role":"user","content":` + quote(t, string(text)) + `}],"tools":[{"name":"a","input_schema":{"type":"object"}}]}`)
	if n := testing.AllocsPerRun(20, func() { tokencount.Text(text) }); n != 0 {
		t.Errorf("Text makes %v allocations", n)
	}
	if n := testing.AllocsPerRun(20, func() { _, _ = tokencount.Request(body) }); n > 3 {
		t.Errorf("Request makes %v allocations", n)
	}
}
