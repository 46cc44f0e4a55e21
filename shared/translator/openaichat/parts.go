package openaichat

import (
	"bytes"
	"encoding/base64"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// speaker says whose content is read: not all may have all parts.
type speaker uint8

const (
	forSystem speaker = iota
	forUser
	forAssistant
	forTool
)

// content reads a string or an array of parts. It is nil when there is none, and not nil when it is empty.
func (d *decoder) content(v rawjson.Value, p translator.Place, who speaker) []translator.Block {
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
		return nil
	case rawjson.String:
		return []translator.Block{{Type: translator.BlockText, Text: v.Raw(), Place: p}}
	case rawjson.Array:
		out, i := []translator.Block{}, 0
		_ = rawjson.Elements(v.Raw(), func(el rawjson.Value) bool {
			out = append(out, d.part(el, p.Part(i), who))
			i++
			return d.err == nil
		})
		return out
	}
	d.fail(p, "content", "must be a string or an array of parts")
	return nil
}

// part reads one part. The names that the Responses API has for the same parts are taken too: Cursor mixes them (D49).
func (d *decoder) part(el rawjson.Value, p translator.Place, who speaker) translator.Block {
	b := translator.Block{Place: p}
	if d.piece("messages"); el.Kind() != rawjson.Object {
		d.fail(p, "", "must be an object")
		return b
	}
	v, ok := d.object(el, p, "", "type", "text", "refusal", "image_url", "file", "cache_control")
	if !ok {
		return b
	}
	b.CacheControl = d.value(v[5], rawjson.Object, p, "cache_control")
	switch typ := d.required(v[0], p, "type"); typ {
	case "text", "input_text", "output_text":
		if b.Text = d.value(v[1], rawjson.String, p, "text"); b.Text == nil {
			d.fail(p, "text", "is required: a string")
		}
	case "refusal":
		b.Refusal = true
		if b.Text = d.value(v[2], rawjson.String, p, "refusal"); b.Text == nil {
			d.fail(p, "refusal", "is required: a string")
		}
		if who != forAssistant {
			d.fail(p, "type", "only an assistant message has refusals")
		}
	case "image_url", "input_image":
		b.Type = translator.BlockImage
		d.image(&b, v[3])
	case "file":
		b.Type = translator.BlockDocument
		d.file(&b, v[4])
	case "input_audio":
		d.fail(p, "type", "audio is not offered by the upstream that serves this model; send a transcript as text")
	default:
		d.fail(p, "type", "must be text, image_url, file or refusal")
	}
	if b.Type != translator.BlockText && (who == forSystem || who == forAssistant) {
		d.fail(p, "type", "images and files belong into user messages")
	}
	return b
}

// image reads image_url, an object with url or, as some clients send it, the URL itself.
func (d *decoder) image(b *translator.Block, v rawjson.Value) {
	field, url := "image_url", v
	var detail translator.Raw
	if v.Kind() == rawjson.Object {
		field = "image_url.url"
		o, _ := d.object(v, b.Place, "image_url", "url", "detail")
		url = o[0]
		detail = d.value(o[1], rawjson.String, b.Place, "image_url.detail")
	}
	raw := d.value(url, rawjson.String, b.Place, field)
	switch {
	case raw.IsEmpty():
		d.fail(b.Place, field, "is required: a data: URL or an https: URL")
	case d.dataURL(b, raw, field):
		if b.Media.MIME != "" && !strings.HasPrefix(b.Media.MIME, "image/") {
			d.fail(b.Place, field, "the data: URL must have an image type, such as image/png")
		}
	case isHTTP(raw.Text()):
		b.Media = translator.Media{Type: translator.MediaURL, Data: raw}
	default:
		d.fail(b.Place, field, "must be a data: URL with base64 or an https: URL")
	}
	b.Media.Detail = detail
}

// file reads a file part.
func (d *decoder) file(b *translator.Block, v rawjson.Value) {
	o, ok := d.object(v, b.Place, "file", "file_data", "file_id", "filename")
	if !ok {
		d.fail(b.Place, "file", "is required: an object with file_data")
		return
	}
	data := d.value(o[0], rawjson.String, b.Place, "file.file_data")
	id := d.value(o[1], rawjson.String, b.Place, "file.file_id")
	title := d.value(o[2], rawjson.String, b.Place, "file.filename")
	switch {
	case !data.IsEmpty():
		if !d.dataURL(b, data, "file.file_data") {
			d.fail(b.Place, "file.file_data", "must be a data: URL with base64, such as data:application/pdf;base64,...")
			return
		}
		if b.Media.MIME == "text/plain" {
			d.plain(b)
		}
	case !id.IsEmpty():
		b.Media = translator.Media{Type: translator.MediaFile, Data: id}
	default:
		d.fail(b.Place, "file.file_data", "is required: a data: URL with base64")
	}
	b.Media.Title = title
}

// plain turns base64 of plain text into the text: other dialects take base64 for PDF only.
func (d *decoder) plain(b *translator.Block) {
	text, err := base64.StdEncoding.DecodeString(b.Media.Data.Text())
	if err != nil {
		d.fail(b.Place, "file.file_data", "is not base64")
		return
	}
	b.Media.Type, b.Media.Data = translator.MediaText, translator.Quote(string(text))
}

// dataURL reads a data: URL into b; false when raw is none.
func (d *decoder) dataURL(b *translator.Block, raw translator.Raw, field string) bool {
	in := []byte(raw[1 : len(raw)-1])
	escaped := bytes.IndexByte(in, '\\') >= 0
	if escaped {
		in = []byte(raw.Text())
	}
	if len(in) < 5 || !strings.EqualFold(string(in[:5]), "data:") {
		return false
	}
	comma := bytes.IndexByte(in, ',')
	if comma < 0 || !strings.HasSuffix(strings.ToLower(string(in[:comma])), ";base64") {
		d.fail(b.Place, field, "a data: URL must have base64 in it: data:<type>;base64,<data>")
		return true
	}
	mime, _, _ := strings.Cut(string(in[5:comma]), ";")
	data := make(translator.Raw, 1, len(in)-comma+1)
	data[0] = '"'
	if data = append(data, in[comma+1:]...); escaped {
		data = data[:1]
		for _, c := range in[comma+1:] {
			if c > ' ' && c != '"' && c != '\\' {
				data = append(data, c)
			}
		}
	}
	b.Media = translator.Media{Type: translator.MediaBase64, MIME: strings.ToLower(mime), Data: append(data, '"')}
	return true
}

func isHTTP(url string) bool {
	return strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://")
}
