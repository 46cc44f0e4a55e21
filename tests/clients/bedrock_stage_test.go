package clients_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// Clients over a pool of Amazon Bedrock accounts: one works, one is throttled, and one has no access to the model. The two
// that do not work are preferred, so that every client meets both of them. The nodes have a region and credentials and
// nothing else: the gateway finds AWS's own host names, and a proxy leads those, TLS and all, to fakes that verify every
// signature.

// The regions of the accounts.
const (
	worksIn     = "us-east-1"
	throttledIn = "eu-west-1"
	deniedIn    = "us-west-2"
)

// bedWay is a way to speak to Bedrock.
type bedWay struct {
	name  string
	api   string
	path  string // of the base URL on the runtime's host; empty: the default host
	model string // that clients ask for
	sent  string // what that is called there
}

// nova is what clients call a model that is not Anthropic's.
const nova = "nova-pro"

var (
	mantleWay   = bedWay{"Mantle", "messages", "", model, "anthropic.claude-sonnet-5-5"}
	runtimeWay  = bedWay{"Runtime", "messages", "/anthropic", model, "us.anthropic.claude-sonnet-5-5"}
	invokeWay   = bedWay{"Invoke", "invoke", "", model, "us.anthropic.claude-sonnet-5-5"}
	converseWay = bedWay{"Converse", "converse", "", model, "us.anthropic.claude-sonnet-5-5"}
	novaWay     = bedWay{"Nova", "converse", "", nova, "us.amazon.nova-pro-v1:0"}

	allBedWays = []bedWay{mantleWay, runtimeWay, invokeWay, converseWay}
	// openAIWays are those of clients that are not Anthropic's: each codec once.
	openAIWays = []bedWay{novaWay, invokeWay, mantleWay}
)

// bed is a stage in front of three accounts. Its upstream is the one that works.
type bed struct {
	*stage
	way               bedWay
	k                 *up.Bedrock // the upstream as what it is
	throttled, denied *up.Bedrock
}

// bedOn starts a bed for a test that runs beside others.
func bedOn(t *testing.T, way bedWay) *bed {
	t.Helper()
	t.Parallel()
	b := &bed{way: way}
	open := func(region string) *up.Bedrock {
		k := up.NewBedrock(t, up.WithRegions(region))
		k.SetModels(bedModels()...)
		return k
	}
	b.k, b.throttled, b.denied = open(worksIn), open(throttledIn), open(deniedIn)
	b.throttled.Default(up.RateLimited(0))
	var ids []string
	for _, m := range bedModels() {
		ids = append(ids, m.ID)
	}
	b.denied.DenyModels(ids...)
	aws := newAWS(t, map[string]*up.Bedrock{worksIn: b.k, throttledIn: b.throttled, deniedIn: b.denied})
	gw := startGateway(t, "", aws...)
	b.stage = &stage{fixture: &fixture{T: t, gw: gw, tap: newTap(t, gw.URL)}, kind: kind{"Bedrock", "bedrock", way.model}, up: b.k, sent: way.sent}
	keys := up.DefaultBedrockCredentials()
	for i, n := range []struct{ name, region string }{{"throttled", throttledIn}, {"denied", deniedIn}, {"works", worksIn}} {
		in := object{"name": n.name, "kind": "bedrock", "region": n.region, "api": way.api, "weight": i/2 + 1,
			"access_key_id": keys.AccessKeyID, "secret_access_key": keys.SecretAccessKey}
		if way.model == nova {
			in["model_map"] = object{nova: n.region[:2] + ".amazon.nova-pro-v1:0"}
		}
		if way.path != "" {
			in["base_url"] = "https://bedrock-runtime." + n.region + ".amazonaws.com" + way.path
		}
		gw.admin(http.MethodPost, "/admin/api/nodes", in, nil)
	}
	return b
}

// bedModels are those that the accounts have. They take the flags that others found to be taken by Claude 5.5 since the fake's
// own list was probed (each tried alone on InvokeModel in October 2026, as the documents of gateways tell), and no others.
func bedModels() []up.BedrockModel {
	betas := append(up.ProbedBetas(), "claude-code-20250219", "effort-2025-11-24", "thinking-token-count-2026-05-13",
		"per-turn-control-2026-07-01", "mid-conversation-tool-changes-2026-07-01")
	all := up.BedrockModel{Profiles: []string{"global", "us", "eu"}, Mantle: true, Caches: true, LongCache: true, Betas: betas}
	sonnet, haiku, old, other := all, all, all, all
	sonnet.ID, haiku.ID, old.ID, other.ID = "anthropic.claude-sonnet-5-5", "anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"
	old.Mantle, old.Counts, other.Mantle, other.LongCache = false, true, false, false
	return []up.BedrockModel{sonnet, haiku, old, other}
}

