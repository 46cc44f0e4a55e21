package responses

import (
	"errors"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

var errPart = errors.New("a part without its text")

// content reads what a message or a result says: a string or parts.
func (it *item) content(v rawjson.Value, field string, role translator.Role) ([]translator.Block, error) {
	switch v.Kind() {
	case rawjson.String:
		return []translator.Block{{Text: v.Raw(), Place: it.p}}, nil
	case rawjson.Array:
	case rawjson.Absent, rawjson.Null:
		return nil, it.bad(field, "is required")
	default:
		return nil, it.bad(field, "must be a string or an array")
	}
	var blocks []translator.Block
	err := each(v, func(j int, e rawjson.Value) error {
		if err := it.d.piece("input"); err != nil {
			return err
		}
		pt := part{p: it.p.Part(j)}
		if field != "content" { // a place's second index is that of content
			pt.p, pt.field = it.p, field+"["+itoa(j)+"]"
		}
		b, err := pt.read(e, role)
		if err == nil {
			b.Place = pt.p
			blocks = append(blocks, b)
		}
		return err
	})
	return blocks, err
}

// part is one part of a content.
type part struct {
	p     translator.Place
	field string // path to it within the place
}

func (pt part) bad(field, message string) error {
	return translator.BadAt(pt.p, join(pt.field, field), message)
}

func (pt part) read(e rawjson.Value, role translator.Role) (b translator.Block, err error) {
	if e.Kind() != rawjson.Object {
		return b, pt.bad("", "must be an object")
	}
	var m [9]rawjson.Value
	want := [...]string{"type", "text", "refusal", "image_url", "file_id", "file_data", "file_url", "filename", "detail"}
	if err := rawjson.Scan(e.Raw(), want[:], m[:]); err != nil {
		return b, pt.bad("", err.Error())
	}
	for i, v := range m {
		if given(v) && v.Kind() != rawjson.String {
			return b, pt.bad(want[i], "must be a string")
		}
	}
	switch kind := text(m[0]); {
	case kind == "":
		return b, pt.bad("type", "is required")
	case kind == "input_text" || kind == "output_text" || kind == "text":
		if !given(m[1]) {
			return b, pt.bad("text", "is required")
		}
		b.Text = m[1].Raw()
		return b, nil
	case kind == "refusal" && role == translator.RoleAssistant:
		if !given(m[2]) {
			return b, pt.bad("refusal", "is required")
		}
		b.Text, b.Refusal = m[2].Raw(), true
		return b, nil
	case kind == "input_image" && role == translator.RoleUser:
		return pt.image(m[3], m[4], m[8])
	case kind == "input_file" && role == translator.RoleUser:
		return pt.file(m[4], m[5], m[6], m[7])
	case kind == "input_audio":
		return b, pt.bad("type", "audio is not offered by the upstream that serves the model; send text")
	}
	return b, pt.bad("type", "is not a type that a content of this role may have")
}

const messageFileID = "files of the API's store belong to one upstream; send the file itself"

func (pt part) image(url, fileID, detail rawjson.Value) (b translator.Block, err error) {
	b.Type = translator.BlockImage
	if !given(url) {
		if given(fileID) {
			return b, pt.bad("file_id", messageFileID)
		}
		return b, pt.bad("image_url", "is required")
	}
	s := url.Raw()
	switch scheme := lowerScheme(s); scheme {
	case "http", "https":
		b.Media = translator.Media{Type: translator.MediaURL, Data: s}
	case "data":
		mime, data, ok := dataURL(s)
		if !ok || !strings.HasPrefix(mime, "image/") {
			return b, pt.bad("image_url", "a data URL must be of an image and in base64: data:image/png;base64,...")
		}
		b.Media = translator.Media{MIME: mime, Data: data}
	default:
		return b, pt.bad("image_url", "must be an http, https or data URL")
	}
	if given(detail) {
		b.Media.Detail = detail.Raw()
	}
	return b, nil
}

func (pt part) file(fileID, data, url, name rawjson.Value) (b translator.Block, err error) {
	b.Type = translator.BlockDocument
	switch {
	case given(data):
		mime, body, ok := dataURL(data.Raw())
		if !ok {
			return b, pt.bad("file_data", "must be a data URL in base64: data:application/pdf;base64,...")
		}
		b.Media = translator.Media{MIME: mime, Data: body}
	case given(url):
		if s := lowerScheme(url.Raw()); s != "http" && s != "https" {
			return b, pt.bad("file_url", "must be an http or https URL")
		}
		b.Media = translator.Media{Type: translator.MediaURL, Data: url.Raw()}
	case given(fileID):
		return b, pt.bad("file_id", messageFileID)
	default:
		return b, pt.bad("file_data", "is required")
	}
	b.Media.Title = stringOf(name)
	return b, nil
}

// lowerScheme is the scheme of a URL in a JSON string, in lower case; "" when it has none of a usual length.
func lowerScheme(s raw) string {
	head, _, ok := strings.Cut(string(s[:min(len(s), 16)]), ":")
	if !ok || len(head) < 2 {
		return ""
	}
	return strings.ToLower(head[1:])
}

// dataURL takes a data URL in a JSON string apart: data:image/png;base64,AAAA. data is a JSON string.
func dataURL(s raw) (mime string, data raw, ok bool) {
	if strings.Contains(string(s[:min(len(s), 128)]), `\`) { // an escaped slash, before or in the data
		s = translator.Quote(s.Text())
	}
	in := inner(s)
	head, _, ok := strings.Cut(string(in[:min(len(in), 128)]), ",")
	if !ok || len(head) < 5 || !strings.EqualFold(head[:5], "data:") {
		return "", nil, false
	}
	mime, params, _ := strings.Cut(head[5:], ";")
	if params != "base64" && !strings.HasSuffix(params, ";base64") || mime == "" {
		return "", nil, false
	}
	return strings.ToLower(mime), quoted(in[len(head)+1:]), true
}
