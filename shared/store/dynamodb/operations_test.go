package dynamodb_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store/dynamodb"
)

var update = flag.Bool("update", false, "write testdata/operations.txt anew")

// recorder passes requests on and keeps the IAM actions that they need.
type recorder struct {
	http.Client
	mu      sync.Mutex
	actions map[string]bool
}

func newRecorder() *recorder {
	return &recorder{Client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}, actions: map[string]bool{}}
}

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	list := []string{op}
	if strings.HasPrefix(op, "Transact") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		if list, err = transactionActions(body); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	r.mu.Lock()
	for _, a := range list {
		r.actions[a] = true
	}
	r.mu.Unlock()
	return r.Client.Do(req)
}

// transactionActions are the actions of a transaction: it has none of its own, each part needs that of its kind.
func transactionActions(body []byte) ([]string, error) {
	var tx struct{ TransactItems []map[string]json.RawMessage }
	if err := json.Unmarshal(body, &tx); err != nil {
		return nil, err
	}
	names := map[string]string{"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem", "Get": "GetItem"}
	var out []string
	for _, part := range tx.TransactItems {
		for kind := range part {
			if names[kind] == "" {
				return nil, errors.New("a transaction has a part of the unknown kind " + kind)
			}
			out = append(out, names[kind])
		}
	}
	if out == nil {
		return nil, errors.New("a transaction has no parts")
	}
	return out, nil
}

// bareTable makes a table as a stack makes it, without the schema's item, and returns its URL.
func bareTable(t *testing.T) string {
	t.Helper()
	raw := newURL(t)
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(u.Query().Get("region")))
	if err != nil {
		t.Fatal(err)
	}
	pk, sk, endpoint := "PK", "SK", u.Query().Get("endpoint")
	_, err = sdk.NewFromConfig(cfg, func(o *sdk.Options) { o.BaseEndpoint = &endpoint }).CreateTable(t.Context(), &sdk.CreateTableInput{
		TableName: &u.Host, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &pk, AttributeType: types.ScalarAttributeTypeS}, {AttributeName: &sk, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &pk, KeyType: types.KeyTypeHash}, {AttributeName: &sk, KeyType: types.KeyTypeRange}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sameActions compares what was recorded with testdata/operations.txt, which tests/deploy compares with the template's
// policies and with the source.
func (r *recorder) sameActions(t *testing.T) {
	t.Helper()
	got := slices.Sorted(maps.Keys(r.actions))
	file := filepath.Join("testdata", "operations.txt")
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields(string(data)); !slices.Equal(got, want) {
		t.Errorf("the store needs the actions %q, %s has %q: write it with -update and change the policies of template.yaml", got, file, want)
	}
}

// part reports whether a flag selects some of the subtests only.
func part() bool {
	return strings.Contains(flag.Lookup("test.run").Value.String(), "/") || flag.Lookup("test.skip").Value.String() != ""
}

// withoutScan is a client whose role may not scan, as that of the template's functions.
type withoutScan struct{ *recorder }

func (w withoutScan) Do(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".Scan") {
		return w.recorder.Do(req)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.actions["refused"] = true
	return &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(exception("AccessDeniedException"))), Request: req}, nil
}

// A table that a stack made has no schema: the first start writes it, the second finds it. No role of the stack may scan.
func TestBareTable(t *testing.T) {
	u := bareTable(t)
	for n, want := range [][]string{{"GetItem", "PutItem", "refused"}, {"GetItem"}} {
		seen := newRecorder()
		if err := open(t, u, dynamodb.Options{HTTPClient: withoutScan{seen}}).Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if got := slices.Sorted(maps.Keys(seen.actions)); !slices.Equal(got, want) {
			t.Errorf("start %d did %q, want %q", n+1, got, want)
		}
	}
}
