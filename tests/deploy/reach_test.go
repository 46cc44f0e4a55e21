package deploy

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// door is a path of the REST API and the function behind it.
type door struct{ path, function string }

func doors(t testing.TB, tpl template) []door {
	t.Helper()
	var out []door
	for id, fn := range tpl.functions() {
		for name, e := range events(fn, "Api") {
			if text(e, "Method") != "ANY" || text(at(e, "RestApiId"), "Ref") != "Api" {
				t.Errorf("%s of %s takes %s of %v", name, id, text(e, "Method"), e["RestApiId"])
			}
			out = append(out, door{text(e, "Path"), id})
		}
	}
	return out
}

// route is API Gateway's choice for a path: the literal one first, then the longest that ends in {proxy+}, which stands for
// one segment or more. A slash at the end does not count.
func route(doors []door, path string) (function string) {
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	best := -1
	for _, d := range doors {
		if d.path == path {
			return d.function
		}
		prefix, greedy := strings.CutSuffix(d.path, "{proxy+}")
		if greedy && strings.HasPrefix(path, prefix) && len(path) > len(prefix) && len(prefix) > best {
			best, function = len(prefix), d.function
		}
	}
	return function
}

// TestTemplateRoutes checks that every route the handlers register leads to the function that has that handler.
func TestTemplateRoutes(t *testing.T) {
	tpl := loadTemplate(t)
	ways := doors(t, tpl)
	for want, list := range map[string][]string{"ProxyFunction": gatewayRoutes(t), "AdminFunction": adminRoutes(t)} {
		if len(list) < 15 {
			t.Fatalf("only %d routes of %s were found in the source: %q", len(list), want, list)
		}
		for _, path := range list {
			if path == "/api/hello" && want == "AdminFunction" {
				continue // Handles names it to say that it is not its own
			}
			if got := route(ways, strings.NewReplacer("{id}", "a1", "{below}", "x").Replace(path)); got != want {
				t.Errorf("%s leads to %q, want %s", path, got, want)
			}
		}
		t.Logf("%s: %d routes", want, len(list))
	}
	for path, want := range map[string]string{"/v1/unknown": "ProxyFunction", "/admin/unknown/deep": "AdminFunction", "/administrator": "ProxyFunction"} {
		if got := route(ways, path); got != want {
			t.Errorf("%s leads to %q, want %s, whose 404 fits", path, got, want)
		}
	}
}

// TestTemplateGatewayResponses checks that what API Gateway answers by itself is an error as clients know it.
func TestTemplateGatewayResponses(t *testing.T) {
	list := at(loadTemplate(t).Resources["Api"], "Properties", "GatewayResponses").(object)
	// Anthropic's types by status (https://docs.anthropic.com/en/api/errors); "" is a status that API Gateway chooses
	types := map[string]string{"400": "invalid_request_error", "401": "authentication_error", "403": "permission_error", "404": "not_found_error",
		"413": "request_too_large", "429": "rate_limit_error", "500": "api_error", "504": "timeout_error"}
	fallback := map[string]string{"DEFAULT_4XX": "invalid_request_error", "DEFAULT_5XX": "api_error"}
	seen := map[string]bool{}
	for name, r := range list {
		status := text(r, "StatusCode")
		want := types[status]
		if status == "" {
			want = fallback[name]
		}
		seen[want] = true
		body := text(r, "ResponseTemplates", "application/json")
		body = strings.NewReplacer("$context.error.messageString", `"a \"quoted\" text"`, "$context.requestId", "11112222").Replace(body)
		var e struct {
			Type      string
			Error     struct{ Type, Message string }
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s: %v\n%s", name, err, body)
		}
		if e.Type != "error" || e.Error.Type != want || e.Error.Message == "" || e.RequestID != "11112222" {
			t.Errorf("%s (%s) answers %+v, want type %q", name, status, e, want)
		}
		headers := at(r, "ResponseParameters", "Headers")
		if text(headers, "request-id") != "context.requestId" {
			t.Errorf("%s has no request-id", name)
		}
		if after := text(headers, "retry-after"); (status == "429") != regexp.MustCompile(`^'[1-9][0-9]*'$`).MatchString(after) {
			t.Errorf("%s (%s) has retry-after %q", name, status, after)
		}
	}
	for _, want := range []string{"DEFAULT_4XX", "DEFAULT_5XX", "REQUEST_TOO_LARGE", "THROTTLED", "INTEGRATION_TIMEOUT", "MISSING_AUTHENTICATION_TOKEN"} {
		if list[want] == nil {
			t.Errorf("%s is left as API Gateway has it", want)
		}
	}
	for _, typ := range types {
		if !seen[typ] {
			t.Errorf("no answer has the type %s", typ)
		}
	}
}

