package emf

import (
	"slices"
	"strings"

	"sluice/shared/metrics/internal/label"
)

// maxDrops bounds the names that one line tells of.
const maxDrops = 64

// drops are what the compatibility table left out, by route and name, in the order of their coming.
type drops struct {
	all    int
	names  []string // fit for JSON
	counts []int
}

func (d *drops) note(route, name string) {
	d.all++
	name = route + " " + plain(name)
	i := slices.Index(d.names, name)
	if i < 0 && len(d.names) >= maxDrops-1 {
		name = label.Other
		i = slices.Index(d.names, name)
	}
	if i < 0 {
		i, d.names, d.counts = len(d.names), append(d.names, name), append(d.counts, 0)
	}
	d.counts[i]++
}

// plain takes what a JSON string would need to escape out of a name, and bounds it.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s[:min(len(s), maxName)])
}
