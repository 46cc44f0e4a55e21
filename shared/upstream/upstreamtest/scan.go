package upstreamtest

import "bytes"

// fields are the values of a request body's top level that the fake acts on,
// as they stand in it; nil if absent.
type fields struct {
	model, stream, maxTokens, messages []byte
}

// scan finds the fields without decoding the rest, which for the long bodies
// of real clients would cost more than the answer. It reports false for a body
// that is no JSON object; it does not prove that the JSON is valid.
func scan(body []byte) (f fields, ok bool) {
	ok = members(body, func(key, value []byte) {
		switch string(key) {
		case `"model"`:
			f.model = value
		case `"stream"`:
			f.stream = value
		case `"max_tokens"`:
			f.maxTokens = value
		case `"messages"`:
			f.messages = value
		}
	})
	return f, ok
}

// members calls fn for every member of an object, the key with its quotes. It
// reports false for what is no JSON object.
func members(body []byte, fn func(key, value []byte)) bool {
	i := skipSpace(body, 0)
	if i >= len(body) || body[i] != '{' {
		return false
	}
	i = skipSpace(body, i+1)
	if i < len(body) && body[i] == '}' {
		return true
	}
	for i < len(body) && body[i] == '"' {
		end := skipString(body, i)
		key := body[i:end]
		i = skipSpace(body, end)
		if i >= len(body) || body[i] != ':' {
			return false
		}
		i = skipSpace(body, i+1)
		end = skipValue(body, i)
		fn(key, body[i:end])
		i = skipSpace(body, end)
		if i < len(body) && body[i] == '}' {
			return true
		}
		if i >= len(body) || body[i] != ',' {
			return false
		}
		i = skipSpace(body, i+1)
	}
	return false
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		slashes := 0
		for j := i + n - 1; j >= i && b[j] == '\\'; j-- {
			slashes++
		}
		i += n + 1
		if slashes%2 == 0 {
			return i
		}
	}
	return len(b)
}

// skipValue returns the index after the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}
