package config_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/shared/config"
	"sluice/shared/seal"
)

// TestEachRule: the bounds of every variable, at the edge and beyond it.
func TestEachRule(t *testing.T) {
	key := seal.NewKey().Reveal()
	for _, c := range []struct {
		name, value string
		ok          bool
		reason      string
	}{
		{"PORT", "0", true, "a free port"}, {"PORT", "65535", true, "the last"}, {"PORT", "65536", false, "none"}, {"PORT", "-1", false, "none"}, {"PORT", "8000 ", false, "a blank"},
		{"PROXY_RETRY_MAX", "1", true, "no repeat"}, {"PROXY_RETRY_MAX", "10", true, "the most"}, {"PROXY_RETRY_MAX", "0", false, "no try at all"}, {"PROXY_RETRY_MAX", "11", false, "too many"},
		{"PROXY_FAIL_THRESHOLD", "1", true, "the least"}, {"PROXY_FAIL_THRESHOLD", "0", false, "always failed"},
		{"PROXY_HEALTH_INTERVAL_SEC", "3600", true, "the most"}, {"PROXY_HEALTH_INTERVAL_SEC", "30s", false, "seconds without a unit, as the guide has it"},
		{"HEALTH_ALL_INTERVAL_MIN", "0", true, "off"}, {"HEALTH_ALL_INTERVAL_MIN", "1440", true, "a day"}, {"HEALTH_ALL_INTERVAL_MIN", "1441", false, "more"}, {"HEALTH_ALL_INTERVAL_MIN", "10m", false, "minutes without a unit"},
		{"AFFINITY_MAX_FIRST_BYTE", "0", true, "off"}, {"AFFINITY_MAX_FIRST_BYTE", "1500ms", true, ""}, {"AFFINITY_MAX_FIRST_BYTE", "-1s", false, "negative"}, {"AFFINITY_MAX_FIRST_BYTE", "15", false, "no unit"},
		{"AFFINITY_MAX_ERROR_RATE", "0", true, "off"}, {"AFFINITY_MAX_ERROR_RATE", "1", true, "the most"}, {"AFFINITY_MAX_ERROR_RATE", "1.01", false, "more than all"},
		{"AFFINITY_MAX_ERROR_RATE", "-0.1", false, "negative"}, {"AFFINITY_MAX_ERROR_RATE", "NaN", false, "a number that is none"}, {"AFFINITY_MAX_ERROR_RATE", "50%", false, "a share, no percentage"},
		{"WARMUP_ENABLED", "1", true, "as the older gateway wrote it"}, {"WARMUP_ENABLED", "on", false, "neither"},
		{"WARMUP_ATTEMPTS", "10", true, "the most"}, {"WARMUP_ATTEMPTS", "11", false, "more"}, {"WARMUP_ATTEMPTS", "0", false, "none"},
		{"WARMUP_REQUIRED_SUCCESS", "2", true, "all of two"}, {"WARMUP_REQUIRED_SUCCESS", "3", false, "more than there are attempts"}, {"WARMUP_REQUIRED_SUCCESS", "0", false, "none"},
		{"WARMUP_TIMEOUT_MS", "60000", true, "the most"}, {"WARMUP_TIMEOUT_MS", "60001", false, "more"}, {"WARMUP_TIMEOUT_MS", "99", false, "too little"}, {"WARMUP_TIMEOUT_MS", "17s", false, "a unit"},
		{"WARMUP_CONCURRENCY", "8", true, "the most"}, {"WARMUP_CONCURRENCY", "9", false, "more"}, {"WARMUP_CONCURRENCY", "0", false, "none"},
		{"MAX_BODY_BYTES", "1024", true, "the least"}, {"MAX_BODY_BYTES", "1023", false, "too little"}, {"MAX_BODY_BYTES", "32MB", false, "a unit"},
		{"STREAM_SILENCE_TIMEOUT", "1s", true, ""}, {"STREAM_SILENCE_TIMEOUT", "0s", false, "none"}, {"STREAM_SILENCE_TIMEOUT", "300", false, "no unit"},
		{"ANSWER_TIMEOUT", "-1m", false, "negative"}, {"DRAIN_TIMEOUT", "0", false, "none"}, {"DRAIN_TIMEOUT", "25s", true, ""},
		{"ACCESS_LOG", "0", true, "false in digits"}, {"ACCESS_LOG", "off", false, "neither"},
		{"UPSTREAM_ALLOW_PRIVATE", "true", true, ""}, {"UPSTREAM_ALLOW_PRIVATE", "10.0.0.0/8, fd00::/8", true, "a list"}, {"UPSTREAM_ALLOW_PRIVATE", "10.0.0.0/8,yes", false, "one is wrong"},
		{"TRUSTED_PROXIES", "10.0.0.1", true, "one address"}, {"TRUSTED_PROXIES", "10.0.0.0/8,,", true, "empty parts"}, {"TRUSTED_PROXIES", "10.0.0.0/33", false, "no CIDR"},
		{"LIMITS_TIME_ZONE", "Asia/Shanghai", true, ""}, {"LIMITS_TIME_ZONE", "../etc/passwd", false, "no zone"},
		{"LOG_LEVEL", "warn", true, ""}, {"LOG_LEVEL", "WARN", false, "capitals"}, {"LOG_FORMAT", "json", true, ""}, {"LOG_FORMAT", "xml", false, ""},
		{"ADMIN_API_KEY", "x", true, "short, with a warning elsewhere"}, {"ADMIN_API_KEY", "a b", false, "a blank cannot travel"}, {"ADMIN_API_KEY", "a\nb", false, "nor a line break"},
		{"ADMIN_API_KEY", strings.Repeat("k", 512), true, "the longest"}, {"ADMIN_API_KEY", strings.Repeat("k", 513), false, "too long"},
		{"ADMIN_API_KEY", "ключ", false, "no ASCII"}, {"ADMIN_API_KEY", "default-proxy-key", false, "the published client key"},
		{"DEFAULT_PROXY_API_KEY", key, true, "one of ours"}, {"DEFAULT_PROXY_API_KEY", key[:40], false, "one of ours, cut"}, {"DEFAULT_PROXY_API_KEY", "admin", false, "the published admin key"},
		{"DEFAULT_ACCOUNT_NAME", "团队", true, "any script"}, {"DEFAULT_ACCOUNT_NAME", "a\r\nb", false, "it would forge a line of the start"}, {"UPSTREAM_NAME", strings.Repeat("n", 101), false, "too long"},
		{"UPSTREAM_NAME", "a\x1b[2Jb", false, "the terminal's escape"},
		{"PUBLIC_URL", "https://gate.example/llm", true, ""}, {"PUBLIC_URL", "https://gate.example/?x", false, "a query"}, {"PUBLIC_URL", "gate.example", false, "no scheme"},
		{"UPSTREAM_BASE_URL", "http://[::1]:8080", true, ""}, {"UPSTREAM_BASE_URL", "https://h:0", false, "no port"}, {"UPSTREAM_BASE_URL", "https://h:65536", false, "no port"},
		{"UPSTREAM_BASE_URL", "https://u@h", false, "a user name"}, {"UPSTREAM_BASE_URL", "javascript:alert(1)", false, "a script"}, {"UPSTREAM_BASE_URL", "https://h/#f", false, "a fragment"},
		{"HTTPS_PROXY", "http://user:pass@proxy:3128", true, ""}, {"HTTPS_PROXY", "proxy:3128", false, "no URL"},
		{"SLUICE_MASTER_KEY", seal.NewLocalKey().Reveal(), true, ""}, {"SLUICE_MASTER_KEY", "password", false, "no key"},
	} {
		_, err := config.Parse(map[string]string{c.name: c.value})
		if (err == nil) != c.ok {
			t.Errorf("%s=%.40q (%s): %v", c.name, c.value, c.reason, err)
		}
		if err == nil {
			continue
		}
		if !strings.HasPrefix(err.Error(), c.name+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%.40q: not one line that names it: %v", c.name, c.value, err)
		}
	}
}

