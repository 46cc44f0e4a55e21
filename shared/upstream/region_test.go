package upstream_test

import (
	"testing"

	"sluice/shared/upstream"
)

func TestValidRegion(t *testing.T) {
	for s, want := range map[string]bool{"us-east-1": true, "us-gov-west-1": true, "ap-southeast-12": true, "": false, "us-east": false, "us-east-1.evil": false,
		"us-east-1/": false, "us--1": false, "us-east-1a": false, "Us-east-1": false, "us-east-123": false, "a-b-1": false, "us-east-1\n": false, "us-é-1": false} {
		if upstream.ValidRegion(s) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}
