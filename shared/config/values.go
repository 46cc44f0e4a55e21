package config

import (
	"errors"
	"net/url"
	"strconv"
	"unicode"

	"sluice/shared/seal"
)

// CheckName refuses names of accounts and nodes that cannot be shown on one line. The empty one is fine.
func CheckName(s string) error {
	if len(s) > 100 {
		return errors.New("must have at most 100 bytes")
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || r == '\u2028' || r == '\u2029' {
			return errors.New("must not hold control characters")
		}
	}
	return nil
}

// CheckKey refuses credentials that cannot travel in a header or that look like one of ours but are mistyped.
func CheckKey(k string) error {
	for _, r := range k {
		if r <= ' ' || r > '~' {
			return errors.New("must hold only visible ASCII characters, no spaces")
		}
	}
	if len(k) > 512 {
		return errors.New("is longer than 512 characters")
	}
	if !seal.WellFormed(k) {
		return errors.New("begins with " + seal.KeyPrefix + " but its checksum is wrong: it was mistyped or cut")
	}
	return nil
}

// CheckURL accepts absolute http and https URLs without credentials, query or fragment.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return errors.New("is no URL such as https://api.anthropic.com")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must begin with https:// or http://")
	case !validPort(u.Port()):
		return errors.New("has a port that is not between 1 and 65535")
	case u.User != nil:
		return errors.New("must not hold a user name or password")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return errors.New("must not hold a query or fragment")
	}
	return nil
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return s == "" || err == nil && n >= 1 && n <= 65535
}
