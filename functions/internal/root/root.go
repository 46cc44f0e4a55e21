// Package root is what the roots of the three functions share: the stores that they link, and where their settings come
// from. There is no SQL store and no embedded one: a function has no disk, and many instances.
package root

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	_ "time/tzdata" // for LIMITS_TIME_ZONE: the runtime has no zones

	"sluice/shared/boot"
	"sluice/shared/boot/awsref"
	"sluice/shared/core"
	"sluice/shared/metrics/emf"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/redis"
)

// New makes the function and opens it, which is what Lambda's init phase is for. parts links what this function alone has;
// what none of them names is not in the binary.
func New(part boot.Part, version string, parts ...func(*boot.FunctionOptions)) *boot.Function {
	env := environ()
	var counter boot.FunctionMetrics
	if on, err := strconv.ParseBool(env["METRICS_EMF"]); err != nil || on {
		counter = emf.New(os.Stdout, emf.Options{Function: env["AWS_LAMBDA_FUNCTION_NAME"]})
	}
	o := boot.FunctionOptions{Env: env, Metrics: counter, AWS: boot.AWSFromEnvironment(env), Part: part, Openers: openers(), References: &awsref.Reader{},
		Output: os.Stdout, Version: versionOr(version)}
	for _, add := range parts {
		add(&o)
	}
	f := boot.NewFunction(o)
	f.Start(context.Background())
	return f
}

func openers() map[string]boot.Opener {
	m := map[string]boot.Opener{"dynamodb": func(ctx context.Context, rest core.Secret, _ *slog.Logger) (boot.Opened, error) {
		s, err := dynamodb.Open(ctx, rest.Reveal(), dynamodb.Options{})
		if err != nil {
			return boot.Opened{}, err
		}
		return boot.Opened{Store: s, Where: s.Where()}, nil
	}}
	for _, scheme := range []string{"redis", "rediss", "redis+sentinel", "rediss+sentinel"} {
		m[scheme] = func(ctx context.Context, rest core.Secret, log *slog.Logger) (boot.Opened, error) {
			s, err := redis.Open(ctx, scheme+":"+rest.Reveal(), redis.Options{Logger: log})
			if err != nil {
				return boot.Opened{}, err
			}
			return boot.Opened{Store: s, Where: s.Where()}, nil
		}
	}
	return m
}

func environ() map[string]string {
	m := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return m
}

// versionOr is the linker's version, else the revision that was built.
func versionOr(version string) string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}
