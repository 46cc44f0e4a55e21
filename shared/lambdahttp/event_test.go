package lambdahttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const (
	urlContext  = `"requestContext":{"domainName":"x.lambda-url.eu-west-1.on.aws","stage":"$default","requestId":"u1","http":{"method":"POST","sourceIp":"2001:db8::1"}}`
	httpContext = `"requestContext":{"domainName":"x.execute-api.eu-west-1.amazonaws.com","stage":%q,"requestId":"h1","http":{"method":"GET","sourceIp":"192.0.2.1"}}`
	restContext = `"requestContext":{"domainName":"x.execute-api.eu-west-1.amazonaws.com","stage":"prod","requestId":"r1","path":%q,"identity":{"sourceIp":"192.0.2.1"}}`
)

func rest(path, public, resource, proxy, more string) string {
	return fmt.Sprintf(`{"httpMethod":"GET","path":%q,"resource":%q,"pathParameters":{"proxy":%q},`+more+restContext+`}`, path, resource, proxy, public)
}

func v2(path, route, params, stage, more string) string {
	return fmt.Sprintf(`{"version":"2.0","rawPath":%q,"routeKey":%q,"pathParameters":%s,`+more+httpContext+`}`, path, route, params, stage)
}

func TestEvents(t *testing.T) {
	for _, tc := range []struct {
		name, why, event string
		kind             Kind
		uri, prefix      string
		header           http.Header
		remote           string
	}{
		{"function URL", "payload 2.0 of a lambda-url domain; cookies stand in the header already, as the client wrote them",
			`{"version":"2.0","rawPath":"/a%2Fb","rawQueryString":"b=2&a=1","cookies":["s=1","t=2"],"headers":{"cookie":"s=1;t=2;","anthropic-beta":"a,b"},` + urlContext + `}`,
			FunctionURL, "/a%2Fb?b=2&a=1", "", http.Header{"Cookie": {"s=1;t=2;"}, "Anthropic-Beta": {"a,b"}}, "[2001:db8::1]:0"},
		{"HTTP API", "cookies stand in the array alone; the path came decoded and is not decoded again",
			v2("/a%2Fb", "$default", "null", "$default", `"cookies":["s=1","t=2"],`), HTTPAPI, "/a%252Fb", "", http.Header{"Cookie": {"s=1; t=2"}}, "192.0.2.1:0"},
		{"HTTP API stage", "a named stage is part of rawPath", v2("/prod/v1/x", "$default", "null", "prod", ""), HTTPAPI, "/v1/x", "/prod", http.Header{}, "192.0.2.1:0"},
		{"HTTP API stage in the path proper", "a segment that only begins like the stage is the handler's", v2("/production/x", "$default", "null", "prod", ""), HTTPAPI, "/production/x", "", http.Header{}, "192.0.2.1:0"},
		{"HTTP API stage alone", "nothing behind the stage is the root", v2("/prod", "$default", "null", "prod", ""), HTTPAPI, "/", "/prod", http.Header{}, "192.0.2.1:0"},
		{"HTTP API route", "the route's parameters tell the path proper", v2("/prod/v1/x", "ANY /{proxy+}", `{"proxy":"v1/x"}`, "prod", ""), HTTPAPI, "/v1/x", "/prod", http.Header{}, "192.0.2.1:0"},
		{"HTTP API payload 1.0", "has a version, which REST events have not",
			`{"version":"1.0",` + rest("/a b", "/prod/a b", "/{proxy+}", "a b", "")[1:], HTTPAPI, "/a%20b", "", http.Header{}, "192.0.2.1:0"},
		{"REST stage", "the stage is in the public path only", rest("/v1/a%2Fb", "/prod/v1/a%2Fb", "/{proxy+}", "v1/a/b", ""), REST, "/v1/a%2Fb", "/prod", http.Header{}, "192.0.2.1:0"},
		{"REST root", "called without the last slash", rest("/", "/prod", "/", "", ""), REST, "/", "/prod", http.Header{}, "192.0.2.1:0"},
		{"REST domain", "a custom domain's base path is in both paths, and belongs to neither route nor handler",
			rest("/gw/v1/a%2Fb", "/gw/v1/a%2Fb", "/{proxy+}", "v1/a/b", ""), REST, "/v1/a%2Fb", "/gw", http.Header{}, "192.0.2.1:0"},
		{"REST plain route", "no parameters at all", rest("/gw/v1/messages", "/gw/v1/messages", "/v1/messages", "", ""), REST, "/v1/messages", "/gw", http.Header{}, "192.0.2.1:0"},
		{"REST nested proxy", "the template's own segments stay", rest("/user/x", "/prod/user/x", "/user/{proxy+}", "x", ""), REST, "/user/x", "/prod", http.Header{}, "192.0.2.1:0"},
		{"REST odd escape", "what cannot be an escaped path is a decoded one", rest("/100%", "/prod/100%", "/{proxy+}", "100%", ""), REST, "/100%25", "/prod", http.Header{}, "192.0.2.1:0"},
		{"REST values", "multi values win; a name that only the single ones have is kept; values are decoded", rest("/x", "/prod/x", "/{proxy+}", "x",
			`"headers":{"a":"2","Only":"1","host":"h.example"},"multiValueHeaders":{"A":["1","2"],"Host":["h.example"]},"queryStringParameters":{"q":"2"},"multiValueQueryStringParameters":{"q":["1 &","2"]},`),
			REST, "/x?q=1+%26&q=2", "/prod", http.Header{"A": {"1", "2"}, "Only": {"1"}}, "192.0.2.1:0"},
		{"REST single values", "SAM and old test events have no multi values", rest("/x", "/prod/x", "/{proxy+}", "x", `"headers":{"a":"2"},"multiValueHeaders":null,"queryStringParameters":{"q":"2"},`),
			REST, "/x?q=2", "/prod", http.Header{"A": {"2"}}, "192.0.2.1:0"},
		{"console test", "its source address is a word", strings.Replace(rest("/x", "/prod/x", "/{proxy+}", "x", ""), "192.0.2.1", "test-invoke-source-ip", 1),
			REST, "/x", "/prod", http.Header{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ev, bad := parseEvent([]byte(tc.event), MaxEvent)
			if bad != nil {
				t.Fatalf("%s: refused: %v", tc.why, bad)
			}
			r := ev.request(t.Context())
			if ev.kind != tc.kind || r.URL.RequestURI() != tc.uri || r.RequestURI != tc.uri || ev.prefix != tc.prefix || !reflect.DeepEqual(r.Header, tc.header) || r.RemoteAddr != tc.remote {
				t.Errorf("%s: got %v %s prefix %q %v from %q", tc.why, ev.kind, r.URL.RequestURI(), ev.prefix, r.Header, r.RemoteAddr)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	for _, tc := range []struct{ name, why, members, want, length string }{
		{"text", "the length is of the decoded text", `"body":"é\n\"","isBase64Encoded":false,"headers":{"content-length":"99"},`, "é\n\"", "4"},
		{"base64", "decoded, with the decoded length", `"body":"AP/+\/w==","isBase64Encoded":true,"headers":{"Content-Length":"8","Transfer-Encoding":"chunked"},`, "\x00\xff\xfe\xff", "4"},
		{"null", "no body", `"body":null,`, "", ""},
		{"none", "no member", ``, "", ""},
		{"empty", "a stated length stays stated", `"body":"","headers":{"Content-Length":"0"},`, "", "0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ev, bad := parseEvent([]byte(rest("/x", "/prod/x", "/{proxy+}", "x", tc.members)), MaxEvent)
			if bad != nil {
				t.Fatal(bad)
			}
			r := ev.request(t.Context())
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != tc.want || r.ContentLength != int64(len(tc.want)) || r.Header.Get("Content-Length") != tc.length || r.Header.Get("Transfer-Encoding") != "" {
				t.Errorf("%s: %q, length %d, header %v, %v", tc.why, b, r.ContentLength, r.Header, err)
			}
		})
	}
}

func TestRefusedEvents(t *testing.T) {
	many := `"headers":{` + strings.TrimSuffix(strings.Repeat(`"a":"b",`, maxHeaders+1), ",") + `},`
	for _, tc := range []struct {
		name, event, want string
		kind              Kind
	}{
		{"no JSON", `nonsense`, "no JSON object", Unknown},
		{"array", `[]`, "no JSON object", Unknown},
		{"cut", `{"version":"2.0"`, "no JSON object", Unknown},
		{"scheduler", `{"job":"probe"}`, "no HTTP request", Unknown},
		{"queue", `{"Records":[{"body":"x"}]}`, "no HTTP request", Unknown},
		{"websocket", `{"requestContext":{"routeKey":"$connect","eventType":"CONNECT"}}`, "no HTTP request", Unknown},
		{"load balancer", `{"httpMethod":"GET","path":"/","requestContext":{"elb":{}}}`, "no HTTP request", Unknown},
		{"context of no kind", `{"version":"2.0","rawPath":"/","requestContext":"x"}`, "no HTTP request", Unknown},
		{"method", `{"version":"2.0","rawPath":"/",` + strings.Replace(urlContext, "POST", "GE T", 1) + `}`, "method", FunctionURL},
		{"header value", rest("/x", "", "/x", "", `"headers":{"a":"b\r\nc: d"},`), "headers", REST},
		{"header name", rest("/x", "", "/x", "", `"headers":{"a b":"c"},`), "headers", REST},
		{"header type", rest("/x", "", "/x", "", `"headers":{"a":{"b":1}},`), "headers", REST},
		{"headers type", rest("/x", "", "/x", "", `"multiValueHeaders":"a",`), "headers", REST},
		{"headers count", rest("/x", "", "/x", "", many), "headers", REST},
		{"query type", rest("/x", "", "/x", "", `"multiValueQueryStringParameters":{"a":[1]},`), "query", REST},
		{"base64", rest("/x", "", "/x", "", `"body":"%%","isBase64Encoded":true,`), "base64", REST},
		{"body type", rest("/x", "", "/x", "", `"body":{},`), "body", REST},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ev, bad := parseEvent([]byte(tc.event), MaxEvent)
			if bad == nil || !strings.Contains(bad.Message, tc.want) || ev.kind != tc.kind || bad.Code.Status() != 400 {
				t.Fatalf("%v of %v", bad, ev.kind)
			}
			if strings.Contains(bad.Message, "probe") {
				t.Error("the message repeats the event")
			}
			_ = ev.request(t.Context()) // enough of one to answer
		})
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(rest("/gw/v1/a%2Fb", "/gw/v1/a%2Fb", "/{proxy+}", "v1/a/b", `"body":"AP/+","isBase64Encoded":true,"multiValueHeaders":{"A":["1"]},`)))
	f.Add([]byte(v2("/prod/x", "ANY /{proxy+}", `{"proxy":"x"}`, "prod", `"cookies":["a=b"],`)))
	f.Add([]byte(`{"version":"2.0","rawPath":"","rawQueryString":"%","headers":{"a":"b"},"body":"x",` + urlContext + `}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, bad := parseEvent(raw, 64)
		r := ev.request(context.Background())
		b, err := io.ReadAll(r.Body)
		if err != nil || int64(len(b)) != r.ContentLength || len(b) > 64 {
			t.Fatalf("%d bytes of %d, %v", len(b), r.ContentLength, err)
		}
		if bad != nil {
			return
		}
		if ev.kind == Unknown || !isToken(r.Method) || !strings.HasPrefix(r.URL.Path, "/") || len(r.Header) > maxHeaders+2 {
			t.Fatalf("%v %q %q", ev.kind, r.Method, r.URL.Path)
		}
		for k, vs := range r.Header {
			for _, v := range vs {
				if !isToken(k) || !isValue(v) {
					t.Fatalf("header %q: %q", k, v)
				}
			}
		}
	})
}
