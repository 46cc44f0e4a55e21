package capture

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Place is where captures go: a folder or a bucket.
type Place struct {
	dir string

	bucket, prefix, region string
	endpoint               string // of another service than Amazon's; empty: Amazon's
	sse, kmsKey            string // server-side encryption that is asked for
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixName = regexp.MustCompile(`^(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?$`)
	regionName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

// ParsePlace reads CAPTURE_URL: file:DIR, or s3://BUCKET/PREFIX?region=R with, if need be, &endpoint=URL (path-style),
// &sse=AES256 or &sse=aws:kms, &kms_key=ID. The error says what is wrong with it.
func ParsePlace(s string) (Place, error) {
	if dir, ok := strings.CutPrefix(s, "file:"); ok {
		if dir = strings.TrimPrefix(dir, "//"); dir == "" {
			return Place{}, errors.New("file: needs a folder, such as file:data/captures")
		}
		return Place{dir: dir}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" || u.User != nil || u.Fragment != "" {
		return Place{}, errors.New("is neither file:DIR nor s3://BUCKET/PREFIX?region=REGION")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Place{}, errors.New("has a query that cannot be read")
	}
	for name := range q {
		switch name {
		case "region", "endpoint", "sse", "kms_key":
		default:
			return Place{}, fmt.Errorf("has the unknown parameter %q; known are region, endpoint, sse and kms_key", name)
		}
	}
	p := Place{bucket: u.Host, prefix: strings.Trim(u.Path, "/"), region: q.Get("region"), endpoint: strings.TrimRight(q.Get("endpoint"), "/"),
		sse: q.Get("sse"), kmsKey: q.Get("kms_key")}
	return p, p.check()
}

func (p *Place) check() error {
	switch {
	case !bucketName.MatchString(p.bucket):
		return errors.New("names no bucket: lower-case letters, digits, dots and hyphens, 3 to 63 of them")
	case len(p.prefix) > 200 || !prefixName.MatchString(p.prefix):
		return errors.New("has a prefix of more than letters, digits, _ . - and /")
	case !regionName.MatchString(p.region):
		return errors.New("needs the bucket's region, such as ?region=eu-central-1")
	case p.sse != "" && p.sse != "AES256" && p.sse != "aws:kms":
		return errors.New("has an sse that is neither AES256 nor aws:kms")
	case p.kmsKey != "" && p.sse != "aws:kms", len(p.kmsKey) > 2048, strings.ContainsFunc(p.kmsKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("has a kms_key that does not go with sse=aws:kms")
	case p.endpoint == "":
		return nil
	}
	e, err := url.Parse(p.endpoint)
	if err != nil || e.Hostname() == "" || e.Scheme != "https" && e.Scheme != "http" || e.User != nil || e.RawQuery != "" || e.Fragment != "" || e.Path != "" {
		return errors.New("has an endpoint that is no URL such as https://minio.example:9000")
	}
	return nil
}

// String names the place for people.
func (p Place) String() string {
	if p.dir != "" {
		return "files in " + p.dir
	}
	s := "s3://" + p.bucket + "/" + p.prefix + " in " + p.region
	if p.endpoint != "" {
		s += " at " + p.endpoint
	}
	return s
}

// OnDisk reports whether it is a folder of this machine.
func (p Place) OnDisk() bool { return p.dir != "" }

const maxName = 200 // file systems take 255

func plainByte(b byte) bool {
	return alnum(b) || b == '_' || b == '-'
}

// safeName makes an id the name of one file or folder, whatever it holds: other bytes than letters, digits, _ and - become
// ~XX. So there are no dots, no slashes, and nothing that URLs would escape.
func safeName(id string) (string, error) {
	var b strings.Builder
	for i := range len(id) {
		if plainByte(id[i]) {
			b.WriteByte(id[i])
		} else {
			fmt.Fprintf(&b, "~%02X", id[i])
		}
	}
	if b.Len() == 0 || b.Len() > maxName {
		return "", errors.New("an id is empty or too long for the name of a file")
	}
	return b.String(), nil
}

// nameOf reverses safeName; false for what it never makes.
func nameOf(name string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case plainByte(name[i]):
			b.WriteByte(name[i])
		case name[i] == '~' && i+2 < len(name):
			v, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			return "", false
		}
	}
	back, err := safeName(b.String())
	return b.String(), err == nil && back == name
}

// objectKey is where a capture lies.
func objectKey(account, day, request string) (string, error) {
	a, err := safeName(account)
	if err != nil {
		return "", err
	}
	r, err := safeName(request)
	if err != nil {
		return "", err
	}
	return a + "/" + day + "/" + r, nil
}

// timeOf is the time that a request's id holds (web.NewID): so its day need not be asked for.
func timeOf(id string) (time.Time, bool) {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	if len(id) != 30 || id[:4] != "req_" {
		return time.Time{}, false
	}
	var ms int64
	for _, c := range []byte(id[4:14]) {
		n := strings.IndexByte(digits, c)
		if n < 0 {
			return time.Time{}, false
		}
		ms = ms<<5 | int64(n)
	}
	t := time.UnixMilli(ms).UTC()
	return t, t.Year() < 10000
}

func dayOf(id string, began time.Time) string {
	if t, ok := timeOf(id); ok {
		return t.Format(time.DateOnly)
	}
	return began.UTC().Format(time.DateOnly)
}
