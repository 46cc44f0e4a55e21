package capture

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sluice/shared/awsenv"
)

// bucket keeps captures as objects of S3, by four calls of its REST API (PutObject, GetObject, ListObjectsV2,
// DeleteObjects: docs.aws.amazon.com/AmazonS3/latest/API), signed by the AWS SDK: the SDK's own package of the service is
// larger than all of a function. Credentials come from where the SDK finds them.
type bucket struct {
	place Place
	http  *http.Client
	now   func() time.Time
	sign  *v4.Signer

	mu    sync.Mutex
	creds aws.CredentialsProvider
}

const (
	maxList     = 4 << 20 // bytes of a list
	listAtOnce  = 1000    // what S3 tells, and removes, in one call
	putTries    = 2
	maxFolders  = 100_000
	callTimeout = 10 * time.Second
)

func newS3(p Place, now func() time.Time) *bucket {
	// S3 signs paths as they are sent
	return &bucket{place: p, now: now, sign: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *bucket) close() { b.http.CloseIdleConnections() }

// address of the bucket: its own host, or a path where a name with dots has no certificate and where another service is
// asked.
func (b *bucket) address() string {
	p := &b.place
	switch host := "s3." + p.region + ".amazonaws.com" + partition(p.region); {
	case p.endpoint != "":
		return p.endpoint + "/" + p.bucket
	case strings.Contains(p.bucket, "."):
		return "https://" + host + "/" + p.bucket
	default:
		return "https://" + p.bucket + "." + host
	}
}

func partition(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return ".cn"
	}
	return ""
}

// key is the name in the bucket.
func (b *bucket) key(name string) string {
	if b.place.prefix == "" {
		return name
	}
	return b.place.prefix + "/" + name
}

// under is the prefix of what lies below a folder.
func (b *bucket) under(folder string) string {
	if k := strings.TrimSuffix(b.key(folder), "/"); k != "" {
		return k + "/"
	}
	return ""
}

func (b *bucket) credentials(ctx context.Context) (aws.Credentials, error) {
	b.mu.Lock()
	if b.creds == nil {
		c, err := awsenv.Load(ctx, b.place.region)
		if err != nil {
			b.mu.Unlock()
			return aws.Credentials{}, errors.New("the AWS configuration is not readable")
		}
		b.creds = c.Credentials
	}
	provider := b.creds
	b.mu.Unlock()
	c, err := provider.Retrieve(ctx)
	if err != nil {
		return c, errors.New("there are no AWS credentials: set them in the environment, or give the machine a role")
	}
	return c, nil
}

// answer is what S3 said.
type answer struct {
	status int
	body   []byte
}

// call makes one call. Keys hold nothing that an address must escape.
func (b *bucket) call(ctx context.Context, method, path string, q url.Values, h http.Header, body []byte, most int64) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	target := b.address() + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address of the bucket is not usable")
	}
	for k, v := range h {
		r.Header[k] = v
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	creds, err := b.credentials(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.sign.SignHTTP(ctx, creds, r, hash, "s3", b.place.region, b.now()); err != nil {
		return nil, errors.New("the call could not be signed")
	}
	resp, err := b.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the bucket was not reached: %w", unwrapURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(data)) > most {
		err = errors.New("its answer is too large")
	}
	return &answer{resp.StatusCode, data}, err
}

// unwrapURL leaves the address out, as names of requests are in it.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refused is the error of an answer, with S3's code and what must be allowed.
func (a *answer) refused(action string) error {
	code := element(a.body, "Code")
	if strings.ContainsFunc(code, func(r rune) bool { return r > 127 || !alnum(byte(r)) }) || len(code) > 60 {
		code = ""
	}
	return fmt.Errorf("S3 refused with status %d %s; the gateway needs %s on the bucket", a.status, code, action)
}

func (b *bucket) put(ctx context.Context, key string, data []byte) error {
	h := http.Header{"Content-Type": {"application/octet-stream"}}
	if b.place.sse != "" {
		h["X-Amz-Server-Side-Encryption"] = []string{b.place.sse}
	}
	if b.place.kmsKey != "" {
		h["X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"] = []string{b.place.kmsKey}
	}
	for try := 1; ; try++ {
		a, err := b.call(ctx, http.MethodPut, "/"+b.key(key), nil, h, data, maxList)
		switch {
		case err == nil && a.status == http.StatusOK:
			return nil
		case try < putTries && ctx.Err() == nil && (err != nil || a.status >= 500):
			continue
		case err != nil:
			return err
		}
		return a.refused("s3:PutObject")
	}
}

