// Package scenario runs the same exchanges through every host that a handler can have: net/http, and Lambda behind each kind
// of front door. Hosts takes any http.Handler; Table is for the one of NewHandler.
package scenario

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/shared/lambdahttp"
	"sluice/tests/lambda/front"
)

// Host is one way to serve a handler.
type Host struct {
	Name    string
	URL     string // what clients put before a path
	Prefix  string // of the path, that the handler does not see
	Streams bool   // the client sees bytes before the handler has returned
	Lambda  bool
	// Decodes: the path reaches the handler decoded, so an escaped slash is lost (HTTP APIs)
	Decodes bool
	// MakesQuery: the query was taken apart on the way (payload 1.0): order and form are lost, values are not
	MakesQuery bool
	// JoinsHeaders: several lines of a header come as one (payload 2.0)
	JoinsHeaders bool
	// TellsGone: a client that leaves ends the request's context. Real Lambda does not tell.
	TellsGone bool
	// Deadline: the request's context has one
	Deadline bool
}

type door struct {
	host Host
	door *front.Door
}

// doors are the front doors, with what they do to a request.
func doors() []door {
	return []door{
		{Host{Name: "rest", Streams: true, MakesQuery: true}, &front.Door{Type: front.REST}},
		{Host{Name: "rest-stage", Streams: true, MakesQuery: true, Prefix: "/prod"}, &front.Door{Type: front.REST, Stage: "prod", Binary: true}},
		{Host{Name: "rest-domain", Streams: true, MakesQuery: true, Prefix: "/gw"}, &front.Door{Type: front.REST, Stage: "prod", Base: "/gw"}},
		{Host{Name: "url", Streams: true, JoinsHeaders: true}, &front.Door{Type: front.FunctionURL}},
		{Host{Name: "http-api", Decodes: true, JoinsHeaders: true}, &front.Door{Type: front.HTTPAPI}},
		{Host{Name: "http-api-stage", Decodes: true, JoinsHeaders: true, Prefix: "/prod"}, &front.Door{Type: front.HTTPAPI, Stage: "prod"}},
		{Host{Name: "sam-local", MakesQuery: true}, &front.Door{Type: front.RESTBuffered}},
	}
}

// NetHTTP serves h by net/http.
func NetHTTP(t testing.TB, h http.Handler) Host {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // panics are part of the game
	srv.Start()
	t.Cleanup(srv.Close)
	return Host{Name: "net/http", URL: srv.URL, Streams: true, TellsGone: true}
}

// Lambda serves by functions behind every front door: stream for those that stream and for HTTP APIs, buffered as under `sam
// local`. tellsGone says that closing an answer ends the request.
func Lambda(t testing.TB, prefix string, stream, buffered front.Invoker, tellsGone bool) []Host {
	var hosts []Host
	for _, d := range doors() {
		d.door.Invoke = stream
		if d.door.Type == front.RESTBuffered {
			d.door.Invoke = buffered
		}
		srv := httptest.NewUnstartedServer(d.door)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Start()
		t.Cleanup(srv.Close)
		h := d.host
		h.Name = prefix + h.Name
		h.URL = srv.URL + h.Prefix
		h.Lambda, h.Deadline, h.TellsGone = true, true, tellsGone && h.Streams
		hosts = append(hosts, h)
	}
	return hosts
}

// Hosts serves h in every way within the test's process.
func Hosts(t testing.TB, h http.Handler, o lambdahttp.Options) []Host {
	buffered := o
	buffered.Buffered = true
	return append([]Host{NetHTTP(t, h)}, Lambda(t, "lambda/", Direct(lambdahttp.New(h, o)), Direct(lambdahttp.New(h, buffered)), true)...)
}

// Direct invokes a function as aws-lambda-go would, without a Runtime API between.
func Direct(f lambdahttp.Function) front.Invoker {
	return func(_ context.Context, event []byte, timeout time.Duration) (string, io.ReadCloser, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		r, err := f(ctx, event)
		if err != nil {
			cancel()
			return "", nil, err
		}
		return r.(interface{ ContentType() string }).ContentType(), &direct{r.(io.ReadCloser), cancel}, nil
	}
}

type direct struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (d *direct) Close() error {
	err := d.ReadCloser.Close()
	d.cancel()
	return err
}
