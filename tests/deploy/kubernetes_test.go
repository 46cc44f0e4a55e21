package deploy

import (
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func manifest(t testing.TB) map[string]object {
	t.Helper()
	f, err := os.Open(root(t, "deploy/kubernetes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]object{}
	for dec := yaml.NewDecoder(f); ; {
		var n yaml.Node
		if err := dec.Decode(&n); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		o := value(t, n.Content[0]).(object)
		out[text(o, "kind")] = o
	}
}

func TestKubernetes(t *testing.T) {
	m := manifest(t)
	for _, kind := range []string{"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceAccount"} {
		if m[kind] == nil {
			t.Fatalf("there is no %s", kind)
		}
	}
	pod := at(m["Deployment"], "spec", "template", "spec")
	c := at(pod, "containers").([]any)[0].(object)
	labels := text(m["Deployment"], "spec", "template", "metadata", "labels", "app.kubernetes.io/name")
	for _, got := range []string{text(m["Deployment"], "spec", "selector", "matchLabels", "app.kubernetes.io/name"),
		text(m["Service"], "spec", "selector", "app.kubernetes.io/name"), text(m["PodDisruptionBudget"], "spec", "selector", "matchLabels", "app.kubernetes.io/name"),
		text(m["HorizontalPodAutoscaler"], "spec", "scaleTargetRef", "name")} {
		if got != labels || got == "" {
			t.Errorf("%q is not what the pods are called: %q", got, labels)
		}
	}
	if at(m["Deployment"], "spec", "replicas") != nil {
		t.Error("each apply would undo what the autoscaler did")
	}
	for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		if got := text(c, probe, "httpGet", "path"); got != path {
			t.Errorf("%s asks %q", probe, got)
		}
		if !slices.Contains(gatewayRoutes(t), path) {
			t.Errorf("nothing serves %s", path)
		}
	}
	if text(pod, "securityContext", "runAsUser") != "65532" || text(c, "securityContext", "readOnlyRootFilesystem") != "true" {
		t.Error("the pod may more than it must")
	}
	if !strings.Contains(read(t, "Dockerfile"), "runAs="+text(pod, "securityContext", "runAsUser")+":"+text(pod, "securityContext", "runAsGroup")) {
		t.Error("the pod's user is not the image's")
	}
}

// TestKubernetesDrain: what happens after SIGTERM fits into the grace period, as stop_grace_period does in Compose.
func TestKubernetesDrain(t *testing.T) {
	pod := at(manifest(t)["Deployment"], "spec", "template", "spec")
	c := at(pod, "containers").([]any)[0].(object)
	var drain time.Duration
	for _, e := range c["env"].([]any) {
		if text(e, "name") == "DRAIN_TIMEOUT" {
			drain, _ = time.ParseDuration(text(e, "value"))
		}
	}
	seconds := func(s string) time.Duration { n, _ := strconv.Atoi(s); return time.Duration(n) * time.Second }
	before := seconds(text(c, "lifecycle", "preStop", "sleep", "seconds"))
	const end = 5 * time.Second // local/serve.go: afterDrain, and the store's closing
	if all := seconds(text(pod, "terminationGracePeriodSeconds")); drain == 0 || before == 0 || before+drain+end > all {
		t.Errorf("%v + %v + %v do not fit into %v", before, drain, end, all)
	}
	if !regexp.MustCompile(`afterDrain\s+= 3 \* time\.Second`).MatchString(read(t, "local/serve.go")) || !strings.Contains(read(t, "shared/config/config.go"), `env:"DRAIN_TIMEOUT" envDefault:"25s"`) {
		t.Error("the times of a drain have changed: look at docker-compose.yml and deploy/kubernetes.yaml")
	}
}

func TestKubernetesEnvironment(t *testing.T) {
	c := at(manifest(t)["Deployment"], "spec", "template", "spec", "containers").([]any)[0].(object)
	known := append(settings(t), "GOMEMLIMIT")
	for _, e := range c["env"].([]any) {
		if !slices.Contains(known, text(e, "name")) {
			t.Errorf("%s is no setting", text(e, "name"))
		}
	}
}
