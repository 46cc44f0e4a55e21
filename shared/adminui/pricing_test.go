package adminui

import (
	"bytes"
	"mime/multipart"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const priceRows = `{"count":2,"pricing":[{"model_id":"claude-opus","model_name":"<b>Opus</b>","input_price_mtok":3.5,"output_price_mtok":18,"cache_read_price_mtok":0.075,"is_active":true,"kind":"","source":"operator","note":"<i>noted","batch_percent":50,
"long_over_tokens":200000,"long":{"input_price_mtok":7},"search_price_1k":10,"regional_percent":10},
{"model_id":"new-model","model_name":"new-model","input_price_mtok":0,"output_price_mtok":null,"is_active":false,"from":"2027-01-01T00:00:00Z","kind":"bedrock","source":"account"},
{"model_id":"claude-haiku","model_name":"claude-haiku","input_price_mtok":1,"output_price_mtok":5,"is_active":true,"kind":"anthropic","source":"builtin"}]}`

func newPriceFake(t *testing.T) *poolFake {
	return newPoolFake(t, map[string]string{"GET /api/pricing": priceRows, "GET /api/pricing?account_id=b": priceRows, "GET /admin/api/accounts": usageAccounts})
}

// TestPricingPage: prices with their sources; hostile names are text; a tenant reads alone.
func TestPricingPage(t *testing.T) {
	f := newPriceFake(t)
	w := f.get("/admin/pricing")
	f.has("rows", w, 200, "&lt;b&gt;Opus", "!<b>Opus", "&lt;i&gt;noted", "$3.50", "$0.075", "$0.00", "–", "operator", "built in", "Above 200k tokens of input:", "$7.00", "$10.00 for 1,000", "10% more", "50% of it", "holds from", "Bedrock")
	f.has("only what was set can be ended", w, 200, `value="operator  claude-opus"`, `value="account bedrock new-model"`, `!value="builtin anthropic claude-haiku"`)
	f.has("found", f.get("/admin/pricing?q=HAIKU"), 200, "claude-haiku", "!&lt;b&gt;Opus")
	f.has("found nothing", f.get("/admin/pricing?q=zzz"), 200, "Nothing found")
	f.has("editing", f.get("/admin/pricing?edit=operator++claude-opus"), 200, `id="f-model_id" name="model_id" type="text" value="claude-opus"`, `value="3.5"`, `value="&lt;b&gt;Opus&lt;/b&gt;"`)
	f.has("in Chinese", f.get("/admin/pricing", "Accept-Language", "zh"), 200, "价格", "内置")
	f.has("of an account", f.get("/admin/pricing?account_id=b"), 200, `value="b" selected`, "account_id=b&amp;do=end")
	f.get("/admin/pricing?source=builtin&kind=bedrock&x=1")
	if !f.asked("GET /api/pricing?kind=bedrock&source=builtin") {
		t.Errorf("%v", f.calls)
	}
	own := newPriceFake(t)
	own.reply["GET /admin/api/me"] = personMe
	own.has("a tenant", own.get("/admin/pricing"), 200, "claude-haiku", "!do=set", "!do=end", "!do=import", `!name="account_id"`, "!edit=")
}

// TestSetPrice: what was written goes to the API as it was, times as the reader means them; what is refused stands at its field.
func TestSetPrice(t *testing.T) {
	f := newPriceFake(t)
	w := f.post("/admin/pricing?do=set&account_id=b&source=account", url.Values{"model_id": {" m-1 "}, "kind": {"openai"}, "account_id": {"b"}, "input_price_mtok": {"2.50"}, "from": {"2027-01-01T00:00"}, "time_zone": {"Asia/Tokyo"}})
	if got := f.sent["POST /api/pricing?account_id=b"]; w.Code != 303 || got != `{"from":"2026-12-31T15:00:00Z","input_price_mtok":"2.50","kind":"openai","model_id":"m-1"}` {
		t.Errorf("%d: %s", w.Code, got)
	}
	if to := w.Header().Get("Location"); !strings.Contains(to, "source=account") || !strings.Contains(to, "account_id=b") || !strings.Contains(to, "done=pricing.set") {
		t.Errorf("to %s", to)
	}
	f.reply["POST /api/pricing"] = `400 {"error":"output_price_mtok: must be dollars <x>"}`
	f.has("refused", f.post("/admin/pricing?do=set", url.Values{"model_id": {"<m>"}, "output_price_mtok": {"cheap"}, "kind": {"bedrock"}}), 400,
		"must be dollars &lt;x&gt;", `name="output_price_mtok" type="text" value="cheap"`, `value="&lt;m&gt;"`, `value="bedrock" selected`, `aria-invalid="true"`)
	f.has("no time", f.post("/admin/pricing?do=set", url.Values{"model_id": {"m"}, "from": {"soon"}}), 400, "must be a date and time", `value="soon"`)
}

// TestEndPrice: it is confirmed by the model's name, and ends the price of the list that it stands in.
func TestEndPrice(t *testing.T) {
	for id, call := range map[string]string{"operator  claude-opus": "DELETE /api/pricing?id=claude-opus&kind=", "account bedrock new-model": "DELETE /api/pricing?account_id=b&id=new-model&kind=bedrock"} {
		f := newPriceFake(t)
		name := id[strings.LastIndex(id, " ")+1:]
		f.has("not confirmed", f.post("/admin/pricing?do=end&account_id=b", url.Values{"id": {id}, "name": {name}, "confirm": {"x"}}), 400, "Type "+name)
		if f.asked("DELETE") {
			t.Errorf("%s: ended without a word", id)
		}
		if w := f.post("/admin/pricing?do=end&account_id=b", url.Values{"id": {id}, "name": {name}, "confirm": {name}}); w.Code != 303 || !f.asked(call) {
			t.Errorf("%s: %d, %v", id, w.Code, f.calls)
		}
		f.has("many, not confirmed", f.post("/admin/pricing?do=bulk&account_id=b", url.Values{"ids": {id}}), 400, `role="alert"`)
		f.calls = nil
		if w := f.post("/admin/pricing?do=bulk&account_id=b", url.Values{"ids": {id}, "confirm": {"delete"}}); w.Code != 303 || !f.asked(call) {
			t.Errorf("many: %d, asked %v", w.Code, f.calls)
		}
		f.reply[call] = `404 {"error":"no such price <x>"}`
		f.has("gone", f.post("/admin/pricing?do=end&account_id=b", url.Values{"id": {id}, "name": {name}, "confirm": {name}}), 404, "no such price &lt;x&gt;")
	}
}

func (f *poolFake) upload(target, file string, header ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	part, err := m.CreateFormFile("file", "list.json")
	if err != nil {
		f.t.Fatal(err)
	}
	_, _ = part.Write([]byte(file))
	_ = m.Close()
	return f.ask("POST", target, m.FormDataContentType(), b.String(), header...)
}

// TestImportPrices: a preview changes nothing and comes alone to who asks by script; a file that is none is refused at its field.
func TestImportPrices(t *testing.T) {
	f := newPriceFake(t)
	f.reply["POST /api/pricing/import?dry_run=true"] = `{"rows":1200,"changed":3,"skipped":4,"dry_run":true}`
	f.reply["POST /api/pricing/import?dry_run=false"] = `{"rows":1200,"changed":3,"skipped":4}`
	says := "1,200 prices read, 3 would change, 4 entries skipped"
	f.has("by script", f.upload("/admin/pricing?do=preview", `{"a": 1}`, "HX-Request", "true", "HX-Target", "div#import"), 200, says, "!<html")
	f.has("without", f.upload("/admin/pricing?do=preview", `{"a": 1}`), 200, says, "<html", "claude-haiku")
	if f.asked("POST /api/pricing/import?dry_run=false") || f.sent["POST /api/pricing/import?dry_run=true"] != `{"a":1}` {
		t.Errorf("%v", f.sent)
	}
	if w := f.upload("/admin/pricing?do=import", `{"a":1}`); w.Code != 303 || !strings.Contains(w.Header().Get("Location"), "done=pricing.imported&done=3&done=1%2C200") {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	f.has("no JSON", f.upload("/admin/pricing?do=preview", `{"a"`, "HX-Request", "true", "HX-Target", "div#import"), 400, "is no valid JSON", "!<html")
	f.has("no file", f.upload("/admin/pricing?do=import", ""), 400, "choose a file")
	f.has("no form", f.ask("POST", "/admin/pricing?do=import", "multipart/form-data; boundary=x", "junk"), 400, "Reload the page")
	f.has("too large", f.upload("/admin/pricing?do=import", strings.Repeat(" ", maxPriceList+(100<<10))), 413, "is larger than 8 MiB")
	f.reply["POST /api/pricing/import?dry_run=true"] = `400 {"error":"the list has <no> prices"}`
	f.has("refused", f.upload("/admin/pricing?do=preview", `{}`), 400, "the list has &lt;no&gt; prices")
}