// eachBed runs a test for each way.
func eachBed(t *testing.T, ways []bedWay, test func(b *bed)) {
	t.Helper()
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(bedOn(t, w)) })
	}
}

// ways runs a test without and with streaming on one bed.
func (b *bed) ways(test func(b *bed, stream bool)) {
	b.Helper()
	b.stage.ways(func(s *stage, stream bool) {
		sub := *b
		sub.stage = s
		test(&sub, stream)
	})
}

// arrived lists the requests for replies at the account that works, without those that were turned.
func (b *bed) arrived() []up.BedrockCall {
	all, at := replies(b.k), 0
	for _, x := range b.stage.asked() {
		switch {
		case x.Answer.Get("X-Proxy-Node") != "works" || at >= len(all):
		case turned(x):
			all = slices.Delete(all, at, at+1)
		default:
			at++
		}
	}
	return all
}

// replies are the requests for a model's reply that an account got.
func replies(k *up.Bedrock) (out []up.BedrockCall) {
	for _, c := range k.Calls() {
		switch c.Operation {
		case "Messages", "InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream":
			out = append(out, c)
		}
	}
	return out
}

func (b *bed) wantReached(n int) {
	b.Helper()
	if got := len(b.arrived()); got != n {
		b.Errorf("%d requests reached the account, want %d", got, n)
	}
}

// last reads the newest request for a reply as the account that works got it.
func (b *bed) last() *said {
	b.Helper()
	all := b.arrived()
	if len(all) == 0 {
		b.Fatal("nothing reached the account")
	}
	return read(b.T, all[len(all)-1].Path, all[len(all)-1].Body)
}

// turned tells whether the account refused a request for a system turn, which Claude Code then makes without. The service takes
// them with Claude 4.8 and later, older models refuse them (BerriAI/litellm#32831), and the fake refuses them for all.
func turned(x exchange) bool {
	return x.Status == http.StatusBadRequest && strings.Contains(x.Text, turnedWords)
}

const turnedWords = ".role: Input should be 'user' or 'assistant'"

// asked lists the client's requests for replies, without those that were turned.
func (b *bed) asked() []exchange { return slices.DeleteFunc(b.stage.asked(), turned) }

// endpointOf is what records call a path.
func endpointOf(path string) string {
	if head, rest, ok := strings.Cut(path, "/model/"); ok {
		return head + "/model/{id}" + rest[strings.LastIndexByte(rest, '/'):]
	}
	return path
}

// recorded are the usage records of the client's requests, in their order.
func (b *bed) recorded() (out []usage) {
	b.Helper()
	all := b.asked()
	byID := map[string]usage{}
	poll(b.T, settle, "the usage records", func() bool {
		for _, x := range all {
			if _, ok := byID[x.Answer.Get("Request-Id")]; ok {
				continue
			}
			for _, u := range b.gw.usages(endpointOf(x.Path), 1) {
				byID[u.RequestID] = u
			}
		}
		for _, x := range all {
			if _, ok := byID[x.Answer.Get("Request-Id")]; !ok {
				return false
			}
		}
		return true
	})
	for _, x := range all {
		out = append(out, byID[x.Answer.Get("Request-Id")])
	}
	return out
}

// checkSaid compares every request of the client with what the account that works was told in its place. It holds when each
// needed one attempt there.
func (b *bed) checkSaid() {
	b.Helper()
	sent, got := b.asked(), b.arrived()
	if len(sent) != len(got) || len(sent) == 0 {
		b.Fatalf("%d requests were sent, %d arrived", len(sent), len(got))
	}
	for i := range sent {
		here, there := read(b.T, sent[i].Path, sent[i].Body), read(b.T, got[i].Path, got[i].Body)
		here.Stream = here.Stream || strings.HasSuffix(sent[i].Path, "-stream")
		if got[i].Operation != b.operation(here.Stream) || got[i].ModelID != b.sent {
			b.Errorf("%s arrived as %s of %q, want %s of %q", sent[i].Path, got[i].Operation, got[i].ModelID, b.operation(here.Stream), b.sent)
		}
		there.Stream = got[i].Stream()
		checkSaid(b.T, here, there)
	}
}

