package deploy

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// variants are sets of parameters that lead through all conditions.
var variants = map[string]map[string]string{
	"defaults": nil,
	"all options": {"AdminApiKey": "an-admin-key-of-some-length", "FunctionUrl": "true", "AlarmEmail": "ops@example.com", "CaptureBucket": "kept-bodies", "ProxyConcurrency": "20",
		"AllowBedrock": "true", "BedrockRoleArns": "arn:aws:iam::123456789012:role/bedrock",
		"DefaultProxyApiKeyArn": "arn:aws:ssm:eu-west-1:123456789012:parameter/key", "UpstreamApiKeyArn": "arn:aws:ssm:eu-west-1:123456789012:parameter/up"},
	"everything of one's own": {"AdminApiKeyArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf",
		"MasterKeyArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:master-AbCdEf",
		"StoreUrlArn":  "arn:aws:ssm:eu-west-1:123456789012:parameter/redis", "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"},
}

// TestTemplateNames checks that what is referred to exists, is made under the same conditions, and that nothing is idle.
func TestTemplateNames(t *testing.T) {
	tpl := loadTemplate(t)
	used := map[string]bool{}
	references(tpl.whole, func(path, name string) {
		used[name] = true
		_, param := tpl.Parameters[name]
		_, resource := tpl.Resources[name]
		if !param && !resource && !strings.HasPrefix(name, "AWS::") {
			t.Errorf("%s refers to %s, which does not exist", path, name)
		}
	})
	walk(tpl.whole, "", func(path string, o object) {
		if list, ok := o["Fn::If"].([]any); ok {
			used[list[0].(string)] = true
		}
		if c, ok := o["Condition"].(string); ok {
			used[c] = true
		}
	})
	for name := range tpl.Parameters {
		if !used[name] {
			t.Errorf("parameter %s does nothing", name)
		}
	}
	for name := range tpl.Conditions {
		if !used[name] {
			t.Errorf("condition %s does nothing", name)
		}
	}
	for variant, params := range variants {
		t.Run(variant, func(t *testing.T) {
			s := newStack(t, tpl, params)
			for _, part := range []object{tpl.Resources, tpl.Outputs} {
				for _, v := range part {
					if s.has(v) {
						s.resolve(v) // fails on names that this variant does not make
					}
				}
			}
		})
	}
	var grouped []string
	for _, g := range at(tpl.whole, "Metadata", "AWS::CloudFormation::Interface", "ParameterGroups").([]any) {
		for _, p := range at(g, "Parameters").([]any) {
			grouped = append(grouped, p.(string))
		}
	}
	for name := range tpl.Parameters {
		if !slices.Contains(grouped, name) {
			t.Errorf("parameter %s is in no group", name)
		}
	}
	if len(grouped) != len(tpl.Parameters) {
		t.Errorf("the groups name %d parameters, there are %d", len(grouped), len(tpl.Parameters))
	}
}

