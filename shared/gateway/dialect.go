package gateway

import (
	"io"
	"net/http"
	"strings"

	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/amazonq"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

// front is the parts of a dialect that clients speak.
type front interface {
	translator.Front
	translator.Passer
}

// dialect is a wire format that clients, upstreams or both speak.
type dialect struct {
	front // nil where no client speaks it
	translator.Back
	name     core.Dialect
	path     string // of its endpoint
	media    string // content type of its streams
	newBatch func(io.Reader) batches
	modelID  func(string) string // the upstream's spelling of a model's name; nil: as it is
}

// batches reads a stream's whole events.
type batches interface {
	Batch() ([]byte, error)
	Release()
}

const mediaSSE, mediaFrames = "text/event-stream", "application/vnd.amazon.eventstream"

func newSSE(r io.Reader) batches    { return sse.NewReader(r, maxEvent) }
func newFrames(r io.Reader) batches { return eventstream.NewReader(r, maxFrame) }

var (
	dialectAnthropic = &dialect{front: anthropic.Codec{}, Back: anthropic.Codec{}, name: core.DialectAnthropic, path: pathMessages, media: mediaSSE, newBatch: newSSE}
	dialectChat      = &dialect{front: openaichat.Codec{}, Back: openaichat.Codec{}, name: core.DialectOpenAIChat, path: pathChat, media: mediaSSE, newBatch: newSSE}
	dialectResponses = &dialect{front: responses.Codec{}, Back: responses.Codec{}, name: core.DialectOpenAIResponses, path: pathResponses, media: mediaSSE, newBatch: newSSE}
	dialectAmazonQ   = &dialect{Back: amazonq.Codec{}, name: core.DialectAmazonQ, path: "/", media: mediaFrames, newBatch: newFrames, modelID: amazonq.ModelID}
)

func (d *dialect) openAI() bool { return d == dialectChat || d == dialectResponses }

// The prefixes under which the routes stand once more, for clients that want an address of their own.
const (
	prefixAnthropic = "/anthropic"
	prefixOpenAI    = "/openai"
)

// trimPrefix removes one of the prefixes from an escaped path and names its dialect, empty when there is none.
func trimPrefix(path string) (string, core.Dialect) {
	for _, p := range [...]struct {
		prefix string
		d      core.Dialect
	}{{prefixAnthropic, core.DialectAnthropic}, {prefixOpenAI, core.DialectOpenAIChat}, {prefixBedrock, core.DialectBedrockInvoke}} {
		if rest, ok := strings.CutPrefix(path, p.prefix); ok && (rest == "" || rest[0] == '/') {
			return rest, p.d
		}
	}
	return path, ""
}

// The paths of the dialects' endpoints.
const (
	pathMessages  = "/v1/messages"
	pathChat      = "/v1/chat/completions"
	pathResponses = "/v1/responses"
)

// dialectName is the dialect in which a request is answered, also when no endpoint takes it. It is a name, and not the dialect
// with its codecs, so that a program which serves no models, but answers with errors, does not link them.
func dialectName(r *http.Request) core.Dialect {
	path, forced := trimPrefix(r.URL.EscapedPath())
	switch {
	case forced == core.DialectBedrockInvoke && strings.HasPrefix(path, "/v1/"):
		return core.DialectAnthropic
	case forced == core.DialectBedrockInvoke:
		return forced
	case path == pathResponses || strings.HasPrefix(path, pathResponses+"/"):
		return core.DialectOpenAIResponses
	case path == pathChat || strings.HasPrefix(path, pathChat+"/"):
		return core.DialectOpenAIChat
	case forced != "":
		return forced
	case path == "/v1/models" || strings.HasPrefix(path, "/v1/models/"):
		h := r.Header
		if h.Get("Anthropic-Version") == "" && h.Get("X-Api-Key") == "" && h.Get("Anthropic-Beta") == "" {
			return core.DialectOpenAIChat
		}
	}
	return core.DialectAnthropic
}

// dialectOf is the dialect of dialectName. What is in the envelope of Bedrock is Anthropic's.
func dialectOf(r *http.Request) *dialect {
	switch dialectName(r) {
	case core.DialectOpenAIChat:
		return dialectChat
	case core.DialectOpenAIResponses:
		return dialectResponses
	}
	return dialectAnthropic
}

// wire is the dialect in which a node is spoken to for this request.
func (x *exchange) wire(n *core.Node) *dialect {
	switch n.Kind {
	case core.KindOpenAI:
	case core.KindAmazonQ:
		return dialectAmazonQ
	case core.KindBedrock:
		return wireOfBedrock(n)
	default:
		return dialectAnthropic
	}
	switch n.Wire {
	case "responses":
		return dialectResponses
	case "both":
		if x.asked != dialectChat {
			return dialectResponses
		}
	}
	return dialectChat
}

// The members of a body that routing reads, by dialect; the rest of it is only scanned. The first ones are the same in all.
var (
	lookAnthropic = []string{"model", "stream", "metadata", "prompt_cache_key", "system", "messages", "anthropic_beta"}
	lookOpenAI    = []string{"model", "stream", "user", "prompt_cache_key", "instructions", "messages", "input", "tools", "stream_options"}
)

const lookMost = 9

// maxModel is how long a model's name may be.
const maxModel = 256

// look reads model, stream and session hints from the body.
func (x *exchange) look() error {
	var v [lookMost]rawjson.Value
	names := lookAnthropic
	if x.client.openAI() {
		names = lookOpenAI
	}
	if err := rawjson.Scan(x.body.buf, names, v[:len(names)]); err != nil {
		return badJSON(err)
	}
	name, ok := v[0].Text()
	switch {
	case !v[0].Exists():
		return badField("model", "Field required")
	case !ok || name == "":
		return badField("model", "must be a non-empty string")
	case len(name) > maxModel:
		return badField("model", "must have at most "+itoa(maxModel)+" characters")
	}
	x.model, x.name = v[0], name
	x.rec.Model, x.info.Model = name, name
	if v[1].Exists() && v[1].Kind() != rawjson.Null {
		s, ok := v[1].Bool()
		if !ok {
			return badField("stream", "must be a boolean")
		}
		x.rec.Stream = s
	}
	if !x.client.openAI() {
		x.turns, x.flags = v[5].Exists(), v[6]
		x.session(userOf(v[2]), v[3], v[4], v[5])
		return nil
	}
	x.options = v[8]
	user, _ := v[2].Text()
	messages := v[5]
	if x.client == dialectResponses || v[6].Exists() && !v[5].Exists() { // Cursor sends Responses bodies to chat (D49)
		x.asked, messages = dialectResponses, v[6]
	} else if v[7].Kind() == rawjson.Array && openaichat.Mixed(v[7]) {
		x.mixed = true
	}
	x.session(user, v[3], v[4], messages)
	return nil
}

// userOf is the user_id in Anthropic's metadata.
func userOf(metadata rawjson.Value) string {
	if metadata.Kind() != rawjson.Object {
		return ""
	}
	u, err := rawjson.Find(metadata.Raw(), "user_id")
	if err != nil {
		return ""
	}
	s, _ := u.Text()
	return s
}
