package upstreamtest

import (
	"encoding/json"
	"hash/fnv"
	"slices"
)

// ToolThenText is the two turns of a tool call. A request that offers the tool
// and whose last message has no tool_result is answered by a tool_use of it
// with the input, a JSON object; then the final text follows. Requests that do
// not offer the tool, as the side requests of real clients, get the text at
// once. The tool_use id is derived from the request's body.
func ToolThenText(name, input, finalText string) Behaviour {
	final := Reply(Text(finalText))
	cut1, cut2 := len(input)/3, 2*len(input)/3
	return Func(func(r Request) Behaviour {
		if !r.HasTool(name) || r.HasToolResult() {
			return final
		}
		sum := fnv.New64a()
		_, _ = sum.Write(r.Body)
		id := string(appendID(nil, "toolu_", sum.Sum64()))
		return Reply(ToolUse(id, name, input[:cut1], input[cut1:cut2], input[cut2:]))
	})
}

// HasTool tells whether the body's tools have one of the given name.
func (r Request) HasTool(name string) bool {
	var body struct {
		Tools []struct {
			Name     string `json:"name"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
		Config struct { // of Converse
			Tools []struct {
				Spec struct {
					Name string `json:"name"`
				} `json:"toolSpec"`
			} `json:"tools"`
		} `json:"toolConfig"`
	}
	if q, ok := currentAmazonQ(r.Body); ok {
		return slices.Contains(q.toolNames(), name)
	}
	if r.Decode(&body) != nil {
		return false
	}
	for _, t := range body.Config.Tools {
		if t.Spec.Name == name {
			return true
		}
	}
	for _, t := range body.Tools {
		if t.Name == name || t.Function.Name == name {
			return true
		}
	}
	return false
}

// HasToolResult tells whether the last message of the conversation has a
// tool_result block, in the OpenAI forms is the result of a tool, or for
// [AmazonQ] has toolResults. System messages, which clients may add at the end,
// are passed over.
func (r Request) HasToolResult() bool {
	var body struct {
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
		Input json.RawMessage `json:"input"`
	}
	if q, ok := currentAmazonQ(r.Body); ok {
		return len(q.Context.ToolResults) > 0
	}
	if r.Decode(&body) != nil {
		return false
	}
	var items []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body.Input, &items) == nil && len(items) > 0 {
		last := items[len(items)-1].Type
		return last == "function_call_output" || last == "custom_tool_call_output"
	}
	for i := len(body.Messages) - 1; i >= 0; i-- {
		m := body.Messages[i]
		switch m.Role {
		case "system", "developer":
			continue
		case "tool":
			return true
		}
		var blocks []struct {
			Type   string          `json:"type"`
			Result json.RawMessage `json:"toolResult"` // of Converse
		}
		if json.Unmarshal(m.Content, &blocks) != nil {
			return false // a plain string
		}
		for _, b := range blocks {
			if b.Type == "tool_result" || b.Result != nil {
				return true
			}
		}
		return false
	}
	return false
}