// TestTemplateParameters feeds the patterns what people type.
func TestTemplateParameters(t *testing.T) {
	tpl := loadTemplate(t)
	arn := "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sluice-AbCdEf"
	for _, c := range []struct {
		param, value string
		ok           bool
		why          string
	}{
		{"AdminApiKey", "", true, "the stack makes one"},
		{"AdminApiKey", "admin", false, "the published default, and shorter than 16"},
		{"AdminApiKey", "amq-admin-default-key-change-immediately", true, "a default that a pattern cannot see; the function refuses it"},
		{"AdminApiKey", "sixteen chars no", false, "spaces cannot travel in a header"},
		{"AdminApiKeyArn", arn, true, "a secret"},
		{"AdminApiKeyArn", "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/sluice/admin", true, "a parameter, in China"},
		{"AdminApiKeyArn", "my-secure-admin-key", false, "the key itself would be readable in the function's settings"},
		{"UpstreamApiKeyArn", "sk-ant-key", false, "likewise"},
		{"DefaultProxyApiKeyArn", "arn:aws:iam::123456789012:role/x", false, "no secret"},
		{"StoreUrlArn", "redis://h:6379/0", false, "it may hold a password"},
		{"UpstreamBaseUrl", "https://api.anthropic.com", true, ""},
		{"UpstreamBaseUrl", "api.anthropic.com", false, "no scheme"},
		{"UpstreamBaseUrl", "https://u:p@host", false, "credentials in the address"},
		{"PublicUrl", "http://gw.example.com", false, "cookies would not be secure"},
		{"BedrockRoleArns", "", true, "none"},
		{"BedrockRoleArns", "arn:aws-us-gov:iam::123456789012:role/teams/bedrock", true, "a role, with its path"},
		{"BedrockRoleArns", "*", false, "anyone's roles"},
		{"BedrockRoleArns", "arn:aws:iam::*:role/bedrock", false, "likewise"},
		{"BedrockRoleArns", "arn:aws:iam::123456789012:user/x", false, "no role"},
		{"StageName", "prod", true, ""},
		{"StageName", "a/b", false, "one part of a path"},
		{"LimitsTimeZone", "America/Argentina/Buenos_Aires", true, ""},
		{"LimitsTimeZone", "", false, "UTC says it better"},
		{"AlarmEmail", "ops@example.com", true, ""},
		{"AlarmEmail", "ops", false, "no address"},
		{"SettingsVersion", "2026-11-22", true, ""},
	} {
		pattern := text(tpl.Parameters[c.param], "AllowedPattern")
		// CloudFormation matches the whole value
		if got := regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(c.value); got != c.ok {
			t.Errorf("%s=%q: accepted %v, want %v (%s)", c.param, c.value, got, c.ok, c.why)
		}
	}
	for name, p := range tpl.Parameters {
		o := p.(object)
		if text(o, "Description") == "" {
			t.Errorf("%s has no description", name)
		}
		if o["AllowedPattern"] != nil && o["ConstraintDescription"] == nil {
			t.Errorf("%s does not say what its pattern wants", name)
		}
		if o["AllowedPattern"] == nil && o["AllowedValues"] == nil && o["MinValue"] == nil && o["MaxLength"] == nil &&
			!slices.Contains([]string{"CorsAllowOrigins", "SubnetIds", "SecurityGroupIds"}, name) { // checked by config, and by EC2
			t.Errorf("%s is not validated", name)
		}
		if hidden := text(o, "NoEcho") == "true"; hidden != (name == "AdminApiKey") {
			t.Errorf("%s: NoEcho is %v", name, hidden)
		}
	}
}

// TestTemplateSecrets checks that no secret stands in a function's settings or in an output.
func TestTemplateSecrets(t *testing.T) {
	tpl := loadTemplate(t)
	references(tpl.whole, func(path, name string) {
		if text(tpl.Parameters[name], "NoEcho") == "true" && !strings.HasPrefix(path, "/Resources/AdminKeySecret/Properties/SecretString") &&
			!strings.HasPrefix(path, "/Conditions/") {
			t.Errorf("%s shows the secret %s", path, name)
		}
	})
	key := at(tpl.Resources["MasterKeySecret"], "Properties", "GenerateSecretString")
	if text(key, "PasswordLength") != "43" || text(key, "ExcludePunctuation") != "true" {
		t.Errorf("the master key is made as %v; TestSettingsOfTheTemplate tries 43 letters and digits", key)
	}
	for _, id := range []string{"Table", "Key", "MasterKeySecret"} {
		r := tpl.Resources[id]
		if text(r, "DeletionPolicy") != "Retain" || text(r, "UpdateReplacePolicy") != "Retain" {
			t.Errorf("%s goes with the stack, and all node credentials with it", id)
		}
	}
}

