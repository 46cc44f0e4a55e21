package redis

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	dialTimeout = 3 * time.Second
	ioTimeout   = 3 * time.Second
	maxPool     = 10_000
)

// target is what a URL says.
type target struct {
	addrs                []string
	user, password       string
	db                   int
	tls, cluster         bool
	master               string // Sentinel's name of the servers; "": no Sentinel
	sentUser, sentSecret string
	prefix               string
	pool                 int
}

var (
	errForm    = errors.New("the URL is not redis://[user:password@]host[:port][/db]; special characters of user and password are written as %XX")
	errParams  = errors.New("the URL has a parameter that is unknown or has no such value; there are cluster=true, master, prefix, pool_size, sentinel_user and sentinel_password")
	errPrefix  = errors.New("the URL's prefix may not contain { or }")
	errDB      = errors.New("the URL's database is not a number (a Cluster has only 0)")
	errCluster = errors.New("the URL asks for a Cluster and for Sentinel: leave out cluster or master")
	errMaster  = errors.New("the URL names no master: redis+sentinel://host1,host2/MASTER")
)

// parse reads a URL. It does not use url.Parse, which takes no list of hosts, and whose errors repeat the password.
func parse(text string) (*target, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	kind, sentinel := strings.CutSuffix(scheme, "+sentinel")
	if !ok || (kind != "redis" && kind != "rediss") {
		return nil, errForm
	}
	rest, query, _ := strings.Cut(rest, "?")
	t := &target{tls: kind == "rediss", prefix: "sluice:"}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if err := t.credentials(rest[:at]); err != nil {
			return nil, err
		}
		rest = rest[at+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if err := t.parameters(query); err != nil {
		return nil, err
	}
	if sentinel && t.master == "" {
		t.master, path, _ = strings.Cut(path, "/")
		if t.master == "" {
			return nil, errMaster
		}
	}
	if err := t.hosts(hosts); err != nil {
		return nil, err
	}
	if t.master == "" && len(t.addrs) > 1 {
		t.cluster = true
	}
	if t.cluster && t.master != "" {
		return nil, errCluster
	}
	if path = strings.TrimSuffix(path, "/"); path != "" {
		n, err := strconv.Atoi(path)
		if err != nil || n < 0 || (t.cluster && n != 0) {
			return nil, errDB
		}
		t.db = n
	}
	return t, nil
}

func (t *target) credentials(text string) error {
	user, password, both := strings.Cut(text, ":")
	var err, err2 error
	t.user, err = url.PathUnescape(user)
	t.password, err2 = url.PathUnescape(password)
	if err != nil || err2 != nil || strings.Contains(user, "/") || (!both && user != "") {
		return errForm
	}
	return nil
}

func (t *target) parameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errParams
	}
	for name, vs := range values {
		v := vs[len(vs)-1]
		switch name {
		case "cluster":
			if t.cluster, err = strconv.ParseBool(v); err != nil {
				return errParams
			}
		case "master":
			t.master = v
		case "sentinel_user":
			t.sentUser = v
		case "sentinel_password":
			t.sentSecret = v
		case "prefix":
			if t.prefix = v; strings.ContainsAny(v, "{}") {
				return errPrefix
			}
		case "pool_size":
			if t.pool, err = strconv.Atoi(v); err != nil || t.pool < 1 || t.pool > maxPool {
				return errParams
			}
		default:
			return errParams // does not repeat it: it may be the end of a password with a question mark
		}
	}
	return nil
}

func (t *target) hosts(text string) error {
	port := "6379"
	if t.master != "" {
		port = "26379"
	}
	for h := range strings.SplitSeq(text, ",") {
		host, p, err := net.SplitHostPort(h)
		if err != nil { // without a port
			host, p = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]"), port
			if strings.Contains(host, ":") && !strings.HasPrefix(h, "[") {
				return errForm
			}
		}
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " \t\r\n@") {
			return errForm
		}
		t.addrs = append(t.addrs, net.JoinHostPort(host, p))
	}
	return nil
}

func (t *target) where() string {
	out := "redis at " + strings.Join(t.addrs, ", ")
	switch {
	case t.master != "":
		out = "redis " + t.master + " by sentinel at " + strings.Join(t.addrs, ", ")
	case t.cluster:
		out = "redis cluster at " + strings.Join(t.addrs, ", ")
	}
	return out + " (keys " + t.prefix + "*)"
}

// client makes the driver's client. It never repeats a call by itself: run knows which may be repeated.
func (t *target) client() goredis.UniversalClient {
	var secure *tls.Config
	if t.tls {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	plain := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled} // a feature of one vendor's cloud
	switch {
	case t.cluster:
		return goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs: t.addrs, Username: t.user, Password: t.password, TLSConfig: secure, PoolSize: t.pool, PipelinePoolSize: -1,
			Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, MaintNotificationsConfig: plain,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		})
	case t.master != "":
		return goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: t.master, SentinelAddrs: t.addrs, SentinelUsername: t.sentUser, SentinelPassword: t.sentSecret,
			Username: t.user, Password: t.password, DB: t.db, TLSConfig: secure, PoolSize: t.pool, PipelinePoolSize: -1,
			Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		})
	}
	return goredis.NewClient(&goredis.Options{
		Addr: t.addrs[0], Username: t.user, Password: t.password, DB: t.db, TLSConfig: secure, PoolSize: t.pool, PipelinePoolSize: -1,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, MaintNotificationsConfig: plain,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
	})
}
