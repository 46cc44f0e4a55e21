package anthropic

import "sluice/shared/rawjson"

// known are the models that this version knows, newest line first. It answers GET /v1/models when no node does.
var known = []struct{ id, name string }{
	{"claude-fable-5-2", "Claude Fable 5.2"},
	{"claude-fable-5-1", "Claude Fable 5.1"},
	{"claude-opus-5-5", "Claude Opus 5.5"},
	{"claude-opus-5", "Claude Opus 5"},
	{"claude-sonnet-5-5", "Claude Sonnet 5.5"},
	{"claude-sonnet-5", "Claude Sonnet 5"},
	{"claude-haiku-5-5", "Claude Haiku 5.5"},
	{"claude-opus-4-8", "Claude Opus 4.8"},
	{"claude-opus-4-7", "Claude Opus 4.7"},
	{"claude-opus-4-6", "Claude Opus 4.6"},
	{"claude-sonnet-4-6", "Claude Sonnet 4.6"},
	{"claude-opus-4-5-20251101", "Claude Opus 4.5"},
	{"claude-sonnet-4-5-20250929", "Claude Sonnet 4.5"},
	{"claude-haiku-4-5-20251001", "Claude Haiku 4.5"},
}

// ModelList is the answer to GET /v1/models from the models known here. Release dates are given as the epoch, as the API
// does where it does not know one.
func ModelList() []byte {
	b := []byte(`{"data":[`)
	for i, m := range known {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendModel(b, m.id, m.name)
	}
	b = append(b, `],"has_more":false,"first_id":`...)
	b = rawjson.AppendString(b, known[0].id)
	b = append(b, `,"last_id":`...)
	b = rawjson.AppendString(b, known[len(known)-1].id)
	return append(b, '}')
}

// ModelObject is one model of the list, nil when it is not known.
func ModelObject(id string) []byte {
	for _, m := range known {
		if m.id == id {
			return appendModel(nil, m.id, m.name)
		}
	}
	return nil
}

func appendModel(b []byte, id, name string) []byte {
	b = append(b, `{"type":"model","id":`...)
	b = rawjson.AppendString(b, id)
	b = append(b, `,"display_name":`...)
	b = rawjson.AppendString(b, name)
	return append(b, `,"created_at":"1970-01-01T00:00:00Z"}`...)
}
