package dynamodb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
)

// TestLostAnswers: the table did what it was asked, but the answer never came, and the request was sent again.
func TestLostAnswers(t *testing.T) {
	d := newDesk(t, newTable(t), dynamodb.Options{})
	k := d.subject(store.KindKey, "1", core.Limits{Concurrency: 5, RPD: 100, USDDay: 1000})
	d.mustSettle("warm", store.Amount{}) // now the index knows the hour
	lose := func(want string) {
		once := sync.Once{}
		d.wire.disturb = func(op string, _ int) (before, after error) {
			if op == want {
				once.Do(func() { after = errLost })
			}
			return nil, after
		}
	}
	lose("UpdateItem")
	res := d.mustAdmit("a", store.Amount{USD: 100}, k)
	d.remaining(res.Figures, store.KindKey, store.LimitConcurrency, 4)
	d.remaining(res.Figures, store.KindKey, store.LimitRPD, 99)
	lose("UpdateItem")
	d.mustSettle("a", store.Amount{USD: 70}, k)
	lose("PutItem")
	d.mustAdmit("b", store.Amount{USD: 100}, k)
	d.mustSettle("b", store.Amount{USD: 50}, k)
	res = d.mustAdmit("c", store.Amount{USD: 1}, k)
	d.remaining(res.Figures, store.KindKey, store.LimitConcurrency, 4)
	d.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 1000-70-50-1)
	if sums, err := d.s.Sums(t.Context(), store.UsageFilter{}, store.GroupNone); err != nil || sums[0].Requests != 3 {
		t.Errorf("sums %+v, %v, want three requests", sums, err)
	}
}

// TestHalfSettled: a part of a settlement fails for good; called again it ends with everything counted once.
func TestHalfSettled(t *testing.T) {
	for _, broken := range []string{"PutItem", "UpdateItem"} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(broken, " late ", late), func(t *testing.T) {
				d := newDesk(t, newTable(t), dynamodb.Options{})
				k := d.subject(store.KindKey, "1", core.Limits{Concurrency: 5, USDDay: 1000})
				d.mustAdmit("warm", store.Amount{}, k)
				d.mustSettle("warm", store.Amount{}, k)
				d.mustAdmit("a", store.Amount{USD: 100}, k)
				d.wire.disturb = func(op string, _ int) (error, error) {
					if op == broken {
						return errLost, nil
					}
					return nil, nil
				}
				if err := d.settle("a", store.Amount{USD: 70}, k); !errors.Is(err, dynamodb.ErrUnavailable) {
					t.Errorf("error %v, want ErrUnavailable", err)
				}
				d.wire.disturb = nil
				if late { // what is left of its lease is given back
					d.now = d.now.Add(time.Hour)
					d.mustAdmit("between", store.Amount{}, k)
					d.mustSettle("between", store.Amount{}, k)
					d.now = d.now.Add(-time.Hour)
				}
				d.mustSettle("a", store.Amount{USD: 70}, k)
				d.mustSettle("a", store.Amount{USD: 70}, k)
				res := d.mustAdmit("b", store.Amount{USD: 1}, k)
				d.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 929)
				d.remaining(res.Figures, store.KindKey, store.LimitConcurrency, 4)
			})
		}
	}
}

// TestLate: a request outlived its lease, which another instance ended; its settlement is repeated by a third.
func TestLate(t *testing.T) {
	u := newTable(t)
	d, e, f := newDesk(t, u, dynamodb.Options{}), newDesk(t, u, dynamodb.Options{}), newDesk(t, u, dynamodb.Options{})
	k := d.subject(store.KindKey, "1", core.Limits{Concurrency: 5, TPM: 6000, USDDay: 1000})
	d.mustAdmit("a", store.Amount{Tokens: 100, USD: 100}, k)
	e.now = d.now.Add(4 * time.Minute)
	d.now, f.now = e.now, e.now
	e.mustAdmit("b", store.Amount{USD: 1}, k) // it has not seen the lease before
	d.remaining(e.mustAdmit("b2", store.Amount{USD: 1}, k).Figures, store.KindKey, store.LimitUSDDay, 998)
	d.mustSettle("a", store.Amount{Tokens: 600, USD: 70}, k)
	f.mustSettle("a", store.Amount{Tokens: 600, USD: 70}, k)
	res := f.mustAdmit("c", store.Amount{USD: 1}, k)
	d.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 927)
	for _, f := range res.Figures { // 600 of 6000 are used; the bucket may lag 2 s, which are 200
		if f.Limit == store.LimitTPM && (f.Remaining < 5400 || f.Remaining > 5600) {
			t.Errorf("%+v, want 5400 to 5600 remaining", f)
		}
	}
}

// answer is a server that only ever says one thing.
func answer(t *testing.T, status int, body string, wait time.Duration) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if wait > 0 {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(wait):
			}
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return "dynamodb://sluice?region=eu-west-1&endpoint=" + url.QueryEscape(s.URL)
}