func TestParsedValues(t *testing.T) {
	c, err := config.Parse(map[string]string{"UPSTREAM_ALLOW_PRIVATE": "10.1.2.3/8,127.0.0.1", "TRUSTED_PROXIES": "::ffff:10.0.0.1", "CORS_ALLOW_ORIGINS": "https://a.example,https://b.example",
		"LIMITS_TIME_ZONE": "Asia/Shanghai", "DRAIN_TIMEOUT": "1m30s", "ACCESS_LOG": "false"})
	if err != nil {
		t.Fatal(err)
	}
	if c.AllowPrivate.All || len(c.AllowPrivate.CIDRs) != 2 || c.AllowPrivate.CIDRs[0] != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("UPSTREAM_ALLOW_PRIVATE: %+v", c.AllowPrivate)
	}
	if len(c.TrustedProxies) != 1 || c.TrustedProxies[0] != netip.MustParsePrefix("10.0.0.1/32") {
		t.Errorf("TRUSTED_PROXIES: %v", c.TrustedProxies)
	}
	if len(c.CORSOrigins) != 2 || c.DrainTimeout != 90*time.Second || c.AccessLog || c.LimitsZone.OrUTC().String() != "Asia/Shanghai" {
		t.Errorf("%+v", c)
	}
	if z := (config.Zone{}).OrUTC(); z != time.UTC {
		t.Errorf("no zone is %v", z)
	}
}

// TestPrintingShowsNoSecret: a configuration that slips into a log line.
func TestPrintingShowsNoSecret(t *testing.T) {
	c, err := config.Parse(map[string]string{"ADMIN_API_KEY": "hunter2-admin", "DEFAULT_PROXY_API_KEY": "hunter2-proxy", "UPSTREAM_API_KEY": "hunter2-up",
		"STORE_URL": "redis://u:hunter2@h", "HTTPS_PROXY": "http://u:hunter2@proxy:3128", "PROXY_MYSQL_DSN": "u:hunter2@tcp(h)/d", "SLUICE_MASTER_KEY": seal.NewLocalKey().Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if s := fmt.Sprintf(verb, c); strings.Contains(s, "hunter2") {
			t.Errorf("%s shows a secret: %s", verb, s)
		}
	}
	if strings.Contains(strings.Join(c.Warnings, ""), "hunter2") {
		t.Errorf("a warning shows a secret: %q", c.Warnings)
	}
	u, name := c.Store()
	if s := fmt.Sprint(u, name); strings.Contains(s, "hunter2") {
		t.Errorf("the store's URL prints as %s", s)
	}
}

// TestOneProblemPerVariable: what cannot be parsed is not also out of bounds.
func TestOneProblemPerVariable(t *testing.T) {
	_, err := config.Parse(map[string]string{"DRAIN_TIMEOUT": "soon", "PROXY_RETRY_MAX": "x", "MAX_BODY_BYTES": "x", "LOG_LEVEL": "x", "PORT": "x"})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want five lines:\n%v", err)
	}
}
