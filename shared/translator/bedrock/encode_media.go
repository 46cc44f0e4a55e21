package bedrock

import (
	"encoding/base64"
	"strconv"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// images are the formats of images by their MIME types. Source: API_runtime_ImageBlock.
var images = map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}

// documents are those of documents; any other text is one of the format txt. Source: API_runtime_DocumentBlock.
var documents = map[string]string{
	"application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/markdown": "md", "application/json": "txt",
	"application/msword":       "doc",
	"application/vnd.ms-excel": "xls",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":       "xlsx",
}

// media writes an image or a document; at is where it stands, or the result that it is in.
func (e *encoder) media(b *translator.Block, at translator.Place) {
	switch b.Type {
	case translator.BlockImage:
		e.image(&b.Media, at)
	case translator.BlockDocument:
		e.document(b, at)
	default:
		e.fail(at, "type", "has no place at the upstream that serves this model")
	}
}

func (e *encoder) image(m *translator.Media, at translator.Place) {
	switch {
	case m.Type != translator.MediaBase64:
		e.fail(at, "source", "the upstream that serves this model does not fetch images; send the image as base64")
	case m.Data.IsEmpty():
		e.fail(at, "source", "the image is empty")
	case !m.Data.IsBase64():
		e.fail(at, "source", "the image is not base64")
	case images[m.MIME] == "":
		e.fail(at, "source", "the upstream that serves this model takes PNG, JPEG, GIF and WebP images only")
	}
	if m.Detail != nil && string(m.Detail) != `"auto"` {
		e.out.Drop("detail")
	}
	e.lit(`{"image":{"format":"` + images[m.MIME] + `","source":{"bytes":`)
	e.b = append(append(e.b, m.Data...), `}}}`...)
}

// document writes one. Text as such is for Claude, whose citations are by its characters; the others get a file of text.
func (e *encoder) document(b *translator.Block, at translator.Place) {
	m := &b.Media
	format := "txt"
	if m.Type == translator.MediaBase64 {
		if format = documents[m.MIME]; format == "" && strings.HasPrefix(m.MIME, "text/") {
			format = "txt"
		}
	}
	switch {
	case m.Type == translator.MediaURL || m.Type == translator.MediaFile:
		e.fail(at, "source", "the upstream that serves this model does not fetch documents and has no files; send the content itself")
	case format == "":
		e.fail(at, "source", "the upstream that serves this model reads PDF, Word, Excel, HTML, Markdown, CSV and plain text; send the file as one of these")
	case m.Type != translator.MediaBlocks && m.Data.IsEmpty():
		e.fail(at, "source", "the document is empty")
	case m.Type == translator.MediaBase64 && !m.Data.IsBase64():
		e.fail(at, "source", "the document is not base64")
	}
	e.lit(`{"document":{"format":"` + format + `","name":`)
	e.b = rawjson.AppendString(e.b, e.documentName(m.Title))
	e.lit(`,"source":{`)
	switch {
	case m.Type == translator.MediaBase64:
		e.lit(`"bytes":`)
		e.b = append(e.b, m.Data...)
	case m.Type == translator.MediaBlocks:
		e.pieces(b, at)
	case e.f.claude:
		e.lit(`"text":`)
		e.b = append(e.b, m.Data...)
	default:
		e.textFile(m.Data)
	}
	e.lit("}")
	if !m.Context.IsEmpty() {
		e.lit(`,"context":`)
		e.b = append(e.b, m.Context...)
	}
	switch {
	case m.Cited && e.f.claude:
		e.lit(`,"citations":{"enabled":true}`)
	case m.Cited:
		e.out.Drop("citations")
	}
	e.lit("}}")
}

// pieces writes the source of a document of blocks, which may be texts only.
func (e *encoder) pieces(b *translator.Block, at translator.Place) {
	var texts []translator.Raw
	for i := range b.Content {
		switch c := &b.Content[i]; {
		case c.Type != translator.BlockText:
			e.fail(at, "source", "documents of the upstream that serves this model have text in them only; send their images beside them")
		case !blank(c.Text):
			texts = append(texts, c.Text)
		}
	}
	if len(texts) == 0 {
		e.fail(at, "source", "the document is empty")
		return
	}
	if !e.f.claude {
		e.textFile(translator.Join(nil, "\n\n", texts...))
		return
	}
	e.lit(`"content":[`)
	for i, t := range texts {
		e.comma(i)
		e.lit(`{"text":`)
		e.b = append(append(e.b, t...), '}')
	}
	e.lit("]")
}

// textFile writes a text, a JSON string, as the bytes of a file.
func (e *encoder) textFile(text translator.Raw) {
	e.lit(`"bytes":"`)
	e.b = append(base64.StdEncoding.AppendEncode(e.b, []byte(text.Text())), '"')
}

// maxName is the most characters of a document's name. Source: API_runtime_DocumentBlock.
const maxName = 200

// documentName makes a name that the service takes and that no other document of the request has: it refuses two of one name.
// Characters other than letters, digits, single spaces, hyphens, parentheses and brackets become spaces.
func (e *encoder) documentName(title translator.Raw) string {
	var name []byte
	text := title.Text()
	for i := 0; i < len(text) && len(name) < maxName-12; i++ { // room for a number
		c := text[i]
		if !alnum(c) && !strings.ContainsRune("-()[]", rune(c)) {
			c = ' '
		}
		if c != ' ' || len(name) > 0 && name[len(name)-1] != ' ' {
			name = append(name, c)
		}
	}
	s := strings.TrimRight(string(name), " ")
	if s == "" {
		s = "document"
	}
	for base := s; ; { // the number of a name may be another's name
		e.ids[base]++
		if n := e.ids[base]; n > 1 {
			s = base + " " + strconv.Itoa(n)
		}
		if s == base || e.ids[s] == 0 {
			if s != base {
				e.ids[s] = 1
			}
			return s
		}
	}
}
