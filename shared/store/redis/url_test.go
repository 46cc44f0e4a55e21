package redis_test

import (
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/store/redis"
)

func TestParse(t *testing.T) {
	plain := redis.Target{Addrs: []string{"h:6379"}, Prefix: "sluice:"}
	with := func(edit func(*redis.Target)) redis.Target {
		t := plain
		edit(&t)
		return t
	}
	for _, c := range []struct {
		url  string
		want redis.Target
	}{
		{"redis://h", plain},
		{"redis://h/", plain},
		{"redis://h:6380/3", with(func(t *redis.Target) { t.Addrs, t.DB = []string{"h:6380"}, 3 })},
		{"rediss://u:p%40%3a%2F@h", with(func(t *redis.Target) { t.TLS, t.User, t.Password = true, "u", "p@:/" })},
		{"redis://:a/b@h", with(func(t *redis.Target) { t.Password = "a/b" })},
		{"redis://:p:q@w@h", with(func(t *redis.Target) { t.Password = "p:q@w" })},
		{"redis://[::1]:7,[::2],h", with(func(t *redis.Target) { t.Addrs, t.Cluster = []string{"[::1]:7", "[::2]:6379", "h:6379"}, true })},
		{"redis://h?cluster=true&prefix=a:&pool_size=7", with(func(t *redis.Target) { t.Cluster, t.Prefix, t.Pool = true, "a:", 7 })},
		{"redis+sentinel://h,i:5/main/2", with(func(t *redis.Target) { t.Addrs, t.Master, t.DB = []string{"h:26379", "i:5"}, "main", 2 })},
		{"rediss+sentinel://u:p@h/main?sentinel_user=a&sentinel_password=b%26", with(func(t *redis.Target) {
			t.Addrs, t.Master, t.TLS, t.User, t.Password, t.SentUser, t.SentSecret = []string{"h:26379"}, "main", true, "u", "p", "a", "b&"
		})},
		{"redis://h,i?master=main", with(func(t *redis.Target) { t.Addrs, t.Master = []string{"h:26379", "i:26379"}, "main" })},
	} {
		if got, err := redis.Parse(c.url); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.url, got, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", "the URL is not"}, {"redis:", "the URL is not"}, {"http://h", "the URL is not"}, {"redis://", "the URL is not"},
		{"redis://hunter2@h", "the URL is not"}, {"redis://:hunter2%zz@h", "the URL is not"}, {"redis://h:port", "the URL is not"},
		{"redis://h:0", "the URL is not"}, {"redis://h:99999", "the URL is not"}, {"redis://::1", "the URL is not"}, {"redis://h,,i", "the URL is not"},
		{"redis://:pass?hunter2@h", "parameter"}, {"redis://h?colour=hunter2", "parameter"},
		{"redis://h?cluster=hunter2", "parameter"}, {"redis://h?pool_size=0", "parameter"}, {"redis://h?%zz", "parameter"},
		{"redis://h?prefix=a{b", "prefix"}, {"redis://h/x", "database"}, {"redis://h/-1", "database"}, {"redis://h,i/1", "database"},
		{"redis://h?cluster=1&master=m", "leave out"}, {"redis+sentinel://h", "names no master"},
	} {
		if _, err := redis.Parse(c.url); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v, want %q and no secret", c.url, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"redis://u:p@h:1,i/2?prefix=x", "redis+sentinel://h/main/1", "rediss://[::1]", "redis://%41@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := redis.Parse(s)
		if err == nil && (len(got.Addrs) == 0 || strings.ContainsAny(got.Prefix, "{}") || got.DB < 0) {
			t.Errorf("%q: %+v", s, got)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than a line", s)
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, s := range []string{"1:2:4:acme1", "1:2:0:", "1:2:99:x", "a:b:c:d", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if home, id, err := redis.ParseEntry(s); err == nil && !strings.HasSuffix(s, home+id) {
			t.Errorf("%q: %q and %q", s, home, id)
		}
	})
}

// zeroFields names the numbers of a sum that are 0.
func zeroFields(s core.UsageSum) (out []string) {
	var look func(prefix string, v reflect.Value)
	look = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			name, f := prefix+v.Type().Field(i).Name, v.Field(i)
			switch {
			case f.Kind() == reflect.Int64 && f.Int() == 0 && name != "Others": // which says something of the answer
				out = append(out, name)
			case f.Kind() == reflect.Struct && f.Type() == reflect.TypeFor[core.Tokens]():
				look(name+".", f)
			}
		}
	}
	look("", reflect.ValueOf(s))
	return out
}
