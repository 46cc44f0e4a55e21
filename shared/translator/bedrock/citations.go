package bedrock

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// cite takes a citation, which may come before the text it is of.
func (s *source) cite(obj []byte) {
	c := citation(obj)
	if c == nil {
		return
	}
	if !s.fed {
		s.b.Open(translator.Block{Type: translator.BlockText, Text: translator.EmptyString})
		s.fed = true
	}
	s.b.Cite(c)
}

// place is the form that one of Converse's locations has in Anthropic's citations.
type place struct {
	member     string // of the location
	typ        string
	index      string // Converse's name of the index
	indexName  string // Anthropic's
	start, end string // Anthropic's
}

var places = [...]place{
	{"documentChar", "char_location", "documentIndex", "document_index", "start_char_index", "end_char_index"},
	{"documentPage", "page_location", "documentIndex", "document_index", "start_page_number", "end_page_number"},
	{"documentChunk", "content_block_location", "documentIndex", "document_index", "start_block_index", "end_block_index"},
	{"searchResultLocation", "search_result_location", "searchResultIndex", "search_result_index", "start_block_index", "end_block_index"},
}

// citation reads one, of a stream or of a whole answer: {location, sourceContent, source, title}. Those of documents and search
// results are written in Anthropic's form, too, which has the same places; nil: it is none. Source: API_runtime_CitationLocation
// and platform.claude.com/docs/en/build-with-claude/citations.
func citation(obj []byte) *translator.Citation {
	var v [4]rawjson.Value
	if rawjson.Scan(obj, []string{"location", "sourceContent", "source", "title"}, v[:]) != nil {
		return nil
	}
	c := &translator.Citation{Start: -1, End: -1}
	if v[3].Kind() == rawjson.String {
		c.Title = v[3].Raw()
	}
	c.Text = cited(v[1])
	if v[0].Kind() != rawjson.Object {
		return c
	}
	var l [len(places) + 1]rawjson.Value
	names := [len(places) + 1]string{len(places): "web"}
	for i := range places {
		names[i] = places[i].member
	}
	if rawjson.Scan(v[0].Raw(), names[:], l[:]) != nil {
		return c
	}
	if web := l[len(places)]; web.Kind() == rawjson.Object {
		if url, err := rawjson.Find(web.Raw(), "url"); err == nil && url.Kind() == rawjson.String {
			c.URL = url.Raw()
		}
	}
	for i := range places {
		if l[i].Kind() == rawjson.Object {
			c.Raw = places[i].citation(l[i].Raw(), c, v[2])
		}
	}
	return c
}

// citation writes Anthropic's form of a citation; nil where its place is not told.
func (p *place) citation(location []byte, c *translator.Citation, source rawjson.Value) translator.Raw {
	var v [3]rawjson.Value
	if rawjson.Scan(location, []string{p.index, "start", "end"}, v[:]) != nil {
		return nil
	}
	raw := []byte(`{"type":"` + p.typ + `","cited_text":`)
	raw = append(raw, c.Text...)
	for i, name := range [...]string{p.indexName, p.start, p.end} {
		if _, ok := v[i].Int(); !ok {
			return nil
		}
		raw = append(append(raw, `,"`+name+`":`...), v[i].Raw()...)
	}
	title := "document_title"
	if p.index == "searchResultIndex" {
		title = "title"
		if source.Kind() != rawjson.String {
			return nil
		}
		raw = append(append(raw, `,"source":`...), source.Raw()...)
	}
	raw = append(raw, `,"`+title+`":`...)
	if c.Title == nil {
		return append(raw, "null}"...)
	}
	return append(append(raw, c.Title...), '}')
}

// cited joins the texts that are cited.
func cited(list rawjson.Value) translator.Raw {
	var parts []translator.Raw
	if list.Kind() == rawjson.Array {
		_ = rawjson.Elements(list.Raw(), func(e rawjson.Value) bool {
			if e.Kind() == rawjson.Object {
				if t, err := rawjson.Find(e.Raw(), "text"); err == nil && t.Kind() == rawjson.String {
					parts = append(parts, t.Raw())
				}
			}
			return true
		})
	}
	return translator.Join(nil, "", parts...)
}