// TestTemplateEnvironment checks that each variable is a setting that the program reads and the READMEs tell of, and that
// what is secret is only referred to.
func TestTemplateEnvironment(t *testing.T) {
	tpl := loadTemplate(t)
	known := settings(t)
	secret := regexp.MustCompile(`core\.Secret\s+` + "`" + `env:"([A-Z_]+)"`)
	var secrets []string
	for _, m := range secret.FindAllStringSubmatch(read(t, "shared/config/config.go"), -1) {
		secrets = append(secrets, m[1])
	}
	if len(secrets) < 6 {
		t.Fatalf("only %q are secrets", secrets)
	}
	readable := regexp.MustCompile(`(?s)func referable\(\) \[\]string \{.*?\n\}`).FindString(read(t, "shared/boot/lambda.go"))
	for variant, params := range variants {
		s := newStack(t, tpl, params)
		for id := range tpl.functions() {
			env := s.environment(id)
			for name, value := range env {
				if !slices.Contains(known, name) {
					t.Errorf("%s gets %s, which nothing reads", id, name)
				}
				for _, file := range []string{"README.md", "README.zh-CN.md"} {
					if !strings.Contains(read(t, file), "`"+name+"`") {
						t.Errorf("%s does not tell of %s", file, name)
					}
				}
				if !slices.Contains(secrets, name) {
					continue
				}
				if !strings.Contains(readable, `"`+name+`"`) {
					t.Errorf("%s of %s: the function does not read references in it", name, id)
				}
				if value != "" && !strings.HasPrefix(value, "arn:") && !strings.HasSuffix(value, "Secret>") && !strings.HasPrefix(value, "dynamodb://") {
					t.Errorf("%s: %s of %s stands in the clear: %q", variant, name, id, value)
				}
			}
			if _, has := env["ADMIN_API_KEY"]; has != (id == "AdminFunction") {
				t.Errorf("%s: %s has the admin key: %v", variant, id, has)
			}
			if env["STORE_URL"] == "" || env["SLUICE_MASTER_KEY"] == "" || env["STORE_SPOOL_DIR"] != "off" {
				t.Errorf("%s: %s gets %v", variant, id, env)
			}
			if params == nil && env["STORE_URL"] != "dynamodb://<Table>?region=eu-west-1" {
				t.Errorf("%s: STORE_URL is %s", id, env["STORE_URL"])
			}
		}
	}
}

// linked are the packages of this module that the functions are made of.
func linked(t testing.TB) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", "lambda.norpc", "./functions/proxy", "./functions/admin", "./functions/healthcheck")
	cmd.Dir = root(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "sluice/"); ok {
			list = append(list, dir)
		}
	}
	return list
}

// platform are the actions that no line of ours calls.
var platform = map[string]string{
	"logs:CreateLogStream": "Lambda writes the log in the function's name",
	"logs:PutLogEvents":    "likewise",
	"kms:Decrypt":          "DynamoDB and Secrets Manager ask KMS in their caller's name",
	"kms:DescribeKey":      "DynamoDB, likewise",
	"kms:Encrypt":          "DynamoDB, likewise",
	"kms:GenerateDataKey*": "DynamoDB, likewise",
	"kms:ReEncrypt*":       "DynamoDB, likewise",
}

// boundless are the actions that IAM binds to no resource.
var boundless = map[string]string{
	"bedrock:ListFoundationModels":  "lists of AWS's own models",
	"bedrock:ListInferenceProfiles": "and of their profiles",
}

// foregone are the calls that the functions do without.
var foregone = map[string]string{
	"dynamodb:Scan": "only looks whether a new table is empty, which the stack's is; the store takes the refusal",
}

// TestTemplateActions compares what the policies allow with the calls in the source.
func TestTemplateActions(t *testing.T) {
	tpl := loadTemplate(t)
	allowed := map[string]bool{}
	for id, r := range tpl.Resources {
		typ := text(r, "Type")
		if typ != "AWS::IAM::Role" && typ != "AWS::IAM::ManagedPolicy" {
			continue
		}
		walk(at(r, "Properties"), id, func(path string, o object) {
			if strings.Contains(path, "AssumeRolePolicyDocument") || o["Effect"] == nil {
				return
			}
			actions, ok := o["Action"].([]any)
			if !ok {
				actions = []any{o["Action"]}
			}
			for _, a := range actions {
				allowed[a.(string)] = true
			}
			if fmt.Sprint(o["Resource"]) == "*" && slices.ContainsFunc(actions, func(a any) bool { return boundless[a.(string)] == "" }) {
				t.Errorf("%s allows everything of %v", path, actions)
			}
		})
	}
	used := calls(t, linked(t))
	for action := range bedrockCalls(t) {
		used[action] = true
	}
	for action := range used {
		if !allowed[action] && foregone[action] == "" {
			t.Errorf("the code calls %s, which no policy allows", action)
		}
		if allowed[action] && foregone[action] != "" {
			t.Errorf("%s is allowed and said to be done without", action)
		}
	}
	for action := range allowed {
		if !used[action] && platform[action] == "" {
			t.Errorf("%s is allowed and nothing calls it", action)
		}
	}
	for action := range platform {
		if !allowed[action] {
			t.Errorf("%s is explained and not allowed", action)
		}
	}
	if len(used) < 8 {
		t.Errorf("only %v were found in the source", used)
	}
	asRecorded(t, used, allowed)
	t.Log(used)
}

// asRecorded compares both with the actions that DynamoDB's conformance test saw on the wire: what the source seems to call
// is called, and the policies allow what the store does, all of it and nothing else.
func asRecorded(t *testing.T, used, allowed map[string]bool) {
	t.Helper()
	const file = "shared/store/dynamodb/testdata/operations.txt"
	recorded := map[string]bool{}
	for _, op := range strings.Fields(read(t, file)) {
		recorded["dynamodb:"+op] = true
	}
	for action := range recorded {
		if !used[action] {
			t.Errorf("%s was seen on the wire (%s), and the source does not seem to call it", action, file)
		}
		if !allowed[action] && foregone[action] == "" {
			t.Errorf("%s was seen on the wire (%s), and no policy allows it", action, file)
		}
	}
	for action := range used {
		if strings.HasPrefix(action, "dynamodb:") && !recorded[action] {
			t.Errorf("the source seems to call %s, which was not seen on the wire (%s)", action, file)
		}
	}
	for action := range allowed {
		if strings.HasPrefix(action, "dynamodb:") && !recorded[action] {
			t.Errorf("%s is allowed, and was not seen on the wire (%s)", action, file)
		}
	}
}