func (b *bucket) get(ctx context.Context, key string) ([]byte, error) {
	a, err := b.call(ctx, http.MethodGet, "/"+b.key(key), nil, nil, nil, maxObject)
	switch {
	case err != nil:
		return nil, err
	case a.status == http.StatusNotFound && element(a.body, "Code") != "NoSuchBucket":
		return nil, ErrNone
	case a.status != http.StatusOK:
		return nil, a.refused("s3:GetObject") // without s3:ListBucket a missing object is refused, too
	}
	return a.body, nil
}

func (b *bucket) list(ctx context.Context, prefix, delimiter, token string, most int) ([]byte, error) {
	q := url.Values{"list-type": {"2"}, "prefix": {prefix}, "max-keys": {fmt.Sprint(min(most, listAtOnce))}}
	if delimiter != "" {
		q.Set("delimiter", delimiter)
	}
	if token != "" {
		q.Set("continuation-token", token)
	}
	a, err := b.call(ctx, http.MethodGet, "/", q, nil, nil, maxList)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.refused("s3:ListBucket")
	}
	return a.body, nil
}

func (b *bucket) folders(ctx context.Context, under string) ([]string, error) {
	prefix := b.under(under)
	var out []string
	for token := ""; len(out) < maxFolders; {
		body, err := b.list(ctx, prefix, "/", token, listAtOnce)
		if err != nil {
			return nil, err
		}
		for _, common := range elements(body, "CommonPrefixes") {
			if name, ok := strings.CutPrefix(element([]byte(common), "Prefix"), prefix); ok {
				out = append(out, strings.TrimSuffix(name, "/"))
			}
		}
		if token = element(body, "NextContinuationToken"); token == "" {
			break
		}
	}
	return out, nil
}

func (b *bucket) remove(ctx context.Context, under string, most int) (removed int, err error) {
	prefix := b.under(under)
	for removed < most {
		body, err := b.list(ctx, prefix, "", "", most-removed)
		if err != nil {
			return removed, err
		}
		keys := elements(body, "Key")
		if len(keys) == 0 {
			return removed, nil
		}
		if err := b.removeKeys(ctx, prefix, keys); err != nil {
			return removed, err
		}
		removed += len(keys)
	}
	return removed, nil
}

var errNotOurs = errors.New("the bucket holds something else below the prefix; it is left alone, and so is what lies beside it")

func (b *bucket) removeKeys(ctx context.Context, prefix string, keys []string) error {
	var x strings.Builder
	x.WriteString("<Delete><Quiet>true</Quiet>")
	for _, k := range keys {
		name, ok := strings.CutPrefix(k, prefix)
		if !ok || strings.ContainsFunc(name, func(r rune) bool { return r > 127 || !plainByte(byte(r)) && r != '~' && r != '/' }) {
			return errNotOurs
		}
		x.WriteString("<Object><Key>" + k + "</Key></Object>")
	}
	x.WriteString("</Delete>")
	body := []byte(x.String())
	sum := md5.Sum(body) // the call demands one
	h := http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}, "Content-Type": {"application/xml"}}
	a, err := b.call(ctx, http.MethodPost, "/", url.Values{"delete": {""}}, h, body, maxList)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK || len(elements(a.body, "Error")) > 0 {
		return a.refused("s3:DeleteObject")
	}
	return nil
}

var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&#39;", "'", "&#34;", `"`, "&amp;", "&")

// element is the text of the first element of that name.
func element(body []byte, name string) string {
	if all := elements(body, name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// elements are the contents of the elements of that name, which S3 writes without attributes.
func elements(body []byte, name string) (out []string) {
	for text := string(body); ; {
		_, rest, ok := strings.Cut(text, "<"+name+">")
		if !ok {
			return out
		}
		inner, rest, ok := strings.Cut(rest, "</"+name+">")
		if !ok {
			return out
		}
		out = append(out, entities.Replace(inner))
		text = rest
	}
}