func exception(name string) string {
	return `{"__type":"com.amazonaws.dynamodb.v20120810#` + name + `","message":"the provided key element does not match the schema"}`
}

// TestOpenSaysWhatIsWrong: one line that names table and remedy.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "local")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "notprinted")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	for _, c := range []struct {
		url  string
		kind error
		says string
	}{
		{"dynamodb://", nil, "needs a table"},
		{"dynamodb://a/b?region=eu-west-1", nil, "needs a table"},
		{"dynamodb://sluice", nil, "needs a region"},
		{"dynamodb://sluice?regoin=eu-west-1", nil, `unknown setting "regoin"`},
		{"dynamodb://sluice?region=a&region=b", nil, "more than once"},
		{"dynamodb://sluice?region=eu-west-1&endpoint=localhost:8000", nil, "endpoint must be"},
		{answer(t, 400, exception("ResourceNotFoundException"), 0), dynamodb.ErrTable, "no such table"},
		{answer(t, 400, exception("ValidationException"), 0), dynamodb.ErrTable, "not PK and SK"},
		{answer(t, 400, exception("AccessDeniedException"), 0), dynamodb.ErrDenied, "permissions"},
		{answer(t, 400, exception("UnrecognizedClientException"), 0), dynamodb.ErrDenied, "UnrecognizedClientException"},
		{answer(t, 400, exception("ProvisionedThroughputExceededException"), 0), dynamodb.ErrThrottled, "sluice in eu-west-1"},
		{answer(t, 500, exception("InternalServerError"), 0), dynamodb.ErrUnavailable, "sluice in eu-west-1"},
		{answer(t, 200, "<html>", 0), nil, "sluice in eu-west-1"},
		{answer(t, 200, `{"Item":{"v":{"S":"x"}}}`, 0), dynamodb.ErrTable, "no version"},
		{answer(t, 200, `{"Item":{"v":{"N":"9"},"c":{"N":"9"}}}`, 0), store.ErrNewer, "newer version"},
		{"dynamodb://sluice?region=eu-west-1&endpoint=http://127.0.0.1:1", dynamodb.ErrUnavailable, "is the region right"},
		{answer(t, 200, "{}", time.Minute), dynamodb.ErrUnavailable, "no answer in time"},
	} {
		begin := time.Now()
		s, err := dynamodb.Open(t.Context(), c.url, dynamodb.Options{Timeout: time.Second})
		if err == nil {
			t.Errorf("%s: opened %v", c.url, s)
			continue
		}
		if c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "notprinted") {
			t.Errorf("%s: error %q, want one line with %q", c.url, err, c.says)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: the error took %v", c.url, took)
		}
	}
}

// TestNoCredentials: the SDK's own words for this name a dozen places and no remedy.
func TestNoCredentials(t *testing.T) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": ""} {
		t.Setenv(name, value)
	}
	_, err := dynamodb.Open(t.Context(), "dynamodb://sluice?region=eu-west-1", dynamodb.Options{})
	if !errors.Is(err, dynamodb.ErrDenied) || !strings.Contains(err.Error(), "set AWS_ACCESS_KEY_ID") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

