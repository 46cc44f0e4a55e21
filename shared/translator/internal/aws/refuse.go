package aws

import (
	"slices"

	"sluice/shared/core"
	"sluice/shared/translator"
)

// noPlace are fields that change what is answered and that neither service has a place for, with what to do instead.
var noPlace = map[string]string{
	"n":                    "send one request for each choice",
	"best_of":              "send one request for each choice",
	"audio":                "ask for text",
	"modalities":           "ask for text",
	"web_search_options":   "leave it out, or name a model of another upstream",
	"background":           "leave it out and wait for the answer",
	"conversation":         "send the whole conversation",
	"prompt":               "send the prompt's text",
	"previous_response_id": "send the whole conversation",
	"mcp_servers":          "declare their functions as tools",
}

// idle are values of fields that ask for nothing.
var idle = []string{"null", "false", "[]", "{}"}

// Refuse names what the answer depends on and the service cannot do; nil: nothing. Fields that are hints are dropped in out.
// more are fields that this service has no place for besides, with the remedy of each; own are those that the codec sees to
// itself.
func Refuse(r *translator.Request, out *translator.Encoded, more map[string]string, own ...string) (err *translator.FieldError) {
	if r.Logprobs || len(r.TopLogprobs) > 0 {
		field := "logprobs"
		switch {
		case len(r.TopLogprobs) > 0:
			field = "top_logprobs"
		case r.From == core.DialectOpenAIResponses:
			field = "include"
		}
		err = translator.Bad(field, "log probabilities are not offered by the upstream that serves this model; leave them out")
	}
	for i := range r.Extras {
		x := &r.Extras[i]
		if slices.Contains(idle, string(x.Value)) || slices.Contains(own, x.Name) || x.Name == "n" && string(x.Value) == "1" {
			continue
		}
		remedy, no := noPlace[x.Name]
		if !no {
			remedy, no = more[x.Name]
		}
		if no && err == nil {
			err = translator.Bad(x.Name, "is not offered by the upstream that serves this model; "+remedy)
		}
		out.Drop(x.Name)
	}
	return err
}
