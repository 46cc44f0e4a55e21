package functions_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/upstream/upstreamtest"
	"sluice/tests/lambda/front"
	"sluice/tests/lambda/runtimeapi"
	"sluice/tests/lambda/scenario"
	"sluice/tests/lambda/stores"
)

// recovers: a function answers 503 in each dialect, then, once repair has run, serves without being started again.
func recovers(t *testing.T, f *function, says string, repair func()) {
	t.Helper()
	h := f.door(t, &front.Door{Type: front.REST})
	for _, c := range []struct{ path, form string }{{"/v1/messages", `{"type":"error","error":{"type":"api_error"`}, {"/v1/chat/completions", `{"error":{`}} {
		r, err := scenario.Do(t, h, "POST", c.path, []byte(question), key)
		if err != nil || r.Status != 503 || !strings.HasPrefix(string(r.Body), c.form) || r.Header.Get("Retry-After") == "" || strings.Contains(string(r.Body), "127.0.0.1") {
			t.Errorf("%s: %v %+v %s", c.path, err, r, r.Body)
		}
	}
	f.logged(t, `"level":"ERROR"`, "STORE_URL", says)
	repair()
	eventually(t, func() bool {
		r, err := scenario.Do(t, h, "POST", "/v1/messages", []byte(question), key)
		return err == nil && r.Status == 200
	}, func() string { return "it does not recover:\n" + f.proc.Output() })
	if n := strings.Count(f.proc.Output(), "the function cannot serve"); n > 9 {
		t.Errorf("the operator is told %d times", n)
	}
}

// TestUnreachableStore: the store comes up after the function did.
func TestUnreachableStore(t *testing.T) {
	addr, err := stores.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, "proxy", serving("redis://"+addr, upstreamtest.NewAnthropic(t).URL)...)
	recovers(t, f, "refused", func() {
		m := miniredis.NewMiniRedis()
		if err := m.StartAddr(addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
	})
}

// TestMissingTable: the table is made after the function was started.
func TestMissingTable(t *testing.T) {
	s := server(t, stores.DynamoDB)
	f := start(t, "proxy", serving(s.Table("sluice-later"), upstreamtest.NewAnthropic(t).URL)...)
	recovers(t, f, "sluice-later", func() { makeTable(t, s.Table("sluice-later")) })
}

