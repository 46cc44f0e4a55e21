package aws_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/translator/internal/aws"
)

func TestFailure(t *testing.T) {
	for _, c := range []struct {
		why, name, body string
		status          int
		want            aws.Failure
		words           string
	}{
		{"a shape with its namespace", "", `{"__type":"com.amazon.coral#ValidationException","message":" bad "}`, 400, aws.Failure{Name: "Validation", Message: " bad "}, "bad"},
		{"the header's name goes first, without the address behind it", "ThrottlingException:http://internal/", `{"__type":"XException","message":"m"}`, 429, aws.Failure{Name: "Throttling", Message: "m"}, "m"},
		{"a name in a stream, and one in small letters", "validationexception", `{"Message":"m"}`, 0, aws.Failure{Name: "validation", Message: "m"}, "m"},
		{"a suffix that is the whole name", "error", `{}`, 0, aws.Failure{Name: "error"}, "the upstream reported an error: error"},
		{"a code in place of a type, and a reason", "", `{"code":"AccessDeniedError","reason":"R","message":"m"}`, 403, aws.Failure{Name: "AccessDenied", Reason: "R", Message: "m"}, "m"},
		{"a model's own words", "", `{"message":"failed:","originalMessage":"out of cheese"}`, 424, aws.Failure{Message: "failed: out of cheese"}, "failed: out of cheese"},
		{"an ARN names an account", "", `{"__type":"XException","message":"User: ARN:aws:iam::123456789012:user/x"}`, 403, aws.Failure{Name: "X", Message: "User: ARN:aws:iam::123456789012:user/x"}, "the upstream reported an error: X"},
		{"nor has a name of strange letters a place", "", `{"__type":"arn::123456789012"}`, 403, aws.Failure{Name: "arn"}, "the upstream reported an error: arn"},
		{"a name that is none", "", `{"__type":"<b>123456789012</b>"}`, 400, aws.Failure{Name: "<b>123456789012</b>"}, "the upstream answered with status 400 and no message"},
		{"nothing at all, in a stream", "", `<html>`, 0, aws.Failure{}, "the upstream reported an error without words for it"},
	} {
		f := aws.ReadFailure(c.name, []byte(c.body))
		if f != c.want || f.Words(c.status) != c.words {
			t.Errorf("%s: %+v says %q", c.why, f, f.Words(c.status))
		}
	}
	for name, want := range map[string]string{`{"a":1}`: `{"__type":"X","a":1}`, ` { } `: `{"__type":"X"}`, `[1]`: `{"__type":"X"}`, `{"__type":"Y","message":"m"}`: `{"__type":"X","message":"m"}`,
		`{"a": {"__type":1} ,"__typ\u0065":"Y", "__type" : null}`: `{"__type":"X","a":{"__type":1}}`, `{"__type":"Y"}`: `{"__type":"X"}`, `{"a":1,"b"}`: `{"__type":"X"}`, `{"a":`: `{"__type":"X"}`, ``: `{"__type":"X"}`} {
		if got := aws.Typed("X", []byte(name)); string(got) != want {
			t.Errorf("%q: %s", name, got)
		}
		if f := aws.ReadFailure("", aws.Typed("X", []byte(name))); f.Name != "X" {
			t.Errorf("%q: read as %+v", name, f)
		}
	}
}

func TestRefuse(t *testing.T) {
	more := map[string]string{"container": "leave it out"}
	field := func(name, value string) translator.Field {
		return translator.Field{Name: name, Value: translator.Raw(value)}
	}
	for _, c := range []struct {
		why           string
		r             translator.Request
		want, dropped string
	}{
		{"nothing", translator.Request{}, "", ""},
		{"hints are dropped", translator.Request{Extras: []translator.Field{field("seed", "1"), field("speed", `"fast"`)}}, "", "seed speed"},
		{"values that ask for nothing", translator.Request{Extras: []translator.Field{field("audio", "null"), field("background", "false"), field("mcp_servers", "[]"), field("container", "{}"), field("n", "1")}}, "", ""},
		{"the first that has no place", translator.Request{Extras: []translator.Field{field("seed", "1"), field("n", "2"), field("audio", `{"a":1}`)}}, "n: is not offered by the upstream that serves this model; send one request for each choice", ""},
		{"one of this service's own", translator.Request{Extras: []translator.Field{field("container", `"c"`)}}, "container: is not offered by the upstream that serves this model; leave it out", ""},
		{"one that the codec sees to", translator.Request{Extras: []translator.Field{field("metadata", `{"a":"b"}`)}}, "", ""},
		{"log probabilities, as each dialect asks for them", translator.Request{Logprobs: true}, "logprobs: log", ""},
		{"in chat", translator.Request{Logprobs: true, TopLogprobs: translator.Raw("3")}, "top_logprobs: log", ""},
		{"in Responses", translator.Request{Logprobs: true, From: core.DialectOpenAIResponses}, "include: log", ""},
	} {
		out := &translator.Encoded{}
		err := aws.Refuse(&c.r, out, more, "metadata")
		switch {
		case (err == nil) != (c.want == ""), err != nil && !strings.HasPrefix(err.Error(), c.want):
			t.Errorf("%s: %v", c.why, err)
		case err == nil && strings.Join(out.Dropped, " ") != c.dropped:
			t.Errorf("%s: dropped %v", c.why, out.Dropped)
		}
	}
	if out := (&translator.Encoded{}); aws.Refuse(&translator.Request{Extras: []translator.Field{field("container", `"c"`)}}, out, nil) != nil || !slices.Contains(out.Dropped, "container") {
		t.Error("a field that another service refuses")
	}
}

// FuzzFailure: whatever a service sends, a client reads a short text that names no ARN, and the error in a stream stays JSON.
func FuzzFailure(f *testing.F) {
	f.Add("ThrottlingException", []byte(`{"message":"User: arn:aws:iam::123456789012:user/x"}`), 400)
	f.Add("", []byte(`{"__type":"a#arn:aws:x","Message":"\ud800","originalMessage":"Arn:"}`), 0)
	f.Add("\xff", []byte(` {"message":"`+strings.Repeat("ä", 2000)+`"} `), 500)
	f.Fuzz(func(t *testing.T, name string, body []byte, status int) {
		words := aws.ReadFailure(name, body).Words(status)
		if words == "" || len(words) > 2<<10 || !utf8.ValidString(words) || strings.Contains(strings.ToLower(words), "arn:") {
			t.Errorf("%q", words)
		}
		if err := rawjson.Valid(aws.Typed(name, body)); err != nil {
			t.Errorf("%v: %q", err, aws.Typed(name, body))
		}
	})
}
