package boot

import (
	"context"
	"time"

	"sluice/shared/gateway"
	"sluice/shared/trace"
)

// lastTraces bounds the export of what is left at the end of the process: a collector that hangs must not hold it.
const lastTraces = 3 * time.Second

// Traces make spans of model traffic and export them.
type Traces interface {
	gateway.Tracer
	// Flush exports what has ended, within ctx.
	Flush(ctx context.Context)
	// Close exports what is left and ends the exporter.
	Close(ctx context.Context)
}

// Tracing makes Traces by the settings; nil where they have none. A process that is not passed one does not link what makes
// and exports spans.
func Tracing(o trace.Options) Traces {
	if t := trace.New(o); t != nil {
		return t
	}
	return nil // an interface without a value, not one with a nil value
}

// openTraces makes what traces model traffic; nil where the settings have none, or the process serves no such traffic.
func (a *App) openTraces(o *Options) gateway.Tracer {
	if o.Trace == nil || o.Part.models == nil {
		return nil
	}
	a.traces = o.Trace(trace.Options{Settings: o.Config.Traces, Version: o.Version, Log: o.Log, Console: o.Access})
	if a.traces == nil {
		return nil
	}
	return a.traces
}

// flushTraces exports what has ended, for hosts that stop the process after each request.
func (a *App) flushTraces(ctx context.Context) {
	if a.traces != nil {
		a.traces.Flush(ctx)
	}
}

// closeTraces exports what is left and ends the exporter.
func (a *App) closeTraces() {
	if a.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
	defer cancel()
	a.traces.Close(ctx)
}
