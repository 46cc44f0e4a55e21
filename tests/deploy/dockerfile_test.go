package deploy

import (
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// TestDockerfileRules are BuildKit's checks and what DESIGN asks of the image.
func TestDockerfileRules(t *testing.T) {
	stages, _, warnings := dockerfile(t)
	for _, w := range warnings {
		t.Error(w)
	}
	if len(stages) != 2 || stages[0].Platform != "$BUILDPLATFORM" {
		t.Errorf("%d stages, the first on %q: it would be emulated", len(stages), stages[0].Platform)
	}
	for _, s := range stages {
		if strings.HasSuffix(s.BaseName, ":latest") || !strings.Contains(s.BaseName, ":") && s.BaseName != "scratch" {
			t.Errorf("FROM %s takes whatever there is that day", s.BaseName)
		}
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *instructions.AddCommand:
				t.Errorf("ADD does more than COPY: %s", c)
			case *instructions.RunCommand:
				if line := strings.Join(c.CmdLine, " "); strings.Contains(line, "sudo") || strings.Contains(line, "curl ") {
					t.Errorf("RUN %s", line)
				}
			}
		}
	}
	img := finish(t, stages[1], t.TempDir())
	if img.workdir != "/app" || img.user != "" || img.stop != "SIGTERM" || len(img.volumes) > 0 {
		t.Errorf("the image is %+v", img)
	}
	if len(img.health) != 3 || img.health[0] != "CMD" || img.health[2] != "healthcheck" || img.health[1] != img.entrypoint[0] {
		t.Errorf("the health check is %q", img.health)
	}
	for _, kv := range img.env {
		if name, _, _ := strings.Cut(kv, "="); name != "PATH" {
			t.Errorf("the image sets %s", name) // LISTEN_ADDR would beat the PORT of Guide B
		}
	}
	for _, l := range []string{"title", "description", "licenses", "version", "revision", "created", "base.name"} {
		if _, has := img.labels["org.opencontainers.image."+l]; !has {
			t.Errorf("the image has no label %s", l)
		}
	}
}

