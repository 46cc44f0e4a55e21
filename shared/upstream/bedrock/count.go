package bedrock

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	"sluice/shared/rawjson"
)

// bodyVersion is what InvokeModel wants in the body of Anthropic's models.
const bodyVersion = `"bedrock-2023-05-31"`

// CountBody appends CountTokens' body for a Messages request, of the Messages API's form or of InvokeModel's already:
// {"input":{"invokeModel":{"body":"<base64>"}}}. Within it model and stream are left out, and anthropic_version and
// max_tokens, without which InvokeModel's body is refused and which no request to count tokens has, are added; all other
// members pass as they are. The error is for a body that is not one JSON object.
func CountBody(dst, body []byte) ([]byte, error) {
	inner := make([]byte, 0, len(body)+64)
	inner = append(inner, '{')
	version, limited, budget := false, false, int64(0)
	err := rawjson.Members(body, func(key, value rawjson.Value) bool {
		name, _ := key.Text()
		switch name {
		case "model", "stream":
			return true
		case "anthropic_version":
			version = true
		case "max_tokens":
			limited = true
		case "thinking":
			if v, err := rawjson.Find(value.Raw(), "budget_tokens"); err == nil {
				budget, _ = v.Int()
			}
		}
		inner = append(append(append(append(inner, key.Raw()...), ':'), value.Raw()...), ',')
		return true
	})
	if err != nil {
		return dst, err
	}
	if !version {
		inner = append(inner, `"anthropic_version":`+bodyVersion+","...)
	}
	if !limited {
		inner = strconv.AppendInt(append(inner, `"max_tokens":`...), min(max(budget, 0), 1<<40)+1, 10) // must be above what thinking may use
		inner = append(inner, ',')
	}
	inner[len(inner)-1] = '}'
	dst = append(dst, `{"input":{"invokeModel":{"body":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, inner)
	return append(dst, `"}}}`...), nil
}

// ReadCount reads CountTokens' answer.
func ReadCount(body []byte) (int64, error) {
	var out struct {
		InputTokens *int64 `json:"inputTokens"`
	}
	if err := json.Unmarshal(body, &out); err != nil || out.InputTokens == nil || *out.InputTokens < 0 {
		return 0, errors.New("the answer of CountTokens has no inputTokens")
	}
	return *out.InputTokens, nil
}
