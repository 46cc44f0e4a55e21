package deploy

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// ownKeys are what docker-compose.yml demands.
var ownKeys = []string{"ADMIN_API_KEY=an-admin-key-of-some-length", "DEFAULT_PROXY_API_KEY=a-proxy-key-of-some-length"}

// compose reads a compose file as `docker compose` does.
func compose(t testing.TB, file string, profiles []string, env ...string) (*types.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{root(t, file)}, cli.WithEnv(env), cli.WithProfiles(profiles), cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(context.Background())
}

// TestComposeDemandsKeys: no key of the operator, no start; the message says what to do.
func TestComposeDemandsKeys(t *testing.T) {
	for i, missing := range []string{"ADMIN_API_KEY", "DEFAULT_PROXY_API_KEY"} {
		_, err := compose(t, "docker-compose.yml", nil, ownKeys[1-i])
		if err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "set it in .env") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestComposeProfiles(t *testing.T) {
	for profile, want := range map[string][]string{"": {"sluice"}, "embedded": {"sluice"}, "mysql": {"mysql", "sluice"}, "redis": {"redis", "sluice"},
		"dynamodb": {"dynamodb", "dynamodb-init", "sluice"}} {
		p, err := compose(t, "docker-compose.yml", []string{profile}, ownKeys...)
		if err != nil {
			t.Errorf("%s: %v", profile, err)
			continue
		}
		if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, want) {
			t.Errorf("profile %q starts %q, want %q", profile, got, want)
		}
		for name, s := range p.Services {
			if name != "sluice" && len(s.Ports) > 0 {
				t.Errorf("%s of profile %s is open to the network", name, profile)
			}
			if strings.HasSuffix(s.Image, ":latest") && s.Build == nil {
				t.Errorf("%s takes whatever %s is that day", name, s.Image)
			}
		}
	}
}

// guideVariables are those of the two guides that a container can have.
var guideVariables = []string{"PORT", "ADMIN_API_KEY", "DEFAULT_ACCOUNT_NAME", "DEFAULT_PROXY_API_KEY", "UPSTREAM_BASE_URL", "UPSTREAM_API_KEY", "UPSTREAM_NAME",
	"PROXY_MYSQL_DSN", "PROXY_RETRY_MAX", "PROXY_FAIL_THRESHOLD", "PROXY_HEALTH_INTERVAL_SEC", "DATABASE_PATH", "AMAZONQ_REFRESH_TOKEN", "AMAZONQ_CLIENT_ID",
	"AMAZONQ_CLIENT_SECRET", "AMAZONQ_PROFILE_ARN"}

func TestComposeGateway(t *testing.T) {
	p, err := compose(t, "docker-compose.yml", nil, append([]string{"PORT=9123"}, ownKeys...)...)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Services["sluice"]
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) != 35*time.Second {
		t.Errorf("stop_grace_period is %v", s.StopGracePeriod)
	}
	if len(s.Volumes) != 1 || s.Volumes[0].Source != root(t, "data") || s.Volumes[0].Target != "/app/data" {
		t.Errorf("volumes: %+v", s.Volumes)
	}
	if len(s.Ports) != 1 || s.Ports[0].Published != "9123" || s.Ports[0].Target != 9123 {
		t.Errorf("ports: %+v", s.Ports)
	}
	known := append(settings(t), "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
	for name := range s.Environment {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no setting", name)
		}
	}
	for _, name := range guideVariables {
		if _, has := s.Environment[name]; !has {
			t.Errorf("the guides' variable %s does not reach the gateway", name)
		}
	}
	if _, has := s.Environment["LISTEN_ADDR"]; has {
		t.Error("LISTEN_ADDR would beat PORT")
	}
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) != 4 {
		t.Errorf("the container may more than it must: %v %v %v", s.ReadOnly, s.CapDrop, s.CapAdd)
	}
}

// TestComposeVariables: each ${NAME} of the file is one that its comments or documents speak of, and reaches a service under
// the same name.
func TestComposeVariables(t *testing.T) {
	doc := read(t, "docs/deploy-container.md") + read(t, "README.md")
	text := read(t, "docker-compose.yml")
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)(:[-?][^}]*)?\}`).FindAllStringSubmatch(text, -1) {
		if m[2] == "" {
			t.Errorf("${%s} warns where it is not set", m[1])
		}
		if !strings.Contains(doc, m[1]) {
			t.Errorf("no document speaks of %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^      ([A-Z_]+): \$\{([A-Z_]+)`).FindAllStringSubmatch(text, -1) {
		if m[1] != m[2] {
			t.Errorf("%s is filled from %s", m[1], m[2])
		}
	}
}

// guideA is the compose file of the older gateway's guide. It builds our Dockerfile under its own names.
const guideA = `
services:
  proxy:
    build: .
    ports:
      - "8000:8000"
    environment:
      - LISTEN_ADDR=:8000
      - ADMIN_API_KEY=your-admin-key
      - DEFAULT_ACCOUNT_NAME=default
      - DEFAULT_PROXY_API_KEY=default-proxy-key
      - UPSTREAM_BASE_URL=https://api.anthropic.com
      - UPSTREAM_API_KEY=sk-ant-your-key
      - PROXY_MYSQL_DSN=qcc:example@tcp(mysql:3306)/qcc_proxy?parseTime=true
      - PROXY_RETRY_MAX=3
      - PROXY_FAIL_THRESHOLD=3
      - PROXY_HEALTH_INTERVAL_SEC=30
    depends_on:
      - mysql

  mysql:
    image: mysql:8.0
    environment:
      - MYSQL_ROOT_PASSWORD=example
      - MYSQL_DATABASE=qcc_proxy
      - MYSQL_USER=qcc
      - MYSQL_PASSWORD=example
    volumes:
      - mysql_data:/var/lib/mysql
    ports:
      - "3307:3306"

volumes:
  mysql_data:
`

// TestGuideComposeEnvironment starts the image with the environment of that file: it must accept all of it and wait for the
// MySQL server, which is not there. (tests/process runs it on a server.)
func TestGuideComposeEnvironment(t *testing.T) {
	var env []string
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	if err := os.WriteFile(file, []byte(guideA), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := cli.NewProjectOptions([]string{file}, cli.WithName("guide"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range p.Services["proxy"].Environment {
		if !slices.Contains(settings(t), name) {
			t.Errorf("%s is no setting", name)
		}
		env = append(env, name+"="+*value)
	}
	if len(env) != 10 {
		t.Fatalf("%q", env)
	}
	c := create(t, "", env...)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// a short wait for a server that cannot be had, named by the store's own URL form of the same DSN
	c.env = append(c.env, "STORE_URL=mysql://qcc:example@127.0.0.1:1/qcc_proxy?sluice_wait=1s")
	out, err := c.command(ctx, c.img.entrypoint...).CombinedOutput()
	if err == nil || strings.Contains(string(out), "LISTEN_ADDR:") || !strings.Contains(string(out), "STORE_URL") {
		t.Errorf("%v\n%s", err, out)
	}
}