// TestDockerfileBuilds follows the steps and looks at what they made.
func TestDockerfileBuilds(t *testing.T) {
	img := buildImage(t)
	f, err := elf.Open(filepath.Join(img.rootfs, img.entrypoint[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, _ := f.ImportedLibraries(); len(libs) > 0 || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("the program needs %q, which scratch has not", libs)
	}
	if info, err := buildinfo.ReadFile(filepath.Join(img.rootfs, img.entrypoint[0])); err != nil || len(info.Deps) < 5 {
		t.Errorf("the program does not tell its modules, from which an SBOM is made: %v", err)
	}
	pemData, err := os.ReadFile(filepath.Join(img.rootfs, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := pem.Decode(pemData); b == nil {
		t.Error("the certificates are none")
	} else if _, err := x509.ParseCertificate(b.Bytes); err != nil {
		t.Error(err)
	}
	var names []string
	for path, owner := range owners(t, img.rootfs) {
		names = append(names, path)
		want := "0:0"
		if path == "app" || path == "app/data" {
			want = "65532:65532"
		}
		if owner != want {
			t.Errorf("%s belongs to %s, want %s", path, owner, want)
		}
	}
	if len(names) > 16 {
		t.Errorf("the image holds more than it needs: %q", names)
	}
	if info, err := os.Stat(filepath.Join(img.rootfs, "tmp")); err != nil || info.Mode()&os.ModeSticky == 0 {
		t.Errorf("/tmp: %v %v", info, err)
	}
}

// TestDockerfileOtherMachine compiles what --platform linux/arm64 (or amd64) does.
func TestDockerfileOtherMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: compiles everything for another machine")
	}
	stages, _, _ := dockerfile(t)
	arch, machine := "arm64", elf.EM_AARCH64
	if goEnv(t, "GOARCH") == arch {
		arch, machine = "amd64", elf.EM_X86_64
	}
	dir := t.TempDir()
	for _, c := range stages[0].Commands {
		if run, ok := c.(*instructions.RunCommand); ok && strings.Contains(strings.Join(run.CmdLine, " "), "go build") {
			runStep(t, strings.Join(run.CmdLine, " "), dir, root(t), map[string]string{"TARGETOS": "linux", "TARGETARCH": arch, "VERSION": "test", "REVISION": "", "CREATED": ""})
		}
	}
	f, err := elf.Open(filepath.Join(dir, "out/usr/local/bin/sluice"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("made for %v, want %v", f.Machine, machine)
	}
}

// hostFolder is a folder as people bind-mount it: made by their own user, with what an older program, run as root, left.
func hostFolder(t *testing.T) (dir, outside string) {
	t.Helper()
	base := t.TempDir()
	dir, outside = filepath.Join(base, "data"), filepath.Join(base, "outside")
	old := filepath.Join(dir, "old", "deep")
	for _, err := range []error{os.MkdirAll(old, 0o700), os.WriteFile(filepath.Join(old, "notes.txt"), []byte("x"), 0o600),
		os.WriteFile(outside, []byte("x"), 0o600), os.Symlink(outside, filepath.Join(dir, "link")), os.Chown(dir, 1000, 1000)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, outside
}

// TestImageLeavesRoot starts the image as Docker does, as root with a folder of the host, and looks at who runs.
func TestImageLeavesRoot(t *testing.T) {
	data, outside := hostFolder(t)
	port := freePort(t)
	c := create(t, data, "PORT="+port, "LIMITS_TIME_ZONE=Asia/Shanghai") // the zones are in the program
	if status, out := c.exec("/usr/local/bin/sluice", "healthcheck"); status != 1 {
		t.Errorf("the health check before the start: %d\n%s", status, out)
	}
	c.start(port)
	for name, want := range map[string]string{"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "Groups": "65532",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000"} {
		if got := strings.Join(c.status(name), " "); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if threads := c.status("Threads"); threads[0] == "1" {
		t.Error("there is one thread only, so nothing is proven of the others")
	}
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/task/*/status")
	for _, task := range tasks {
		if s, err := os.ReadFile(task); err == nil && !strings.Contains(string(s), "Uid:\t65532\t65532\t65532\t65532\n") {
			t.Errorf("a thread is not 65532:\n%s", s)
		}
	}
	held := owners(t, filepath.Join(c.root, "app/data"))
	for path, owner := range held {
		if owner != "65532:65532" {
			t.Errorf("data/%s belongs to %s", path, owner)
		}
	}
	for _, want := range []string{"sluice.db", "sluice.db.key", "old/deep/notes.txt", "link"} {
		if held[want] == "" {
			t.Errorf("data/%s is not there: %v", want, held)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(outside, &st); err != nil || st.Uid != 0 {
		t.Errorf("what a link pointed to was given away: %v %v", st.Uid, err)
	}
	if status, out := c.exec(c.img.health[1:]...); status != 0 {
		t.Errorf("the health check: %d\n%s", status, out)
	}
	if status, out := c.exec("/usr/local/bin/sluice", "key", "create", "--admin"); status != 0 || !strings.Contains(out, "sluice_") {
		t.Errorf("docker exec ... sluice key create --admin: %d\n%s", status, out)
	}
	for path, owner := range owners(t, filepath.Join(c.root, "app/data")) {
		if owner != "65532:65532" {
			t.Errorf("after docker exec data/%s belongs to %s", path, owner)
		}
	}
	if err := c.stop(); err != nil {
		t.Errorf("docker stop: %v\n%s", err, c.out)
	}
	if status, out := c.exec(c.img.health[1:]...); status != 1 {
		t.Errorf("the health check after the end: %d\n%s", status, out)
	}
}

// TestImageAsAnotherUser is docker run --user, and Kubernetes' runAsUser: nothing is taken over.
func TestImageAsAnotherUser(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	c := create(t, data, "PORT="+port)
	c.user = &syscall.Credential{Uid: 1000, Gid: 1000}
	c.start(port)
	if got := strings.Join(c.status("Uid"), " "); got != "1000 1000 1000 1000" {
		t.Errorf("it runs as %s", got)
	}
	for path, owner := range owners(t, filepath.Join(c.root, "app/data")) {
		if owner != "1000:1000" {
			t.Errorf("data/%s belongs to %s", path, owner)
		}
	}
}

// TestImageWithoutCapabilities: root that may not become another user must say so, not serve as root.
func TestImageWithoutCapabilities(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("SKIPPED: needs setpriv of util-linux")
	}
	c := create(t, "")
	drop := func(caps string, args ...string) (int, string) {
		bin := filepath.Join(c.root, c.img.entrypoint[0])
		cmd := exec.Command("setpriv", append([]string{"--bounding-set", caps, "--inh-caps", caps, bin}, args...)...)
		cmd.Dir = filepath.Join(c.root, c.img.workdir)
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	if status, out := drop("-all", "version"); status != 1 || !strings.Contains(out, "SETUID") {
		t.Errorf("without capabilities: %d\n%s", status, out)
	}
	// what docker-compose.yml leaves
	if status, out := drop("-all,+chown,+dac_override,+setgid,+setuid", "version"); status != 0 {
		t.Errorf("with the capabilities of docker-compose.yml: %d\n%s", status, out)
	}
}

// TestGuideDockerCommand is `docker run -d -p 8080:8080 -v ./data:/app/data -e PORT=8080 IMAGE python app_new.py` of the
// older pool's guide, with another port.
func TestGuideDockerCommand(t *testing.T) {
	port := freePort(t)
	data, _ := hostFolder(t)
	c := create(t, data, "PORT="+port)
	c.start(port, "python", "app_new.py")
	if status, body := get("http://127.0.0.1:" + port + "/health"); status != 200 || !strings.Contains(body, `"healthy"`) {
		t.Errorf("%d %s", status, body)
	}
	if _, err := os.Stat(filepath.Join(c.root, "app/data/sluice.db")); err != nil {
		t.Error(err)
	}
}

// TestImageHealthcheckAddress: the health check looks where LISTEN_ADDR says, which beats PORT, as Guide A sets it.
func TestImageHealthcheckAddress(t *testing.T) {
	for _, listen := range []string{":%", "0.0.0.0:%", "127.0.0.1:%"} {
		port := freePort(t)
		c := create(t, "", "PORT=1", "STORE_URL=memory:", "LISTEN_ADDR="+strings.ReplaceAll(listen, "%", port))
		if status, _ := c.exec(c.img.health[1:]...); status != 1 {
			t.Errorf("%s: %d before the start", listen, status)
		}
		c.start(port)
		if status, out := c.exec(c.img.health[1:]...); status != 0 {
			t.Errorf("%s: %d %s", listen, status, out)
		}
	}
}
