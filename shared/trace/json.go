package trace

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// The shapes of OTLP/JSON: protobuf's mapping, save that ids are hexadecimal and enums are numbers.
type (
	jsonExport struct {
		ResourceSpans []jsonResourceSpans `json:"resourceSpans"`
	}
	jsonResourceSpans struct {
		Resource   jsonResource     `json:"resource"`
		ScopeSpans []jsonScopeSpans `json:"scopeSpans"`
		SchemaURL  string           `json:"schemaUrl,omitempty"`
	}
	jsonResource struct {
		Attributes []jsonAttribute `json:"attributes,omitempty"`
	}
	jsonScopeSpans struct {
		Scope     jsonScope  `json:"scope"`
		Spans     []jsonSpan `json:"spans"`
		SchemaURL string     `json:"schemaUrl,omitempty"`
	}
	jsonScope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	jsonSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		TraceState string          `json:"traceState,omitempty"`
		Parent     string          `json:"parentSpanId,omitempty"`
		Flags      uint32          `json:"flags"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"`
		End        string          `json:"endTimeUnixNano"`
		Attributes []jsonAttribute `json:"attributes,omitempty"`
		Events     []jsonEvent     `json:"events,omitempty"`
		Status     *jsonStatus     `json:"status,omitempty"`
	}
	jsonEvent struct {
		Time       string          `json:"timeUnixNano"`
		Name       string          `json:"name"`
		Attributes []jsonAttribute `json:"attributes,omitempty"`
	}
	jsonStatus struct {
		Message string `json:"message,omitempty"`
		Code    uint64 `json:"code"`
	}
	jsonAttribute struct {
		Key   string    `json:"key"`
		Value jsonValue `json:"value"`
	}
	jsonValue struct {
		Text  *string  `json:"stringValue,omitempty"`
		Bool  *bool    `json:"boolValue,omitempty"`
		Int   string   `json:"intValue,omitempty"` // 64 bits are text
		Float *float64 `json:"doubleValue,omitempty"`
	}
)

// appendJSON appends an ExportTraceServiceRequest.
func appendJSON(b []byte, spans []sdk.ReadOnlySpan) []byte {
	r, scope := spans[0].Resource(), spans[0].InstrumentationScope()
	of := jsonScopeSpans{Scope: jsonScope{scope.Name, scope.Version}, SchemaURL: scope.SchemaURL, Spans: make([]jsonSpan, len(spans))}
	for i, s := range spans {
		of.Spans[i] = spanJSON(s)
	}
	out, err := json.Marshal(jsonExport{[]jsonResourceSpans{{Resource: jsonResource{attributesJSON(r.Attributes())}, ScopeSpans: []jsonScopeSpans{of}, SchemaURL: r.SchemaURL()}}})
	if err != nil { // a number that JSON does not know; none of ours can be
		return b
	}
	return append(b, out...)
}

func spanJSON(s sdk.ReadOnlySpan) jsonSpan {
	sc, parent := s.SpanContext(), s.Parent()
	j := jsonSpan{TraceID: sc.TraceID().String(), SpanID: sc.SpanID().String(), TraceState: sc.TraceState().String(), Flags: flags(sc, parent),
		Name: s.Name(), Kind: int(s.SpanKind()), Start: nanos(s.StartTime()), End: nanos(s.EndTime()), Attributes: attributesJSON(s.Attributes())}
	if parent.HasSpanID() {
		above := parent.SpanID()
		j.Parent = hex.EncodeToString(above[:])
	}
	for _, e := range s.Events() {
		j.Events = append(j.Events, jsonEvent{nanos(e.Time), e.Name, attributesJSON(e.Attributes)})
	}
	if st := s.Status(); st.Code != codes.Unset {
		j.Status = &jsonStatus{st.Description, statusCode(st.Code)}
	}
	return j
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func attributesJSON(all []attribute.KeyValue) []jsonAttribute {
	out := make([]jsonAttribute, len(all))
	for i, kv := range all {
		out[i].Key = string(kv.Key)
		switch v := &out[i].Value; kv.Value.Type() {
		case attribute.BOOL:
			b := kv.Value.AsBool()
			v.Bool = &b
		case attribute.INT64:
			v.Int = strconv.FormatInt(kv.Value.AsInt64(), 10)
		case attribute.FLOAT64:
			f := kv.Value.AsFloat64()
			v.Float = &f
		default:
			s := kv.Value.AsString()
			v.Text = &s
		}
	}
	return out
}
