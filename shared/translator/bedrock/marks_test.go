package bedrock_test

import (
	"bytes"
	"slices"
	"testing"

	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
)

// TestCachePoints: which models get cache points; for others the service refuses the request with a status of credentials.
func TestCachePoints(t *testing.T) {
	for _, c := range []struct {
		why, id string
		points  bool
	}{
		{"the first three", "anthropic.claude-3-haiku-20240307-v1:0", false},
		{"the first three", "us.anthropic.claude-3-opus-20240229-v1:0", false},
		{"the first 3.5 Sonnet", "us.anthropic.claude-3-5-sonnet-20240620-v1:0", false},
		{"the second one", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", true},
		{"3.5 Haiku", old, true},
		{"3.7", "us.anthropic.claude-3-7-sonnet-20250219-v1:0", true},
		{"4.5", sonnet, true},
		{"the newest", opus, true},
		{"one that is not known yet", "anthropic.claude-next", true},
		{"one before three", "anthropic.claude-v2:1", false},
		{"Nova", nova, true},
		{"another maker's", llama, false},
	} {
		r := decode(t, with(user(`[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]`), ""))
		_, enc := encode(t, c.id, r)
		if points, named := bytes.Contains(enc.Body, []byte("cachePoint")), slices.Contains(enc.Dropped, "cache_control"); points != c.points || named == c.points {
			t.Errorf("%s, %s: points %v, named %v in %s", c.why, c.id, points, named, enc.Body)
		}
	}
}

// TestCachePointsOfAProfile: the ARN of an application's profile does not tell its model: the client's name does.
func TestCachePointsOfAProfile(t *testing.T) {
	for asked, points := range map[string]bool{"claude-opus-5-5": true, "us.amazon.nova-pro-v1:0": true, "claude-3-haiku-20240307": false, "fast": false} {
		r := decode(t, with(user(`[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]`), ""))
		enc, err := codec.Encode(r, translator.Target{Model: "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/opus55app001", Asked: asked})
		if err != nil || bytes.Contains(enc.Body, []byte("cachePoint")) != points || slices.Contains(enc.Dropped, "cache_control") == points {
			t.Errorf("%s: %v, %s", asked, err, enc.Body)
		}
	}
}

// TestCachePointsOfNova: Nova takes four, none of them on tools; marks on tools took the place of others.
func TestCachePointsOfNova(t *testing.T) {
	const mark = `,"cache_control":{"type":"ephemeral"}}`
	text := `{"type":"text","text":"a"` + mark
	body := with(user("["+text+","+text+","+text+","+text+","+text+"]"), `,"tools":[{"name":"t","input_schema":{"type":"object"}`+mark+`]`)
	_, enc := encode(t, nova, decode(t, body))
	if n := bytes.Count(enc.Body, []byte("cachePoint")); n != 4 || !slices.Contains(enc.Dropped, "cache_control") {
		t.Errorf("%d points, dropped %q in %s", n, enc.Dropped, enc.Body)
	}
}

// TestTwoUsers: a Chat request may name its end user twice; the logs' key stood there twice then.
func TestTwoUsers(t *testing.T) {
	for _, c := range []struct {
		why, more, want string
		dropped         []string
	}{
		{"two", `"metadata":{"user_id":"a"},"user":"b"`, `"requestMetadata":{"user_id":"a"}`, []string{"user"}},
		{"one, twice", `"metadata":{"user_id":"a"},"user":"a"`, `"requestMetadata":{"user_id":"a"}`, nil},
		{"beside other metadata", `"metadata":{"team":"x"},"user":"b"`, `"requestMetadata":{"team":"x","user_id":"b"}`, nil},
		{"whose metadata the logs refuse", `"metadata":{"user_id":"a","x":"ü"},"user":"b"`, `"requestMetadata":{"user_id":"b"}`, []string{"metadata"}},
	} {
		r, err := openaichat.Codec{}.Decode([]byte(`{"model":"m",` + c.more + `,"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		_, enc := encode(t, sonnet, r)
		if !bytes.Contains(enc.Body, []byte(c.want)) || !slices.Equal(enc.Dropped, c.dropped) {
			t.Errorf("%s: dropped %q, %s", c.why, enc.Dropped, enc.Body)
		}
	}
}
