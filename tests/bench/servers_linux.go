package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// The names by which this program starts itself as a server. Such a server
// prints its address on its first line and ends when its standard input does.
const (
	cmdUpstream     = "upstream"
	cmdReverseProxy = "reverseproxy"
)

// streamEvents is the number of events of a stream in scenario (b).
const streamEvents = 200

// pace is the time between two events of a stream in scenario (p).
const pace = 5 * time.Millisecond

// openEvents is the number of events before an open stream falls silent:
// message_start, content_block_start and one delta.
const openEvents = 3

// behaviours are the answers of the fake upstream by name.
func behaviours() map[string]upstreamtest.Behaviour {
	return map[string]upstreamtest.Behaviour{
		"short":  upstreamtest.Reply(upstreamtest.Text("Hello!\n", "Hallo!\n", "Bonjour !")),
		"stream": upstreamtest.Events(streamEvents - 6), // the other six are not deltas
		"deltas": upstreamtest.Reply(upstreamtest.Text(pieces(textDeltas)...)),
		"paced":  upstreamtest.Events(streamEvents - 6).Every(pace),
		"open":   upstreamtest.Events(1).NoPing().Silence(upstreamtest.AfterDeltas(1)),
	}
}

// serveUpstream is the fake upstream's process: all APIs, each on a port of its
// own: Messages, OpenAI's and Amazon Q's on the first line. Each line of the input
// names the behaviour of the answers from then on and is echoed.
func serveUpstream(in io.Reader, out io.Writer) error {
	up, err := upstreamtest.StartAnthropic(upstreamtest.WithoutRecording(), upstreamtest.WithoutValidation())
	if err != nil {
		return err
	}
	defer up.Close()
	openAI, err := upstreamtest.StartOpenAI(upstreamtest.WithoutRecording(), upstreamtest.WithoutValidation())
	if err != nil {
		return err
	}
	defer openAI.Close()
	q, err := upstreamtest.StartAmazonQ(upstreamtest.WithoutRecording(), upstreamtest.WithoutValidation())
	if err != nil {
		return err
	}
	defer q.Close()
	fmt.Fprintln(out, strings.TrimPrefix(up.URL, "http://"), strings.TrimPrefix(openAI.URL, "http://"), strings.TrimPrefix(q.URL, "http://"))
	all := behaviours()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		b, ok := all[lines.Text()]
		if !ok {
			return fmt.Errorf("no behaviour %q", lines.Text())
		}
		up.Default(b)
		openAI.Default(b)
		q.Default(b)
		fmt.Fprintln(out, lines.Text())
	}
	return lines.Err()
}

// serveReverseProxy is the process of the yardstick: what a few lines of the
// standard library do.
//
// Full duplex is on because without it the yardstick breaks off about one in a
// thousand streams of an upstream this fast: the server closes the request's
// body when the answer begins, the transport, which has sent the body but not
// yet looked for its end, takes that for a failed write, and closes its
// connection. It costs nothing that can be measured.
func serveReverseProxy(upstream string, in io.Reader, out io.Writer) error {
	target, err := url.Parse("http://" + upstream)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, in) // ends with the parent
		os.Exit(0)
	}()
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			panic(err) // HTTP/1 always can
		}
		proxy.ServeHTTP(w, r)
	}))
}
