package trace_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkTell is what a tracer adds to a request with one attempt, the export beside it included.
func BenchmarkTell(b *testing.B) {
	col := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer col.Close()
	for _, c := range []struct{ name, ratio string }{{"none", "0"}, {"1 %", "0.01"}, {"100 %", "1"}} {
		for _, h := range []http.Header{nil, {"Traceparent": {theirParent}}} {
			name := c.name
			if h != nil {
				name += " with a parent"
			}
			b.Run(name, func(b *testing.B) {
				tr := open(b, nil, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL, "OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", c.ratio)
				defer tr.Close(b.Context())
				b.ReportAllocs()
				for b.Loop() {
					tell(tr, h)
				}
			})
		}
	}
}
