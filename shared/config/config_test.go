package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/config"
)

func TestDefaults(t *testing.T) {
	c, err := config.Parse(map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Address(); got != ":8000" {
		t.Errorf("address %q, want :8000", got)
	}
	if u, name := c.Store(); u.Reveal() != "sqlite:data/sluice.db" || name != "STORE_URL" {
		t.Errorf("store %q by %s", u.Reveal(), name)
	}
	if c.RetryMax != 3 || c.FailThreshold != 3 || c.HealthInterval != 30 || c.DrainTimeout != 25*time.Second ||
		c.StreamSilence != 300*time.Second || c.AnswerTimeout != 30*time.Minute || c.MaxBodyBytes != 32<<20 {
		t.Errorf("defaults differ from DESIGN: %+v", c)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings without a reason: %q", c.Warnings)
	}
}

func TestPrecedence(t *testing.T) {
	for _, c := range []struct {
		reason       string
		env          map[string]string
		addr, store  string
		warningsLike []string
	}{
		{"Guide A: LISTEN_ADDR beats PORT", map[string]string{"LISTEN_ADDR": ":9000", "PORT": "8080"}, ":9000", "sqlite:data/sluice.db", nil},
		{"Guide B: PORT alone", map[string]string{"PORT": "8080"}, ":8080", "sqlite:data/sluice.db", nil},
		{"Guide B: custom file", map[string]string{"DATABASE_PATH": "/x/db.sqlite"}, ":8000", "sqlite:/x/db.sqlite", nil},
		{"Guide A: DSN beats the file", map[string]string{"DATABASE_PATH": "/x", "PROXY_MYSQL_DSN": "u:p@tcp(h:1)/d"}, ":8000", "mysql://u:p@tcp(h:1)/d", []string{"DATABASE_PATH is ignored because PROXY_MYSQL_DSN is set"}},
		{"STORE_URL beats both", map[string]string{"DATABASE_PATH": "/x", "PROXY_MYSQL_DSN": "d", "STORE_URL": "memory:"}, ":8000", "memory:", []string{"PROXY_MYSQL_DSN is ignored", "DATABASE_PATH is ignored"}},
		{"compose passes empty values", map[string]string{"DATABASE_PATH": "", "STORE_URL": "", "PORT": ""}, ":8000", "sqlite:data/sluice.db", nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := config.Parse(c.env)
			if err != nil {
				t.Fatal(err)
			}
			if a := got.Address(); a != c.addr {
				t.Errorf("address %q, want %q", a, c.addr)
			}
			if u, _ := got.Store(); u.Reveal() != c.store {
				t.Errorf("store %q, want %q", u.Reveal(), c.store)
			}
			if len(got.Warnings) != len(c.warningsLike) {
				t.Fatalf("warnings %q, want %d", got.Warnings, len(c.warningsLike))
			}
			for _, w := range c.warningsLike {
				if !slices.ContainsFunc(got.Warnings, func(s string) bool { return strings.Contains(s, w) }) {
					t.Errorf("no warning like %q in %q", w, got.Warnings)
				}
			}
		})
	}
}

func TestAllProblemsAtOnceNamingTheirVariables(t *testing.T) {
	_, err := config.Parse(map[string]string{
		"PORT": "eighty", "PROXY_RETRY_MAX": "-1", "STREAM_SILENCE_TIMEOUT": "soon", "UPSTREAM_BASE_URL": "api.anthropic.com",
		"TRUSTED_PROXIES": "10.0.0.0/99", "SLUICE_MASTER_KEY": "hunter2-hunter2", "LOG_LEVEL": "loud", "ADMIN_API_KEY": "two words",
		"UPSTREAM_ALLOW_PRIVATE": "maybe", "ALLOW_DEFAULT_CREDENTIALS": "perhaps", "LIMITS_TIME_ZONE": "Mars/Base",
		"DEFAULT_PROXY_API_KEY": "sluice_notakey",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"PORT: \"eighty\" is no whole number", "PROXY_RETRY_MAX: ", "STREAM_SILENCE_TIMEOUT: \"soon\" is no duration",
		"UPSTREAM_BASE_URL: ", "TRUSTED_PROXIES: ", "SLUICE_MASTER_KEY: ", "LOG_LEVEL: ", "ADMIN_API_KEY: ", "UPSTREAM_ALLOW_PRIVATE: ",
		"ALLOW_DEFAULT_CREDENTIALS: ", "LIMITS_TIME_ZONE: ", "DEFAULT_PROXY_API_KEY: "} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not say %q:\n%v", name, err)
		}
	}
	for _, secret := range []string{"hunter2", "two words", "notakey"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the secret %q", secret)
		}
	}
}

func TestUnknownNamesAreWarnedAbout(t *testing.T) {
	c, err := config.Parse(map[string]string{
		"SLUICE_MASTERKEY":         "x",                     // a slip of the name
		"SLUICE_PORT":              "tcp://10.0.0.1:8000",   // injected by Kubernetes for a service called sluice
		"SLUICE_SERVICE_HOST":      "10.0.0.1",              // likewise
		"SLUICE_PORT_8000_TCP":     "tcp://10.0.0.1:8000",   // likewise
		"SLUICE_REDIS_SERVICE_URL": "x",                     // a service called sluice-redis
		"SLUICE_URL":               "https://gw.example",    // for commands
		"SLUICE_ADMIN_KEY":         "x",                     // likewise
		"HOME":                     "/root", "PATH": "/bin", // not ours
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "did you mean SLUICE_MASTER_KEY?") {
		t.Errorf("warnings %q, want one with a suggestion", c.Warnings)
	}
}

func TestPublishedAdminDefaultsSetByHandStayDefaults(t *testing.T) {
	for _, k := range []string{"admin", "amq-admin-default-key-change-immediately"} {
		c, err := config.Parse(map[string]string{"ADMIN_API_KEY": k})
		if err != nil {
			t.Fatal(err)
		}
		if !c.AdminKey().IsZero() {
			t.Errorf("ADMIN_API_KEY=%s counts as the operator's own key", k)
		}
	}
}