// TestStoreGoesAway: an outage later is 503 too, and over when the store is back.
func TestStoreGoesAway(t *testing.T) {
	m := miniredis.RunT(t)
	f := start(t, "proxy", serving("redis://"+m.Addr(), upstreamtest.NewAnthropic(t).URL)...)
	h := f.door(t, &front.Door{Type: front.FunctionURL})
	status := func() int {
		r, err := scenario.Do(t, h, "POST", "/v1/messages", []byte(question), key)
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	if got := status(); got != 200 {
		t.Fatalf("%d\n%s", got, f.proc.Output())
	}
	m.SetError("LOADING server is away")
	if got := status(); got != 503 {
		t.Errorf("%d while it is away", got)
	}
	m.SetError("")
	eventually(t, func() bool { return status() == 200 }, func() string { return "it does not recover:\n" + f.proc.Output() })
}

// TestAdminKey: the admin function is closed until it has a key that nobody published; then it works, in one piece, behind
// every front door, and never streams.
func TestAdminKey(t *testing.T) {
	url := begin(t, stores.InProcess)
	for _, k := range []string{"", "admin", "amq-admin-default-key-change-immediately"} {
		f := start(t, "admin", "STORE_URL="+url, "ADMIN_API_KEY="+k, "ALLOW_DEFAULT_CREDENTIALS=true")
		h := f.door(t, &front.Door{Type: front.RESTBuffered})
		for _, path := range []string{"/admin/api/keys", "/login"} {
			r, err := scenario.Do(t, h, "GET", path, nil, http.Header{"X-Admin-Key": {"admin"}})
			if err != nil || r.Status != 503 || !strings.Contains(string(r.Body), "ADMIN_API_KEY") {
				t.Errorf("%q %s: %v %+v %s", k, path, err, r, r.Body)
			}
		}
		f.logged(t, `"level":"ERROR"`, "ADMIN_API_KEY")
	}
	f := start(t, "admin", serving(url, "http://127.0.0.1:1")...)
	for _, d := range []front.Type{front.RESTBuffered, front.HTTPAPI} {
		h := f.door(t, &front.Door{Type: d})
		r, err := scenario.Do(t, h, "GET", "/admin/api/nodes", nil, http.Header{"X-Admin-Key": {adminKey}})
		if err != nil || r.Status != 200 || !json.Valid(r.Body) {
			t.Errorf("%v %+v", err, r)
		}
		if r, err := scenario.Do(t, h, "GET", "/admin/api/nodes", nil, http.Header{"X-Admin-Key": {"admin"}}); err != nil || r.Status != 401 {
			t.Errorf("the default beside it: %v %+v", err, r)
		}
	}
	for _, r := range f.Records() {
		if r.Streamed || r.ContentType != "application/json" {
			t.Errorf("streamed as %s", r.ContentType)
		}
	}
}

// TestSecretsByReference: values that are ARNs are read at start; what cannot be read is named, and tried again.
func TestSecretsByReference(t *testing.T) {
	const secret, parameter = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sluice-AbCdEf:admin::", "arn:aws:ssm:eu-west-1:123456789012:parameter/sluice/store"
	url := begin(t, stores.InProcess)
	allowed := make(chan struct{})
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-allowed:
		default:
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException"}`)
			return
		}
		if r.Header.Get("X-Amz-Target") == "AmazonSSM.GetParameter" {
			_, _ = io.WriteString(w, `{"Parameter":{"Value":"`+url+`"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"SecretString":"{\"admin\":\"`+adminKey+`\"}"}`)
	}))
	defer aws.Close()
	f := start(t, "admin", "STORE_URL="+parameter, "ADMIN_API_KEY="+secret, "AWS_ENDPOINT_URL_SSM="+aws.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER="+aws.URL)
	h := f.door(t, &front.Door{Type: front.RESTBuffered})
	status := func() int {
		r, err := scenario.Do(t, h, "GET", "/admin/api/keys", nil, http.Header{"X-Admin-Key": {adminKey}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	if got := status(); got != 503 {
		t.Errorf("%d", got)
	}
	f.logged(t, "ADMIN_API_KEY: arn:aws:secretsmanager", "secretsmanager:GetSecretValue", "STORE_URL: arn:aws:ssm", "ssm:GetParameter")
	close(allowed)
	eventually(t, func() bool { return status() == 200 }, func() string { return f.proc.Output() })
}

// TestScheduler: the jobs of EventBridge Scheduler over every store; anything else is an error that the platform counts, and
// the function lives.
func TestScheduler(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		f := start(t, "healthcheck", serving(url, upstreamtest.NewAnthropic(t).URL)...)
		for _, job := range []string{"probe", "sweep", "refresh", "retention", "notify"} {
			out, err := f.answer(t, `{"job":"`+job+`"}`, time.Minute)
			var rep struct{ Job string }
			if err != nil || json.Unmarshal([]byte(out), &rep) != nil || rep.Job != job {
				t.Errorf("%s: %v %s", job, err, out)
			}
		}
		for _, ev := range []string{`{}`, `null`, `{"job":"drop"}`, `[]`, restEvent("GET", "/", "", nil)} {
			var ferr *runtimeapi.FunctionError
			if out, err := f.answer(t, ev, time.Minute); !errors.As(err, &ferr) || ferr.Message == "" {
				t.Errorf("%s: %v %s", ev, err, out)
			}
		}
		if _, err := f.answer(t, `{"job":"probe"}`, time.Minute); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestSchedulerWithoutStore: a job fails, and runs when the store is there.
func TestSchedulerWithoutStore(t *testing.T) {
	addr, err := stores.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, "healthcheck", serving("redis://"+addr, "http://127.0.0.1:1")...)
	if _, err := f.answer(t, `{"job":"refresh"}`, time.Minute); err == nil {
		t.Error("the job ran")
	}
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(addr); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	eventually(t, func() bool { _, err := f.answer(t, `{"job":"refresh"}`, time.Minute); return err == nil }, func() string { return f.proc.Output() })
}

// TestNoStore: outside its settings a function starts all the same and says what is missing.
func TestNoStore(t *testing.T) {
	f := start(t, "proxy")
	if out, err := f.answer(t, urlEvent("GET", "/v1/models", "", nil), time.Minute); err != nil || !strings.HasPrefix(out, `{"statusCode":503`) {
		t.Errorf("%v %s", err, out)
	}
	f.logged(t, "STORE_URL: must be set", "dynamodb://TABLE")
}