// operation is the one that the way has for a reply.
func (b *bed) operation(stream bool) string {
	switch {
	case b.way.api == "messages":
		return "Messages"
	case b.way.api == "invoke" && stream:
		return "InvokeModelWithResponseStream"
	case b.way.api == "invoke":
		return "InvokeModel"
	case stream:
		return "ConverseStream"
	}
	return "Converse"
}

// checkBed verifies what holds for every test: what the clients sent passes all checks of the service, signed by the node's
// keys and with nothing of the client's, and none of them noticed the accounts that do not work.
func (b *bed) checkBed() {
	b.Helper()
	for name, k := range map[string]*up.Bedrock{"works": b.k, "throttled": b.throttled, "denied": b.denied} {
		for _, cause := range k.Refused() {
			if (name != "denied" || !strings.HasSuffix(cause, " is denied")) && !strings.Contains(cause, turnedWords) {
				b.Errorf("the service refused what was sent to the account %s: %s", name, cause)
			}
		}
		for _, c := range k.Calls() {
			if c.AccessKeyID != up.DefaultBedrockCredentials().AccessKeyID {
				b.Errorf("%s got %s %s with the credential %q", name, c.Method, c.Path, c.Header.Get("Authorization"))
			}
			for header, values := range c.Header {
				if strings.Contains(strings.Join(values, " "), proxyKey) {
					b.Errorf("the client's key went to %s in %s", name, header)
				}
			}
			if strings.Contains(string(c.Body), proxyKey) {
				b.Errorf("the client's key went to %s in the body", name)
			}
		}
	}
	for _, x := range b.asked() {
		if node := x.Answer.Get("X-Proxy-Node"); node != "works" {
			b.Errorf("%s: status %d by the account %q: %s", x.Path, x.Status, node, x.Text)
		}
	}
	if a, d := len(replies(b.throttled)), len(replies(b.denied)); a < 1 || d < 1 {
		b.Errorf("the throttled account was asked %d times, the one without access %d times", a, d)
	}
}

// checkCounted compares the usage records of the client's requests with what the account reported for each.
func (b *bed) checkCounted(n int, want up.Usage) {
	b.Helper()
	all := b.recorded()
	if len(all) != n {
		b.Errorf("%d requests are recorded, want %d", len(all), n)
	}
	for _, u := range all {
		checkTokens(b.T, u, want)
		if u.Status != http.StatusOK || !u.Success || u.NodeName != "works" {
			b.Errorf("recorded %+v", u)
		}
	}
}

// newAWS starts the proxy by which AWS's names lead to the fakes, by their region, and returns what a gateway needs in its
// environment to take it.
func newAWS(t *testing.T, regions map[string]*up.Bedrock) []string {
	t.Helper()
	quiet := log.New(io.Discard, "", 0) // fakes that break off are part of the tests
	hosts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.Host, ".")
		region, _, _ := strings.Cut(rest, ".")
		k := regions[region]
		if k == nil {
			t.Errorf("%s %s%s was asked for", r.Method, r.Host, r.URL.Path)
			return
		}
		(&httputil.ReverseProxy{Transport: k.Transport(), FlushInterval: -1, ErrorLog: quiet, Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "https", r.Host
		}}).ServeHTTP(w, r)
	}))
	cert, file := certificate(t)
	hosts.TLS, hosts.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{cert}}, quiet
	hosts.EnableHTTP2 = true
	hosts.StartTLS()
	t.Cleanup(hosts.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, _ := net.SplitHostPort(r.Host); r.Method != http.MethodConnect || !strings.HasSuffix(host, ".amazonaws.com") && !strings.HasSuffix(host, ".api.aws") {
			t.Errorf("the proxy was asked for %s %s", r.Method, r.Host)
			return
		}
		tunnel(w, hosts.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	return []string{"HTTPS_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + file, "SSL_CERT_DIR=" + filepath.Dir(file)}
}

// tunnel answers CONNECT, and returns when both sides have ended.
func tunnel(w http.ResponseWriter, addr string) {
	there, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer there.Close()
	here, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() { // ends with either side
		defer close(done)
		_, _ = io.Copy(there, buf)
		_ = there.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(here, there)
	_ = here.Close()
	<-done
}

// certificate is one for AWS's hosts, and the file by which a process trusts it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	spec := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, region := range []string{worksIn, throttledIn, deniedIn} {
		spec.DNSNames = append(spec.DNSNames, "*."+region+".amazonaws.com", "*."+region+".api.aws")
	}
	der, err := x509.CreateCertificate(rand.Reader, spec, spec, key.Public(), key)
	fatal(err)
	file := filepath.Join(t.TempDir(), "aws.pem")
	fatal(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
