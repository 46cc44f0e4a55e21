package gateway

import (
	"bytes"
	"cmp"
	"context"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
	"sluice/shared/rawjson"
	"sluice/shared/store"
	"sluice/shared/translator/anthropic"
	"sluice/shared/web"
)

// ownAddress makes the results_url of every batch that an answer describes lead back to the gateway. SDKs follow it as it
// stands, and would otherwise send the gateway's key to the upstream.
func (x *exchange) ownAddress(body []byte) []byte {
	base := x.baseURL()
	rewrite := func(obj []byte) []byte {
		v, err := rawjson.Find(obj, "results_url")
		old, ok := v.Text()
		if err != nil || !ok {
			return obj
		}
		_, rest, found := strings.Cut(old, batchesPath+"/")
		if !found {
			return obj
		}
		return rawjson.Splice(nil, obj, v, rawjson.AppendString(nil, base+batchesPath+"/"+rest))
	}
	list, err := rawjson.Find(body, "data")
	if err != nil || list.Kind() != rawjson.Array {
		return rewrite(body)
	}
	raw := list.Raw()
	var items []byte
	copied := 0 // of raw
	err = rawjson.Elements(raw, func(e rawjson.Value) bool {
		if e.Kind() == rawjson.Object {
			items = append(append(items, raw[copied:e.Offset()]...), rewrite(e.Raw())...)
			copied = e.Offset() + len(e.Raw())
		}
		return true
	})
	if err != nil {
		return body
	}
	return rawjson.Splice(nil, body, list, append(items, raw[copied:]...))
}

// baseURL is the address that the client reached the gateway by, its path prefix included.
func (x *exchange) baseURL() string {
	base := strings.TrimRight(x.g.s.PublicURL, "/")
	if base == "" {
		scheme := "http"
		if x.r.TLS != nil || strings.EqualFold(x.r.Header.Get("X-Forwarded-Proto"), "https") {
			scheme = "https"
		}
		base = scheme + "://" + x.r.Host + web.Prefix(x.r.Context())
	}
	return base + strings.TrimSuffix(x.r.URL.EscapedPath(), x.path)
}

// batchUsage is the endpoint of the records that hold what batches used.
const batchUsage = "batch usage"

// maxResultLine bounds one line of a batch's results.
const maxResultLine = 32 << 20

// batchMeter adds up what the results of a batch used, by model, while they pass: one JSON object a line.
type batchMeter struct {
	batch  store.Resource // what is known of it
	line   []byte
	models map[string]*batchSum
	list   *pricing.List
	now    time.Time
}

// fetchesResults reports whether a request is for the results of the batch.
func (x *exchange) fetchesResults(id string) bool {
	return id != "" && x.r.Method == http.MethodGet && strings.HasPrefix(x.path, batchesPath+"/") && strings.HasSuffix(x.path[len(batchesPath)+1:], "/results")
}

// wholeResults takes out of a request for results what asks for a part of them, or for no answer: a bill comes of all of them.
func wholeResults(h http.Header) {
	for _, name := range [...]string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
		delete(h, name)
	}
}

// newBatchMeter meters the results of a batch that is not settled; nil where there is nothing to meter.
func (x *exchange) newBatchMeter(ctx context.Context, b *store.Resource, resp *http.Response) *batchMeter {
	if b == nil || b.Settled || resp.StatusCode != http.StatusOK {
		return nil
	}
	x.g.o.Prices.Refresh(ctx, newPrices)
	return &batchMeter{batch: *b, list: x.prices(), now: x.g.o.Now().UTC()}
}

// write takes the next bytes. A nil meter takes nothing.
func (m *batchMeter) write(p []byte) {
	if m == nil {
		return
	}
	for {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if len(m.line)+len(line) <= maxResultLine {
			m.line = append(m.line, line...)
		}
		if !whole {
			return
		}
		m.flush()
		p = rest
	}
}

func (m *batchMeter) flush() {
	msg, err := rawjson.Find(m.line, "result", "message")
	if err == nil && msg.Kind() == rawjson.Object {
		var one anthropic.Meter
		one.Message(msg.Raw())
		t, estimated := one.Result()
		if (one.Model != "" || !estimated) && len(one.Model) <= 256 {
			s := m.models[one.Model]
			if s == nil {
				if m.models == nil {
					m.models = make(map[string]*batchSum)
				}
				s = &batchSum{}
				m.models[one.Model] = s
			}
			s.add(&one, t, m.list, m.now)
			s.guessed = s.guessed || estimated
		}
	}
	m.line = m.line[:0]
}

