package main

import (
	"slices"
	"testing"
)

// TestGuideArgs: how the older systems were started starts this one, on the port that their guides open.
func TestGuideArgs(t *testing.T) {
	for _, c := range []struct {
		why        string
		args       []string
		env        map[string]string
		want       []string
		port, addr string
	}{
		{"the older gateway", []string{"proxy"}, nil, []string{"serve"}, "", ""},
		{"the older pool", []string{"python", "app_new.py"}, nil, []string{"serve"}, "8080", ""},
		{"its first version", []string{"python3", "main.py"}, nil, []string{"serve"}, "8080", ""},
		{"with a path", []string{"/app/venv/bin/python", "/app/app_new.py"}, nil, []string{"serve"}, "8080", ""},
		{"PORT counts", []string{"python", "app_new.py"}, map[string]string{"PORT": "8081"}, []string{"serve"}, "8081", ""},
		{"LISTEN_ADDR counts", []string{"python", "app_new.py"}, map[string]string{"LISTEN_ADDR": ":9"}, []string{"serve"}, "", ":9"},
		{"an argument beats both, later", []string{"python", "app_new.py", "--port", "8081"}, nil, []string{"serve", "--port", "8081"}, "8080", ""},
		{"another script", []string{"python", "x.py"}, nil, []string{"python", "x.py"}, "", ""},
		{"a command", []string{"version"}, nil, []string{"version"}, "", ""},
		{"nothing", nil, nil, nil, "", ""},
	} {
		env := map[string]string{}
		for k, v := range c.env {
			env[k] = v
		}
		if got := guideArgs(c.args, env); !slices.Equal(got, c.want) || env["PORT"] != c.port || env["LISTEN_ADDR"] != c.addr {
			t.Errorf("%s: %v with %v, want %v", c.why, got, env, c.want)
		}
	}
}
