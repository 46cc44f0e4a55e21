package clients_test

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite sdkv2_test.go from sdkv1_test.go")

// The two adapters are one text: the second is the first with other import paths. Run with -update after a change.
func TestAdaptersAreOneText(t *testing.T) {
	src, err := os.ReadFile("sdkv1_test.go")
	if err != nil {
		t.Fatal(err)
	}
	want := "// Code generated from sdkv1_test.go by go test -update. DO NOT EDIT.\n\n" +
		strings.NewReplacer("V1", "V2", "anthropic-sdk-go.", "anthropic-sdk-go/v2.",
			`anthropic-sdk-go"`, `anthropic-sdk-go/v2"`, "anthropic-sdk-go/option", "anthropic-sdk-go/v2/option").Replace(string(src))
	if *update {
		if err := os.WriteFile("sdkv2_test.go", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile("sdkv2_test.go")
	if err != nil || string(got) != want {
		t.Errorf("sdkv2_test.go is not what sdkv1_test.go makes of it: run go test -run TestAdaptersAreOneText -update . (%v)", err)
	}
}
