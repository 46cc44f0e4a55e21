package gateway

import (
	"bytes"
	"hash/fnv"
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
	line   []byte
	models map[string]*batchSum
	list   *pricing.List
	now    time.Time
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

// settleBatch records what a batch used, once however often its results are fetched: the record's id is the batch's.
func (x *exchange) settleBatch(m *batchMeter) {
	if m == nil {
		return
	}
	m.flush()
	id, _, _ := strings.Cut(strings.TrimPrefix(x.path, batchesPath+"/"), "/")
	now := x.g.o.Now().UTC()
	for model, sum := range m.models {
		rec := core.Settlement{RequestID: batchRecordID(x.key.Account, id, model), Account: x.key.Account, Key: x.key.ID, Node: x.rec.Node,
			NodeName: x.rec.NodeName, Endpoint: batchUsage, Dialect: core.DialectAnthropic, Model: model, ServedModel: model, Status: 200, Attempts: 1,
			Tokens: sum.Tokens, Estimated: sum.guessed, Searches: sum.searches, StartedAt: now, EndedAt: now}
		if rec.Unpriced = sum.unpriced; !rec.Unpriced {
			rec.CostUSD = sum.cost
		}
		// budgets pay for it; tokens a minute were not what the batch was bound by
		err := x.g.o.Admission.Settle(detached(x.r), store.SettleRequest{ID: rec.RequestID, Account: rec.Account, Now: now, Zone: x.g.s.Zone,
			Subjects: x.subjectList(), Used: store.Amount{USD: rec.CostUSD}, Record: rec})
		if err != nil {
			x.g.o.Log.Error("usage of a batch not stored", "request_id", x.info.ID, "error", err)
		}
	}
}
