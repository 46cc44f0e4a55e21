package trace

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Numbers of fields are those of opentelemetry-proto 1.x: collector/trace/v1, trace/v1, common/v1 and resource/v1. All spans of
// a batch come from one provider, so there is one resource and one scope.

// Wire types of protobuf.
const (
	varint  = 0
	fixed64 = 1
	bytesOf = 2
	fixed32 = 5
)

func appendTag(b []byte, field, wire uint64) []byte {
	return binary.AppendUvarint(b, field<<3|wire)
}

// appendMessage appends a field that holds a message.
func appendMessage(b []byte, field uint64, body func([]byte) []byte) []byte {
	return appendBytes(b, field, body(nil))
}

func appendBytes[T []byte | string](b []byte, field uint64, v T) []byte {
	b = appendTag(b, field, bytesOf)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendText appends a string, which must be UTF-8: a collector refuses the whole batch for one that is not.
func appendText(b []byte, field uint64, s string) []byte {
	if s == "" {
		return b
	}
	return appendBytes(b, field, strings.ToValidUTF8(s, "\uFFFD"))
}

func appendVarint(b []byte, field, v uint64) []byte {
	return binary.AppendUvarint(appendTag(b, field, varint), v)
}

func appendTime(b []byte, field uint64, t time.Time) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(b, field, fixed64), uint64(t.UnixNano()))
}

// appendProto appends an ExportTraceServiceRequest.
func appendProto(b []byte, spans []sdk.ReadOnlySpan) []byte {
	return appendMessage(b, 1, func(b []byte) []byte { // ResourceSpans
		r, scope := spans[0].Resource(), spans[0].InstrumentationScope()
		b = appendMessage(b, 1, func(b []byte) []byte { return appendAttributes(b, 1, r.Attributes()) })
		b = appendMessage(b, 2, func(b []byte) []byte { // ScopeSpans
			b = appendMessage(b, 1, func(b []byte) []byte { return appendText(appendText(b, 1, scope.Name), 2, scope.Version) })
			for _, s := range spans {
				b = appendMessage(b, 2, func(b []byte) []byte { return appendSpan(b, s) })
			}
			return appendText(b, 3, scope.SchemaURL)
		})
		return appendText(b, 3, r.SchemaURL())
	})
}

func appendSpan(b []byte, s sdk.ReadOnlySpan) []byte {
	sc, parent := s.SpanContext(), s.Parent()
	id, span := sc.TraceID(), sc.SpanID()
	b = appendBytes(appendBytes(b, 1, id[:]), 2, span[:])
	b = appendText(b, 3, sc.TraceState().String())
	if parent.HasSpanID() {
		above := parent.SpanID()
		b = appendBytes(b, 4, above[:])
	}
	b = appendText(b, 5, s.Name())
	b = appendVarint(b, 6, uint64(s.SpanKind())) // the SDK's numbers are OTLP's
	b = appendTime(appendTime(b, 7, s.StartTime()), 8, s.EndTime())
	b = appendAttributes(b, 9, s.Attributes())
	for _, e := range s.Events() {
		b = appendMessage(b, 11, func(b []byte) []byte {
			return appendAttributes(appendText(appendTime(b, 1, e.Time), 2, e.Name), 3, e.Attributes)
		})
	}
	if st := s.Status(); st.Code != codes.Unset {
		b = appendMessage(b, 15, func(b []byte) []byte { return appendVarint(appendText(b, 2, st.Description), 3, statusCode(st.Code)) })
	}
	return binary.LittleEndian.AppendUint32(appendTag(b, 16, fixed32), flags(sc, parent))
}

// flags are the trace flags, and whether the parent is another process's.
func flags(sc, parent trace.SpanContext) uint32 {
	f := uint32(sc.TraceFlags()) | 0x100
	if parent.IsRemote() {
		f |= 0x200
	}
	return f
}

// statusCode is OTLP's number; the SDK's are the other way round.
func statusCode(c codes.Code) uint64 {
	if c == codes.Ok {
		return 1
	}
	return 2
}

func appendAttributes(b []byte, field uint64, all []attribute.KeyValue) []byte {
	for _, kv := range all {
		b = appendMessage(b, field, func(b []byte) []byte {
			b = appendText(b, 1, string(kv.Key))
			return appendMessage(b, 2, func(b []byte) []byte { return appendValue(b, kv.Value) })
		})
	}
	return b
}

func appendValue(b []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.BOOL:
		n := uint64(0)
		if v.AsBool() {
			n = 1
		}
		return appendVarint(b, 2, n)
	case attribute.INT64:
		return appendVarint(b, 3, uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return binary.LittleEndian.AppendUint64(appendTag(b, 4, fixed64), math.Float64bits(v.AsFloat64()))
	}
	// there are no lists among ours, and an empty string is not no value
	return appendBytes(b, 1, strings.ToValidUTF8(v.AsString(), "\uFFFD"))
}