// TestDeadline: every verb ends with a typed error within the store's timeout when the table throttles.
func TestDeadline(t *testing.T) {
	u := newTable(t)
	d := newDesk(t, u, dynamodb.Options{Timeout: 2 * time.Second})
	k := d.subject(store.KindKey, "1", core.Limits{Concurrency: 5})
	d.mustAdmit("a", store.Amount{}, k)
	d.wire.throttle.Store(true)
	for what, call := range map[string]func() error{
		"Admit":   func() error { _, err := d.admit("b", store.Amount{}, k); return err },
		"Settle":  func() error { return d.settle("a", store.Amount{}, k) },
		"Get":     func() error { _, err := d.s.Get(t.Context(), store.KindKey, "1"); return err },
		"Create":  func() error { _, err := d.s.Create(t.Context(), store.Doc{Kind: "meta", ID: "1"}); return err },
		"Acquire": func() error { _, err := d.s.Acquire(t.Context(), "l", "h", d.now, time.Minute); return err },
		"Sums":    func() error { _, err := d.s.Sums(t.Context(), store.UsageFilter{}, store.GroupNone); return err },
		"Ping":    func() error { return d.s.Ping(t.Context()) },
	} {
		begin := time.Now()
		if err := call(); !errors.Is(err, dynamodb.ErrThrottled) {
			t.Errorf("%s: error %v, want ErrThrottled", what, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %v", what, took)
		}
	}
	d.wire.throttle.Store(false)
	d.mustSettle("a", store.Amount{}, k)
	d.remaining(d.mustAdmit("c", store.Amount{}, k).Figures, store.KindKey, store.LimitConcurrency, 4)
}

// TestCreateTwice: init may be run again, on a table in use, too; a foreign table is left alone.
func TestCreateTwice(t *testing.T) {
	u := newTable(t)
	s := open(t, u, dynamodb.Options{})
	if _, err := s.Create(t.Context(), store.Doc{Kind: "meta", ID: "1", Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.CreateTable(t.Context(), u); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), "meta", "1"); err != nil {
		t.Error(err)
	}
	missing := newURL(t)
	if _, err := dynamodb.Open(t.Context(), missing, dynamodb.Options{}); !errors.Is(err, dynamodb.ErrTable) || !strings.Contains(err.Error(), "store init") {
		t.Errorf("a missing table: %v", err)
	}
}

// TestLargeDocuments: bodies up to 22 MB are kept whole, under one version; readers see the old one or the new one.
func TestLargeDocuments(t *testing.T) {
	s := open(t, newTable(t), dynamodb.Options{})
	body := func(n int, c byte) []byte { return bytes.Repeat([]byte{c}, n) }
	for _, n := range []int{350_000, 350_001, 700_000, 3_000_000} {
		id := fmt.Sprint("d", n)
		d := store.Doc{Kind: store.KindResponse, ID: id, Account: "acme", Body: body(n, 'a'), Expires: time.Now().Add(time.Hour)}
		if _, err := s.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), d.Kind, id); err != nil || !bytes.Equal(got.Body, d.Body) {
			t.Fatalf("%d bytes: got %d, %v", n, len(got.Body), err)
		}
	}
	if ds, err := s.List(t.Context(), store.KindResponse, "acme", "", 10); err != nil || len(ds) != 4 || len(ds[1].Body) != 350_000 && len(ds[0].Body) != 3_000_000 {
		t.Errorf("list: %d documents, %v", len(ds), err)
	}
	d, err := s.Get(t.Context(), store.KindResponse, "d700000")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := s.Get(t.Context(), store.KindResponse, "d700000")
				if err != nil || len(got.Body) == 0 || !bytes.Equal(got.Body, body(len(got.Body), got.Body[0])) {
					t.Errorf("a reader sees %d bytes, %v", len(got.Body), err)
					return
				}
			}
		})
	}
	for i, n := range []int{800_000, 400_000, 100, 900_000, 360_000} {
		d.Body = body(n, byte('b'+i))
		if d.Version, err = s.Replace(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
	if err := s.Delete(t.Context(), store.KindResponse, "d700000", d.Version); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), store.KindResponse, "d700000"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
	d.ID, d.Body = "huge", body(23_000_000, 'x')
	if _, err := s.Create(t.Context(), d); !errors.Is(err, dynamodb.ErrTooLarge) {
		t.Errorf("a huge document: %v", err)
	}
	d.ID, d.Body = strings.Repeat("x", 2000), nil
	if _, err := s.Create(t.Context(), d); !errors.Is(err, dynamodb.ErrTooLarge) {
		t.Errorf("a huge id: %v", err)
	}
}

// TestOpenHours: records of the open hour go without a transaction; closing it leaves nothing out, and what comes late
// after that is counted.
func TestOpenHours(t *testing.T) {
	u := newTable(t)
	var now time.Time
	var mu sync.Mutex
	at := func(t time.Time) { mu.Lock(); now = t; mu.Unlock() }
	hour := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	s := open(t, u, dynamodb.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	put := func(id string, ended time.Time) {
		t.Helper()
		err := s.Settle(t.Context(), store.SettleRequest{ID: id, Record: core.Settlement{RequestID: id, Account: "acme", Key: "1", EndedAt: ended, StartedAt: ended, Status: 200}})
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(want int64) {
		t.Helper()
		for _, f := range []store.UsageFilter{{}, {Account: "acme", Key: "1"}, {From: hour, To: hour.Add(time.Hour)}} {
			if sums, err := s.Sums(t.Context(), f, store.GroupNone); err != nil || sums[0].Requests != want {
				t.Errorf("sums %+v, %v, want %d requests", sums, err, want)
			}
		}
		if recs, _, err := s.Records(t.Context(), store.UsageFilter{}, "", 100); err != nil || int64(len(recs)) != want {
			t.Errorf("%d records, %v, want %d", len(recs), err, want)
		}
	}
	roll := func(at time.Time) {
		t.Helper()
		if err := s.Rollup(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	at(hour.Add(30 * time.Minute))
	for i := range 10 {
		put(fmt.Sprint("r", i), hour.Add(time.Duration(i)*time.Minute))
	}
	check(10)
	at(hour.Add(65 * time.Minute))
	put("settled late", hour.Add(59*time.Minute)) // the hour is not closed yet
	roll(hour.Add(69 * time.Minute))
	check(11)
	at(hour.Add(69*time.Minute + 30*time.Second)) // it may close while the record is on its way
	put("at the edge", hour.Add(59*time.Minute))
	roll(hour.Add(71 * time.Minute))
	check(12)
	at(hour.Add(5 * time.Hour))
	put("late", hour)
	put("late", hour)
	check(13)
	roll(hour.Add(5 * time.Hour))
	check(13)
}
