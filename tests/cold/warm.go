package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/shared/lambdahttp"
)

// warmed is what the way to a handler and back costs.
type warmed struct{ request, httpRequest, event, httpEvent time.Duration }

var line = []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n")

func small(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"ok":true}`)
}

// endless writes events while b wants more.
func endless(b *testing.B) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for b.Loop() {
			_, _ = w.Write(line)
			_ = rc.Flush()
		}
	}
}

func measure() warmed {
	return warmed{request: per(adapterRequest), httpRequest: per(httpRequest), event: per(adapterEvent), httpEvent: per(httpEvent)}
}

func per(f func(*testing.B)) time.Duration { return time.Duration(testing.Benchmark(f).NsPerOp()) }

func options() lambdahttp.Options {
	return lambdahttp.Options{Log: slog.New(slog.DiscardHandler), MaxStream: 1 << 50}
}

func drain(f lambdahttp.Function, ev []byte) {
	r, err := f(context.Background(), json.RawMessage(ev))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r)
	_ = r.(io.Closer).Close()
}

func adapterRequest(b *testing.B) {
	f := lambdahttp.New(http.HandlerFunc(small), options())
	for b.Loop() {
		drain(f, []byte(event))
	}
}

func adapterEvent(b *testing.B) { drain(lambdahttp.New(endless(b), options()), []byte(event)) }

func httpRequest(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(small))
	defer srv.Close()
	for b.Loop() {
		get(srv.URL)
	}
}

func httpEvent(b *testing.B) {
	srv := httptest.NewServer(endless(b))
	defer srv.Close()
	get(srv.URL)
}

func get(url string) {
	resp, err := http.Post(url, "application/json", bytes.NewReader([]byte(`{"model":"m"}`)))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
