package redis

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store/internal/usage"
)

// Sums of a day, or an hour, are a text: for each group a line with its name and a line with its sum. Lines of one group
// add up, so that a late record is counted by appending it, and a page of them costs one MGET. A hash for each would be
// a command for each and a string for each group.

// dayNumbers lists the numbers of such a sum in the order in which they are stored. New ones are appended.
func dayNumbers(s *core.UsageSum) []*int64 { return append(sumNumbers(s), &s.CostUSD, &s.Unpriced) }

// places is how many numbers dayNumbers lists; more are skipped, from a newer program.
const places = 16

// appendSum appends the lines of a sum: numbers and the texts of the two sketches, with commas between.
func appendSum(dst []byte, group string, s *core.UsageSum) []byte {
	dst = append(append(dst, group...), '\n')
	for _, n := range dayNumbers(s) {
		dst = append(strconv.AppendInt(dst, *n, 10), ',')
	}
	dst = append(append(dst, s.FirstByte.String()...), ',')
	return append(append(dst, s.Total.String()...), '\n')
}

// textOf is the text of some sums.
func textOf(all usage.Tallies) (string, error) {
	var b []byte
	for d, t := range all {
		group, err := groupOf(d)
		if err != nil {
			return "", err
		}
		s := t.Sum()
		if err := t.Err(); err != nil {
			return "", err
		}
		b = appendSum(b, group, &s)
	}
	return string(b), nil
}

// textsOf are the texts of sums by each kind, from the finest.
func textsOf(all usage.Tallies) (out [usage.Kinds]string, err error) {
	for k := range usage.Kinds {
		text, err := textOf(k.Of(all))
		if err != nil {
			return out, err
		}
		out[k] = text
	}
	return out, nil
}

// reader reads sums. It remembers the names of groups, which come again and again.
type reader struct{ groups map[string]usage.Dims }

func newReader() *reader { return &reader{make(map[string]usage.Dims)} }

// dims reads what groupOf wrote.
func (r *reader) dims(group string) (usage.Dims, error) {
	if d, ok := r.groups[group]; ok {
		return d, nil
	}
	var key [3]string
	if json.Unmarshal([]byte(group), &key) != nil {
		return usage.Dims{}, errSums
	}
	d := usage.Dims{Key: key[0], Node: key[1], Model: key[2]}
	r.groups[strings.Clone(group)] = d
	return d, nil
}

// sumFunc takes a sum with the texts of its sketches, which are not read yet.
type sumFunc func(d usage.Dims, sum *core.UsageSum, first, total string)

// each calls fn for the sums of a text.
func (r *reader) each(text string, fn sumFunc) error {
	for text != "" {
		group, rest, ok := strings.Cut(text, "\n")
		line, rest, ok2 := strings.Cut(rest, "\n")
		if text = rest; !ok || !ok2 {
			return errSums
		}
		d, err := r.dims(group)
		if err != nil {
			return err
		}
		sum, first, total, err := readSum(line)
		if err != nil {
			return err
		}
		fn(d, &sum, first, total)
	}
	return nil
}

func readSum(line string) (s core.UsageSum, first, total string, err error) {
	var numbers [places]int64
	for i := range numbers {
		word, rest, ok := strings.Cut(line, ",")
		n, err := strconv.ParseInt(word, 10, 64)
		if !ok || err != nil {
			return s, "", "", errSums
		}
		numbers[i], line = n, rest
	}
	at := strings.LastIndexByte(line, ',')
	if at < 0 {
		return s, "", "", errSums
	}
	first, total = line[:at], line[at+1:]
	if more := strings.LastIndexByte(first, ','); more >= 0 { // numbers of a newer program
		first = first[more+1:]
	}
	s = core.UsageSum{
		Requests: numbers[0], Success: numbers[1], Estimated: numbers[2], Attempts: numbers[3],
		Tokens: core.Tokens{Input: numbers[4], CacheRead: numbers[5], CacheWrite5m: numbers[6], CacheWrite1h: numbers[7], Output: numbers[8]},
		Bytes:  numbers[9], FirstByteMS: numbers[10], FirstBytes: numbers[11], StreamMS: numbers[12], TotalMS: numbers[13],
		CostUSD: numbers[14], Unpriced: numbers[15],
	}
	return s, first, total, nil
}

// counted is how many requests the sums of a text count.
func counted(text string) (n int64) {
	for text != "" {
		_, rest, _ := strings.Cut(text, "\n")
		line, rest, _ := strings.Cut(rest, "\n")
		word, _, _ := strings.Cut(line, ",")
		one, _ := strconv.ParseInt(word, 10, 64) // what is damaged is told by each
		n, text = n+one, rest
	}
	return n
}

// tallies are the sums of a text.
func (r *reader) tallies(text string) (usage.Tallies, error) {
	all := make(usage.Tallies)
	err := r.each(text, func(d usage.Dims, sum *core.UsageSum, first, total string) { all.Of(d).AddText(sum, first, total) })
	return all, err
}

// texts reads the texts of some hours, or days, of a kind: where a late record made that incomplete, the finest.
func (s *Store) texts(ctx context.Context, names []string, kind usage.Kind, key func(kind usage.Kind, name string) string) ([]string, error) {
	out := make([]string, len(names))
	var missing []int
	read := func(kind usage.Kind, places []int) error {
		keys := make([]string, len(places))
		for i, at := range places {
			keys[i] = key(kind, names[at])
		}
		values, err := s.db.MGet(ctx, keys...).Result()
		for i, at := range places {
			if err != nil {
				break
			}
			text, ok := values[i].(string)
			if out[at] = text; !ok {
				missing = append(missing, at)
			}
		}
		return err
	}
	places := make([]int, len(names))
	for i := range places {
		places[i] = i
	}
	err := read(kind, places)
	if err == nil && kind != usage.ByAll && len(missing) > 0 {
		err = read(usage.ByAll, missing)
	}
	return out, err
}

// tidyAtOnce is how many texts one call of Rollup makes whole again, for each account.
const tidyAtOnce = 500

// tidy makes texts short and of all kinds again that late records were appended to.
func (s *Store) tidy(ctx context.Context, account string) error {
	k := &s.keys
	appended, err := s.db.ZRange(ctx, k.appended(account), 0, tidyAtOnce-1).Result()
	r := newReader()
	for _, member := range appended {
		if err != nil {
			break
		}
		err = s.tidyOne(ctx, r, account, member)
	}
	return err
}

func (s *Store) tidyOne(ctx context.Context, r *reader, account, member string) error {
	k := &s.keys
	class, name := member[:1], member[1:]
	key := func(kind usage.Kind) string {
		if class == "e" {
			return k.daySums(account, kind, name)
		}
		return k.whole(account, kind, name)
	}
	old, err := s.db.Get(ctx, key(usage.ByAll)).Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		return err
	}
	c := s.scripts.tidy.call(k.appended(account))
	for kind := range usage.Kinds {
		c.key(key(kind))
	}
	c.str(member, old)
	if old != "" {
		all, err := r.tallies(old)
		if err != nil {
			return err
		}
		texts, err := textsOf(all)
		if err != nil {
			return err
		}
		c.str(texts[:]...)
	}
	return s.run(ctx, &s.scripts.tidy, false, c).Err() // 0: more was appended, or it went; a later call finds it
}
