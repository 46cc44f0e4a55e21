package emf_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The rules of the format, as its specification and its JSON schema have them (read 2026-11-22 at
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html). Where
// editions differ the stricter number holds: 9 keys of a set (30 today), names of 255 characters (1024 in the schema today).
//
//	E1 the line is one JSON object with nothing before or behind it, and at most 256 KB
//	E2 _aws holds Timestamp, an integer of milliseconds since 1970, and CloudWatchMetrics, an array of directives
//	E3 a directive holds Namespace (1 to 255 characters), Dimensions (at least one set) and Metrics (at most 100), no more
//	E4 a set has at most 9 keys of 1 to 255 characters; each is a member of the root whose value is a string
//	E5 a metric has a Name of 1 to 255 characters and may have a Unit of the list and a StorageResolution, no more
//	E6 a metric's name is a member of the root: a number, or an array of at most 100 numbers
//	E7 members that are referred to lie in the root itself; others may be of any JSON type
//
// Beside them, from the API's Dimension (API_Dimension.html): a value is ASCII, has a character that is no space, at most 1024
// of them, and begins with no colon (E8). No object names a member twice (E9: JSON leaves open which one counts).
var unit = regexp.MustCompile(`^(Seconds|Microseconds|Milliseconds|((Kilo|Mega|Giga|Tera)?(b|B)its|Bytes|Kilobytes|Megabytes|Gigabytes|Terabytes|Bits|Count)(/Second)?|Percent|None)$`)

// document is a line as the rules see it.
type document struct {
	Timestamp  int64
	Directives []directive
	Root       map[string]json.RawMessage
}

type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []definition
}

type definition struct {
	Name, Unit        string
	StorageResolution int
}

// parse reads a line and proves the rules; the error names the one that is broken.
func parse(line []byte) (*document, error) {
	if len(line) > 256<<10 || !utf8.Valid(line) {
		return nil, fmt.Errorf("E1: %d bytes, or no UTF-8", len(line))
	}
	d := &document{}
	if err := json.Unmarshal(line, &d.Root); err != nil {
		return nil, fmt.Errorf("E1: %w", err)
	}
	if err := twice(line); err != nil {
		return nil, err
	}
	var aws map[string]json.RawMessage
	if err := json.Unmarshal(d.Root["_aws"], &aws); err != nil || len(aws) != 2 {
		return nil, fmt.Errorf("E2: _aws is %s", d.Root["_aws"])
	}
	if err := json.Unmarshal(aws["Timestamp"], &d.Timestamp); err != nil {
		return nil, fmt.Errorf("E2: %w", err)
	}
	var raw []map[string]json.RawMessage
	if err := json.Unmarshal(aws["CloudWatchMetrics"], &raw); err != nil {
		return nil, fmt.Errorf("E2: %w", err)
	}
	for _, r := range raw {
		if keys := slices.Sorted(maps.Keys(r)); !slices.Equal(keys, []string{"Dimensions", "Metrics", "Namespace"}) {
			return nil, fmt.Errorf("E3: members %v", keys)
		}
	}
	dec := json.NewDecoder(strings.NewReader(string(aws["CloudWatchMetrics"])))
	dec.DisallowUnknownFields() // E5
	if err := dec.Decode(&d.Directives); err != nil {
		return nil, fmt.Errorf("E3, E5: %w", err)
	}
	for _, dir := range d.Directives {
		if err := dir.check(d.Root); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *directive) check(root map[string]json.RawMessage) error {
	if !named(d.Namespace) || len(d.Dimensions) == 0 || len(d.Metrics) > 100 {
		return fmt.Errorf("E3: namespace %q, %d sets, %d metrics", d.Namespace, len(d.Dimensions), len(d.Metrics))
	}
	for _, set := range d.Dimensions {
		if len(set) > 9 {
			return fmt.Errorf("E4: %d keys", len(set))
		}
		for _, key := range set {
			var v string
			if err := json.Unmarshal(root[key], &v); err != nil || !named(key) {
				return fmt.Errorf("E4: %q is %s", key, root[key])
			}
			ascii := !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' })
			if strings.TrimSpace(v) == "" || len(v) > 1024 || v[0] == ':' || !ascii {
				return fmt.Errorf("E8: %q is %q", key, v)
			}
		}
	}
	for _, m := range d.Metrics {
		if !named(m.Name) || m.Unit != "" && !unit.MatchString(m.Unit) || m.StorageResolution != 0 && m.StorageResolution != 1 && m.StorageResolution != 60 {
			return fmt.Errorf("E5: %+v", m)
		}
		var one float64
		var many []float64
		if json.Unmarshal(root[m.Name], &one) != nil && (json.Unmarshal(root[m.Name], &many) != nil || len(many) > 100) || string(root[m.Name]) == "null" {
			return fmt.Errorf("E6: %s is %s", m.Name, root[m.Name])
		}
	}
	return nil
}

func named(s string) bool { return len(s) >= 1 && len(s) <= 255 }

// twice looks for a member that the root names twice.
func twice(line []byte) error {
	dec, seen := json.NewDecoder(strings.NewReader(string(line))), map[string]bool{}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("E1: %w", err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("E1: %w", err)
		}
		if name, ok := key.(string); !ok || seen[name] {
			return fmt.Errorf("E9: %v", key)
		} else {
			seen[name] = true
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return fmt.Errorf("E1: %w", err)
		}
	}
	return nil
}
