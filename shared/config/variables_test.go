package config_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/shared/config"
)

// TestVariables: no setting is missing from the list that administrators see, and none of them is without words.
func TestVariables(t *testing.T) {
	list := config.Variables(nil)
	by := map[string]config.Variable{}
	for _, v := range list {
		if by[v.Name].Name != "" {
			t.Errorf("%s is there twice", v.Name)
		}
		by[v.Name] = v
		if v.Description == "" || v.DescriptionZH == "" || !slices.Contains(config.Categories(), v.Category) {
			t.Errorf("%s lacks words or a category: %+v", v.Name, v)
		}
		if v.Set || v.Value != "" {
			t.Errorf("%s is set, and nothing is", v.Name)
		}
	}
	c := reflect.TypeFor[config.Config]()
	for i := range c.NumField() {
		if n := c.Field(i).Tag.Get("env"); n != "" && n != "-" && by[n].Name == "" {
			t.Errorf("%s is missing", n)
		}
	}
	// and what README tells of is in the list
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (`[A-Z][A-Z_]+`[^|]*)\\|").FindAllStringSubmatch(string(readme), -1)
	n := 0
	for _, r := range rows {
		for _, name := range regexp.MustCompile("`([A-Z][A-Z_]+)`").FindAllStringSubmatch(r[1], -1) {
			n++
			if by[name[1]].Name == "" {
				t.Errorf("README tells of %s, the list does not", name[1])
			}
		}
	}
	if n < 50 {
		t.Errorf("README has only %d: its table was not found", n)
	}
	for _, cat := range config.Categories() {
		if !slices.ContainsFunc(list, func(v config.Variable) bool { return v.Category == cat }) {
			t.Errorf("category %s has none", cat)
		}
	}
}

// TestVariablesMask: secrets are told by their ends, and short ones not at all.
func TestVariablesMask(t *testing.T) {
	set := map[string]string{"ADMIN_API_KEY": "elevenchars", "UPSTREAM_API_KEY": "twelve-chars", "STORE_URL": "redis://u:hidden-password@host/0", "LOG_LEVEL": "debug", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=hidden-value", "HTTPS_PROXY": ""}
	c, err := config.Parse(map[string]string{"STORE_URL": "memory:", "ADMIN_API_KEY": "a-key-of-the-operator", "OTHER": "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Variables {
		if v.Set != (v.Name == "STORE_URL" || v.Name == "ADMIN_API_KEY") {
			t.Errorf("%s: %+v", v.Name, v)
		}
	}
	want := map[string]string{"ADMIN_API_KEY": "****", "UPSTREAM_API_KEY": "twel****hars", "STORE_URL": "redi****st/0", "LOG_LEVEL": "debug", "OTEL_EXPORTER_OTLP_HEADERS": "x-ke****alue"}
	for _, v := range config.Variables(set) {
		if v.Value != want[v.Name] || v.Set != (v.Value != "") {
			t.Errorf("%s: %q, want %q", v.Name, v.Value, want[v.Name])
		}
		if strings.Contains(v.Value, "hidden") {
			t.Errorf("%s tells its secret", v.Name)
		}
		if v.Name == "PORT" && v.Default != "8000" || v.Name == "LOG_LEVEL" && v.Secret || v.Name == "STORE_URL" && !v.Secret {
			t.Errorf("%+v", v)
		}
	}
}
