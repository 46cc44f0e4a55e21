package capture_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	fakeID     = "AKIDEXAMPLE"
	fakeSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	fakeToken  = "session/token+of=tests"
	fakeRegion = "eu-central-1"
	fakeBucket = "kept-bodies"
)

// fakeS3 is a bucket, path-style, as strict as S3 in what the gateway uses: signatures are made once more by the AWS SDK's
// own signer, sums of bodies are checked, lists are paged.
type fakeS3 struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	objects map[string][]byte
	headers map[string]http.Header
	calls   []string
	fault   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	page    int
}

func newFakeS3(t testing.TB) *fakeS3 {
	f := &fakeS3{t: t, objects: map[string][]byte{}, headers: map[string]http.Header{}, page: 2}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	if tt, ok := t.(*testing.T); ok {
		for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": fakeID, "AWS_SECRET_ACCESS_KEY": fakeSecret, "AWS_SESSION_TOKEN": fakeToken,
			"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_PROFILE": ""} {
			tt.Setenv(k, v)
		}
	}
	return f
}

func (f *fakeS3) place() string {
	return "s3://" + fakeBucket + "/pre/fix?region=" + fakeRegion + "&endpoint=" + url.QueryEscape(f.URL)
}

func (f *fakeS3) fail(fault func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fakeS3) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for k := range f.objects {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<Error><Code>%s</Code><Message>no &amp; no</Message></Error>`, code)
}

func (f *fakeS3) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body)) // a fault may depend on it
	f.mu.Lock()
	fault := f.fault
	f.calls = append(f.calls, r.Method)
	f.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if why := f.unsigned(r, body); why != "" {
		f.t.Errorf("%s %s: %s", r.Method, r.URL, why)
		refuse(w, 403, "SignatureDoesNotMatch")
		return
	}
	key, ok := strings.CutPrefix(r.URL.Path, "/"+fakeBucket+"/")
	if !ok {
		refuse(w, 404, "NoSuchBucket")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch q := r.URL.Query(); {
	case r.Method == http.MethodPut && key != "":
		f.objects[key], f.headers[key] = body, r.Header.Clone()
	case r.Method == http.MethodGet && key != "":
		data, ok := f.objects[key]
		if !ok {
			refuse(w, 404, "NoSuchKey")
			return
		}
		_, _ = w.Write(data)
	case r.Method == http.MethodGet && q.Get("list-type") == "2":
		f.list(w, q)
	case r.Method == http.MethodPost && q.Has("delete"):
		f.deleteAll(w, r, body)
	default:
		f.t.Errorf("unknown call %s %s", r.Method, r.URL)
		refuse(w, 405, "MethodNotAllowed")
	}
}

// unsigned says what is wrong with a request's signature.
func (f *fakeS3) unsigned(r *http.Request, body []byte) string {
	auth := r.Header.Get("Authorization")
	_, list, ok := strings.Cut(auth, "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	switch {
	case !ok || err != nil:
		return "not signed: " + auth
	case time.Since(at).Abs() > 15*time.Minute:
		return "the clock is skewed"
	case r.Header.Get("X-Amz-Content-Sha256") != hash:
		return "the body is not what was signed"
	case r.Header.Get("X-Amz-Security-Token") != fakeToken:
		return "no session token"
	}
	again, _ := http.NewRequest(r.Method, f.URL+r.URL.EscapedPath()+"?"+r.URL.RawQuery, nil)
	again.ContentLength = r.ContentLength
	for _, name := range strings.Split(list, ";") {
		if v := r.Header.Get(name); v != "" && name != "host" && name != "content-length" && name != "x-amz-date" {
			again.Header.Set(name, v)
		}
	}
	err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(r.Context(),
		aws.Credentials{AccessKeyID: fakeID, SecretAccessKey: fakeSecret, SessionToken: fakeToken}, again, hash, "s3", fakeRegion, at)
	if err != nil || again.Header.Get("Authorization") != auth {
		return fmt.Sprintf("signature %q, want %q (%v)", auth, again.Header.Get("Authorization"), err)
	}
	return ""
}

func (f *fakeS3) list(w io.Writer, q url.Values) {
	most, _ := strconv.Atoi(q.Get("max-keys"))
	most = min(most, f.page)
	var names []string // keys, and folders with their slash
	for k := range f.objects {
		rest, ok := strings.CutPrefix(k, q.Get("prefix"))
		if !ok {
			continue
		}
		if dir, _, deep := strings.Cut(rest, "/"); deep && q.Get("delimiter") == "/" {
			k = q.Get("prefix") + dir + "/"
		}
		if !slices.Contains(names, k) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	if token := q.Get("continuation-token"); token != "" {
		after, _ := base64.StdEncoding.DecodeString(token)
		names = slices.DeleteFunc(names, func(n string) bool { return n <= string(after) })
	}
	next := ""
	if len(names) > most {
		names = names[:most]
		next = "<NextContinuationToken>" + base64.StdEncoding.EncodeToString([]byte(names[most-1])) + "</NextContinuationToken>"
	}
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>`+fakeBucket+`</Name><Prefix>`+q.Get("prefix")+`</Prefix>`+next)
	for _, n := range names {
		if strings.HasSuffix(n, "/") {
			_, _ = io.WriteString(w, "<CommonPrefixes><Prefix>"+n+"</Prefix></CommonPrefixes>")
		} else {
			_, _ = io.WriteString(w, "<Contents><Key>"+n+"</Key><Size>1</Size></Contents>")
		}
	}
	_, _ = io.WriteString(w, "</ListBucketResult>")
}

func (f *fakeS3) deleteAll(w http.ResponseWriter, r *http.Request, body []byte) {
	sum := md5.Sum(body)
	if r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:]) {
		refuse(w, 400, "InvalidDigest")
		return
	}
	var in struct {
		XMLName xml.Name `xml:"Delete"`
		Object  []struct{ Key string }
	}
	if err := xml.Unmarshal(body, &in); err != nil || len(in.Object) == 0 || len(in.Object) > 1000 {
		refuse(w, 400, "MalformedXML")
		return
	}
	for _, o := range in.Object {
		delete(f.objects, o.Key)
	}
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>`)
}
