package deploy

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// dockerfile is the Dockerfile as BuildKit reads it, with what its linter says.
func dockerfile(t testing.TB) (stages []instructions.Stage, args []instructions.ArgCommand, warnings []string) {
	t.Helper()
	ast, err := parser.Parse(strings.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ast.Warnings {
		warnings = append(warnings, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		warnings = append(warnings, fmt.Sprintf("%s: %s %v", rule, message, at))
	}})
	stages, args, err = instructions.Parse(ast.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return stages, args, warnings
}

// image is what the Dockerfile makes, as a folder.
type image struct {
	rootfs     string
	env        []string
	workdir    string
	entrypoint []string
	health     []string
	user       string
	labels     map[string]string
	ports      []string
	stop       string
	volumes    []string
}

// scratch is removed by TestMain.
var scratch = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "sluice-deploy-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := scratch(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

var (
	buildOnce sync.Once
	built     *image
)

// buildImage follows the Dockerfile for this machine, once. It needs root, as Docker does.
func buildImage(t testing.TB) *image {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, as it follows what Docker does as root")
	}
	buildOnce.Do(func() {
		dir, err := scratch()
		if err != nil {
			t.Fatal(err)
		}
		built = follow(t, dir)
	})
	if built == nil {
		t.Fatal("the image could not be built; see the first test that needed it")
	}
	return built
}

// follow carries the steps out below dir: the first stage's working folder is dir/src, its /out is dir/out.
func follow(t testing.TB, dir string) *image {
	t.Helper()
	stages, meta, _ := dockerfile(t)
	vars := map[string]string{"TARGETOS": "linux", "TARGETARCH": goEnv(t, "GOARCH")}
	for _, m := range meta {
		for _, a := range m.Args {
			vars[a.Key] = a.ValueString()
		}
	}
	work := dir
	for _, c := range stages[0].Commands {
		switch c := c.(type) {
		case *instructions.WorkdirCommand:
			work = filepath.Join(dir, c.Path)
			if err := os.MkdirAll(work, 0o755); err != nil {
				t.Fatal(err)
			}
		case *instructions.CopyCommand:
			copyContext(t, c.SourcePaths, work, c.DestPath)
		case *instructions.ArgCommand:
			for _, a := range c.Args {
				if _, given := vars[a.Key]; !given {
					vars[a.Key] = a.ValueString()
				}
			}
		case *instructions.RunCommand:
			runStep(t, strings.Join(c.CmdLine, " "), dir, work, vars)
		default:
			t.Fatalf("the first stage has a step that this test does not follow: %s", c.Name())
		}
	}
	return finish(t, stages[len(stages)-1], dir)
}

func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// runStep runs a RUN line with /out below dir.
func runStep(t testing.TB, line, dir, work string, vars map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", strings.ReplaceAll(line, "/out/", dir+"/out/"))
	cmd.Dir = work
	cmd.Env = os.Environ()
	for k, v := range vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("RUN %s: %v\n%s", line, err, out)
	}
}

// copyContext copies what .dockerignore lets through, as the builder gets it.
func copyContext(t testing.TB, sources []string, work, dest string) {
	t.Helper()
	f, err := os.Open(root(t, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	match, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range sources {
		copied := 0
		err := filepath.WalkDir(root(t, src), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(root(t), path)
			if ignored, err := match.MatchesOrParentMatches(rel); err != nil || ignored {
				return err
			}
			to := filepath.Join(work, dest, strings.TrimPrefix(strings.TrimPrefix(rel, filepath.Clean(src)), "/"))
			if len(sources) > 1 || rel == filepath.Clean(src) {
				to = filepath.Join(work, dest, rel)
			}
			copied++
			return copyFile(path, to)
		})
		if err != nil {
			t.Fatalf("COPY %s: %v", src, err)
		}
		if copied == 0 {
			t.Fatalf("COPY %s: .dockerignore leaves nothing of it", src)
		}
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// finish reads the last stage, which must only copy.
func finish(t testing.TB, stage instructions.Stage, dir string) *image {
	t.Helper()
	if stage.BaseName != "scratch" {
		t.Fatalf("the last stage is made from %s", stage.BaseName)
	}
	img := &image{labels: map[string]string{}}
	for _, c := range stage.Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if c.From != "build" || len(c.SourcePaths) != 1 || c.SourcePaths[0] != "/out/" || c.DestPath != "/" {
				t.Fatalf("a COPY that this test does not follow: %s", c)
			}
			img.rootfs = filepath.Join(dir, "out")
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				img.env = append(img.env, kv.Key+"="+kv.Value)
			}
		case *instructions.WorkdirCommand:
			img.workdir = c.Path
		case *instructions.EntrypointCommand:
			img.entrypoint = c.CmdLine
		case *instructions.HealthCheckCommand:
			img.health = c.Health.Test
		case *instructions.UserCommand:
			img.user = c.User
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				img.labels[l.Key] = l.Value
			}
		case *instructions.ExposeCommand:
			img.ports = c.Ports
		case *instructions.StopSignalCommand:
			img.stop = c.Signal
		case *instructions.VolumeCommand:
			img.volumes = c.Volumes
		case *instructions.ArgCommand:
		default:
			t.Fatalf("the last stage has a step that this test does not follow: %s", c.Name())
		}
	}
	return img
}