// batchRecordID is the same whenever the results are fetched, and short however long the names are.
func batchRecordID(account, id, model string) string {
	full := "batch_" + account + "_" + id + "_" + model
	if len(full) <= 128 {
		return full
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(full))
	return full[:100] + "_" + strconv.FormatUint(h.Sum64(), 16)
}

// end takes the last line, and reports whether the results end where an object does: a body whose length nobody told may be cut.
func (m *batchMeter) end() bool {
	m.line = bytes.TrimSpace(m.line)
	whole := len(m.line) == 0 || rawjson.Valid(m.line) == nil
	m.flush()
	return whole
}

// settleBatch records what a batch used, once however often its results are fetched: see store.Tables.BatchFetched.
func (x *exchange) settleBatch(m *batchMeter) {
	if m == nil {
		return
	}
	if !m.end() {
		x.g.o.Log.Warn("results of a batch end within a line; they are not counted", "request_id", x.info.ID)
		return
	}
	if len(m.models) == 0 {
		return
	}
	b := m.batch
	id := strings.TrimPrefix(b.ID, x.key.Account+"/")
	now := x.g.o.Now().UTC()
	if b.Node == "" {
		b.Node = x.rec.Node
	}
	if b.FetchedAt.IsZero() {
		b.FetchedAt = now
	}
	b.Expires = now.Add(resourceTTL)
	ctx, cancel := context.WithTimeout(detached(x.r), afterwards)
	b, err := x.g.o.Tables.BatchFetched(ctx, b)
	cancel()
	switch {
	case err != nil:
		// A store that is away may keep settlements until it is back, and nobody may ever fetch the results again.
		x.g.o.Log.Error("batch not noted as fetched", "request_id", x.info.ID, "error", err)
	case b.Settled:
		return
	}
	var recs []core.Settlement
	for model, sum := range m.models {
		rec := core.Settlement{RequestID: batchRecordID(x.key.Account, id, model), Account: x.key.Account, Key: x.key.ID, Node: x.rec.Node,
			NodeName: x.rec.NodeName, Endpoint: batchUsage, Dialect: core.DialectAnthropic, Model: model, ServedModel: model, Status: 200, Attempts: 1,
			Tokens: sum.Tokens, Estimated: sum.guessed, Searches: sum.searches, StartedAt: b.FetchedAt, EndedAt: b.FetchedAt}
		if rec.Unpriced = sum.unpriced; !rec.Unpriced {
			rec.CostUSD = sum.cost
		}
		// budgets pay for it; tokens a minute were not what the batch was bound by
		serr := x.g.o.Admission.Settle(detached(x.r), store.SettleRequest{ID: rec.RequestID, Account: rec.Account, Now: now, Zone: x.g.s.Zone,
			Subjects: x.subjectList(), Used: store.Amount{USD: rec.CostUSD}, Record: rec})
		if serr != nil {
			x.g.o.Log.Error("usage of a batch not stored", "request_id", x.info.ID, "error", serr)
		}
		err = cmp.Or(err, serr)
		recs = append(recs, rec)
	}
	if err == nil && x.batchSettled(b.ID) {
		x.countBatch(recs)
	}
}

// batchSettled notes that a batch's records are stored, and reports whether that was not known. Where it cannot be noted, the
// next fetch stores the same records again.
func (x *exchange) batchSettled(id string) bool {
	ctx, cancel := context.WithTimeout(detached(x.r), afterwards)
	defer cancel()
	var err error
	if f, ok := x.g.o.Admission.(interface{ Flush(context.Context) error }); ok { // records that are saved in groups: before the note
		err = f.Flush(ctx)
	}
	first := false
	if err == nil {
		first, err = x.g.o.Tables.BatchSettled(ctx, id)
	}
	if err != nil {
		x.g.o.Log.Error("batch not noted as settled", "request_id", x.info.ID, "error", err)
	}
	return first
}

func (x *exchange) countBatch(recs []core.Settlement) {
	if m := x.g.o.Metrics; m != nil {
		for i := range recs {
			m.Used(&recs[i], x.kind)
		}
	}
}