// TestTemplateTable compares the table with the one that `sluice store init` makes.
func TestTemplateTable(t *testing.T) {
	source := read(t, "shared/store/dynamodb/schema.go")
	p := at(loadTemplate(t).Resources["Table"], "Properties").(object)
	kinds := map[string]string{"HASH": "KeyTypeHash", "RANGE": "KeyTypeRange"}
	keys := p["KeySchema"].([]any)
	for _, k := range keys {
		name, kind := text(k, "AttributeName"), text(k, "KeyType")
		if !strings.Contains(source, `element("`+name+`", types.`+kinds[kind]+`)`) {
			t.Errorf("the code makes no key %s of type %s", name, kind)
		}
	}
	if n := strings.Count(source, `element("`); n != len(keys) {
		t.Errorf("the code's table has %d keys, the template's %d", n, len(keys))
	}
	for _, a := range p["AttributeDefinitions"].([]any) {
		if text(a, "AttributeType") != "S" || !strings.Contains(source, `attribute("`+text(a, "AttributeName")+`")`) {
			t.Errorf("the code does not make the attribute %v", a)
		}
	}
	if !strings.Contains(source, "ScalarAttributeTypeS") || !strings.Contains(source, "BillingModePayPerRequest") || text(p, "BillingMode") != "PAY_PER_REQUEST" {
		t.Error("type of the keys or billing mode differ")
	}
	ttl := text(p, "TimeToLiveSpecification", "AttributeName")
	if !strings.Contains(source, `AttributeName: new("`+ttl+`"), Enabled: yes()`) || text(p, "TimeToLiveSpecification", "Enabled") != "true" {
		t.Errorf("TTL is on %q, not on what the code writes", ttl)
	}
	for path, want := range map[string]string{"PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled": "true", "SSESpecification/SSEEnabled": "true",
		"SSESpecification/SSEType": "KMS", "DeletionProtectionEnabled": "true"} {
		if got := text(p, strings.Split(path, "/")...); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if p["GlobalSecondaryIndexes"] != nil || p["LocalSecondaryIndexes"] != nil {
		t.Error("the store uses no index")
	}
}

// TestTemplateJobs compares the schedules with the jobs that the function knows.
func TestTemplateJobs(t *testing.T) {
	tpl := loadTemplate(t)
	m := regexp.MustCompile(`JobNames\(\) \[\]string \{ return \[\]string\{([^}]*)\}`).FindStringSubmatch(read(t, "shared/boot/jobs.go"))
	if m == nil {
		t.Fatal("shared/boot/jobs.go has no JobNames any more")
	}
	want := strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", ")
	var got []string
	for id, fn := range tpl.functions() {
		for name, e := range events(fn, "ScheduleV2") {
			var in struct{ Job string }
			if err := json.Unmarshal([]byte(text(e, "Input")), &in); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, in.Job)
			if id != "HealthcheckFunction" {
				t.Errorf("%s of %s is no job of the health check", name, id)
			}
			if r := text(e, "RetryPolicy", "MaximumRetryAttempts"); r != "0" {
				t.Errorf("%s is tried %s times again, when its next run is due", name, r)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("scheduled are %q, the function knows %q", got, want)
	}
	for job, rate := range map[string]string{"Probe": "rate(1 minute)", "Refresh": "rate(1 minute)"} { // tokens: 5 minutes before they end
		if r := text(at(tpl.Resources["HealthcheckFunction"], "Properties", "Events", job, "Properties"), "ScheduleExpression"); r != rate {
			t.Errorf("%s runs at %s", job, r)
		}
	}
}

// TestTemplateFunctions checks how the functions are built and how long they may run.
func TestTemplateFunctions(t *testing.T) {
	tpl := loadTemplate(t)
	globals := at(tpl.whole, "Globals", "Function")
	if text(globals, "Runtime") != "provided.al2023" || text(globals, "Handler") != "bootstrap" ||
		newStack(t, tpl, nil).resolve(at(globals, "Architectures")).([]any)[0] != "arm64" {
		t.Errorf("the functions are built as %v", globals)
	}
	for id, fn := range tpl.functions() {
		folder := strings.ToLower(strings.TrimSuffix(id, "Function"))
		if len(files(t, "functions/"+folder)) == 0 || text(fn, "CodeUri") != "dist/lambda/"+folder+"/" {
			t.Errorf("%s runs %s", id, text(fn, "CodeUri"))
		}
		group := at(fn, "LoggingConfig", "LogGroup")
		logs := tpl.Resources[text(group, "Ref")]
		if text(at(logs, "Properties", "RetentionInDays"), "Ref") != "LogRetentionDays" {
			t.Errorf("the logs of %s are kept for ever", id)
		}
		timeout, _ := strconv.Atoi(text(fn, "Timeout"))
		for name, e := range events(fn, "Api") {
			stream := text(e, "ResponseTransferMode") == "RESPONSE_STREAM"
			if stream != (id == "ProxyFunction") {
				t.Errorf("%s of %s: streaming is %v", name, id, stream)
			}
			// API Gateway waits 29 s unless told otherwise, for streams up to 15 minutes
			wait := 29_000
			if v := text(e, "TimeoutInMillis"); v != "" {
				wait, _ = strconv.Atoi(v)
			}
			if wait != timeout*1000 {
				t.Errorf("%s of %s: API Gateway waits %d ms, the function runs %d s", name, id, wait, timeout)
			}
		}
	}
	if text(at(tpl.Resources["ProxyUrl"], "Properties"), "InvokeMode") != "RESPONSE_STREAM" {
		t.Error("the function URL does not stream")
	}
	makefile := read(t, "Makefile")
	if !regexp.MustCompile(`-o (dist|\$\(DIST\))/lambda/\$\$f/bootstrap \./functions/\$\$f`).MatchString(makefile) || !strings.Contains(makefile, "ARCH ?= arm64") {
		t.Error("make build-functions builds elsewhere, or for another machine than the template's default")
	}
	granted := map[string]bool{} // both are needed since October 2025
	for _, r := range tpl.Resources {
		if text(r, "Type") == "AWS::Lambda::Permission" {
			granted[text(r, "Properties", "Action")] = true
		}
	}
	if !granted["lambda:InvokeFunctionUrl"] || !granted["lambda:InvokeFunction"] {
		t.Errorf("the function URL may not be called: %v", granted)
	}
}

// TestTemplateAlarms checks that each function has an alarm for errors, throttles and latency.
func TestTemplateAlarms(t *testing.T) {
	tpl := loadTemplate(t)
	seen := map[string]bool{}
	for id, r := range tpl.Resources {
		if text(r, "Type") != "AWS::CloudWatch::Alarm" {
			continue
		}
		p := at(r, "Properties").(object)
		for _, d := range p["Dimensions"].([]any) {
			seen[text(at(d, "Value"), "Ref")+" "+text(p, "MetricName")] = true
		}
		if text(p, "TreatMissingData") != "notBreaching" {
			t.Errorf("%s rings when nobody calls", id)
		}
		if p["Statistic"] == nil == (p["ExtendedStatistic"] == nil) {
			t.Errorf("%s needs one of Statistic and ExtendedStatistic", id)
		}
	}
	for id := range tpl.functions() {
		for _, metric := range []string{"Errors", "Throttles", "Duration"} {
			if !seen[id+" "+metric] {
				t.Errorf("nothing watches %s of %s", metric, id)
			}
		}
	}
	for _, want := range []string{"AWS::StackName 5XXError", "Table SuccessfulRequestLatency", "Table WriteThrottleEvents"} {
		if !seen[want] {
			t.Errorf("nothing watches %s", want)
		}
	}
}

// TestTemplateCaptureLists: the job lists what is below the stack's own prefix, not the operator's bucket.
func TestTemplateCaptureLists(t *testing.T) {
	tpl := loadTemplate(t)
	s := newStack(t, tpl, variants["all options"])
	body, err := json.Marshal(s.resolve(tpl.Resources["HealthcheckRole"]))
	if err != nil || !strings.Contains(string(body), `{"Action":"s3:ListBucket","Condition":{"StringLike":{"s3:prefix":"sluice/sluice/*"}}`) {
		t.Errorf("%v: %s", err, body)
	}
}
