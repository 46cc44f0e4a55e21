// Package awsref reads secrets that a setting refers to by ARN: of AWS Secrets Manager
// (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, with :KEY:STAGE:VERSION behind it as ECS has them, each may be empty:
// KEY is a member of a secret that is a JSON object) and of the Systems Manager Parameter Store
// (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME).
//
// It makes the two calls itself, signed by the AWS SDK: the SDK's packages of these services cost every start of a function 8
// ms and its binary 1.5 MB, whether they are used or not.
package awsref

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sluice/shared/awsenv"
	"sluice/shared/core"
)

// Reader reads references. Its zero value is ready, does nothing before the first Read, and is safe for concurrent use.
// Region and place are the ARN's; credentials come from where the AWS SDK finds them. AWS_ENDPOINT_URL_SSM and
// AWS_ENDPOINT_URL_SECRETS_MANAGER change where it asks, as they do for the SDK.
type Reader struct {
	mu  sync.Mutex
	cfg *aws.Config
}

// reference is a parsed ARN.
type reference struct {
	partition, service, region string
	id                         string // what the service is asked for
	member, stage, version     string // of secrets
}

// action is what the function must be allowed.
func (r *reference) action() string {
	if r.service == "ssm" {
		return "ssm:GetParameter"
	}
	return "secretsmanager:GetSecretValue"
}

func parse(s string) (reference, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[3] == "" {
		return reference{}, false
	}
	r := reference{partition: p[1], service: p[2], region: p[3]}
	switch {
	case r.service == "ssm" && strings.HasPrefix(p[5], "parameter/"):
		r.id = s
	case r.service == "secretsmanager" && strings.HasPrefix(p[5], "secret:"):
		d := strings.Split(p[5], ":")
		if len(d) > 5 || d[1] == "" {
			return reference{}, false
		}
		d = append(d, "", "", "")
		r.member, r.stage, r.version = d[2], d[3], d[4]
		r.id = strings.Join(append(p[:5:5], "secret", d[1]), ":")
	default:
		return reference{}, false
	}
	return r, true
}

// Is reports whether a value is such an ARN. ARNs of other services are plain values.
func (r *Reader) Is(value string) bool {
	_, ok := parse(value)
	return ok
}

// Read returns the secret without space around it. The error names the reference and what may be wrong.
func (r *Reader) Read(ctx context.Context, value string) (core.Secret, error) {
	ref, ok := parse(value)
	if !ok {
		return core.Secret{}, errors.New("is no ARN of a secret or parameter")
	}
	cfg, err := r.config(ctx)
	if err != nil {
		return core.Secret{}, fmt.Errorf("the AWS configuration is not readable: %w", err)
	}
	text, err := fetch(ctx, cfg, ref)
	if err != nil {
		return core.Secret{}, explain(ref, err)
	}
	if ref.member != "" {
		if text, err = member(text, ref.member); err != nil {
			return core.Secret{}, fmt.Errorf("%s: %w", ref.id, err)
		}
	}
	if text = strings.TrimSpace(text); text == "" {
		return core.Secret{}, fmt.Errorf("%s is empty", ref.id)
	}
	return core.NewSecret(text), nil
}

func (r *Reader) config(ctx context.Context) (aws.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg == nil {
		c, err := awsenv.Load(ctx, "")
		if err != nil {
			return aws.Config{}, err
		}
		if c.HTTPClient == nil {
			c.HTTPClient = http.DefaultClient
		}
		r.cfg = &c
	}
	return *r.cfg, nil
}

// maxAnswer bounds what is read of a service: a secret has at most 64 KiB, a parameter 8.
const maxAnswer = 256 << 10

// fetch returns the secret's text.
func fetch(ctx context.Context, cfg aws.Config, ref reference) (string, error) {
	var in, out any
	var secret struct{ SecretString, SecretBinary *json.RawMessage }
	var parameter struct{ Parameter struct{ Value string } }
	target, variable := "secretsmanager.GetSecretValue", "AWS_ENDPOINT_URL_SECRETS_MANAGER"
	if ref.service == "ssm" {
		target, variable = "AmazonSSM.GetParameter", "AWS_ENDPOINT_URL_SSM"
		in, out = struct {
			Name           string
			WithDecryption bool
		}{ref.id, true}, &parameter
	} else {
		in, out = struct {
			SecretID string `json:"SecretId"`
			Stage    string `json:"VersionStage,omitempty"`
			Version  string `json:"VersionId,omitempty"`
		}{ref.id, ref.stage, ref.version}, &secret
	}
	address := os.Getenv(variable)
	if address == "" {
		address = "https://" + ref.service + "." + ref.region + "." + suffix(ref.partition)
	}
	if err := call(ctx, cfg, ref, address, target, in, out); err != nil || ref.service == "ssm" {
		return parameter.Parameter.Value, err
	}
	var text string
	var binary []byte
	if secret.SecretString != nil {
		err := json.Unmarshal(*secret.SecretString, &text)
		return text, err
	}
	if secret.SecretBinary == nil {
		return "", nil
	}
	err := json.Unmarshal(*secret.SecretBinary, &binary)
	return string(binary), err
}

func suffix(partition string) string {
	if partition == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// refusal is a service's word that it does not answer.
type refusal struct{ code, message string }

func (r *refusal) Error() string { return r.code + ": " + r.message }

// call makes one call in the protocol AWS JSON 1.1, and a second one when the service was busy.
func call(ctx context.Context, cfg aws.Config, ref reference, address, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		status, answer, err := post(ctx, cfg, ref, address, target, body)
		if err == nil && status == http.StatusOK {
			return json.Unmarshal(answer, out)
		}
		busy := err != nil || status >= 500 || strings.Contains(string(answer), "Throttl")
		if busy && try < 2 && ctx.Err() == nil && pause(ctx, time.Duration(100<<try)*time.Millisecond) {
			continue
		}
		if err != nil {
			return err
		}
		var told struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
			Other   string `json:"Message"`
		}
		_ = json.Unmarshal(answer, &told)
		_, code, found := strings.Cut(told.Type, "#")
		if !found {
			code = told.Type
		}
		if code == "" {
			code = fmt.Sprintf("status %d", status)
		}
		return &refusal{code, told.Message + told.Other}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func post(ctx context.Context, cfg aws.Config, ref reference, address, target string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	cred, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return 0, nil, err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, cred, req, hex.EncodeToString(sum[:]), ref.service, ref.region, time.Now()); err != nil {
		return 0, nil, err
	}
	resp, err := cfg.HTTPClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

// explain makes one line of a failure. A service's own text names roles and actions, no values.
func explain(ref reference, err error) error {
	told, ok := errors.AsType[*refusal](err)
	switch {
	case !ok:
		return fmt.Errorf("%s could not be read; can the function reach %s from its network? %w", ref.id, ref.service, err)
	case told.code == "ResourceNotFoundException" || told.code == "ParameterNotFound":
		return fmt.Errorf("%s does not exist", ref.id)
	case told.code == "AccessDeniedException":
		return fmt.Errorf("%s may not be read: allow the function %s on it, and kms:Decrypt on its key", ref.id, ref.action())
	default:
		return fmt.Errorf("%s could not be read: %w", ref.id, told)
	}
}

func member(text, name string) (string, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &all) != nil {
		return "", fmt.Errorf("is no JSON object, so it has no member %q", name)
	}
	raw, ok := all[name]
	var s string
	if !ok || json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("has no text member %q", name)
	}
	return s, nil
}
