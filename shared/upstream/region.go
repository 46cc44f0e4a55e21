package upstream

import "strings"

// ValidRegion reports whether s has the form of the name of an AWS region, such as us-east-1 or us-gov-west-1. Regions become part of
// host names: nothing else may pass.
func ValidRegion(s string) bool {
	parts := strings.Split(s, "-")
	if len(s) > 32 || len(parts) < 3 || len(parts) > 4 {
		return false
	}
	last := len(parts) - 1
	for i, p := range parts {
		switch {
		case i == last && (len(p) == 0 || len(p) > 2 || strings.Trim(p, "0123456789") != ""):
			return false
		case i < last && (len(p) < 2 || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") != ""):
			return false
		}
	}
	return true
}
