package dynamodb

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/limit"
)

// subject names a hot item.
type subject struct{ kind, id string }

// picture is a hot item as it was. It is never changed after it was made.
type picture struct {
	v          int64
	n          int64 // rises with every write: tells which of two pictures is the later
	ra, ta     int64 // 0: none
	rd, ud, um []period
	leases     map[string]limit.Lease
}

// period is a sum of one day or month, which its attribute is named by.
type period struct{ n, sum int64 }

// Names of attributes by period.
func dayName(n int64) string   { return "rd" + strconv.FormatInt(n, 10) }
func moneyName(n int64) string { return "ud" + strconv.FormatInt(n, 10) }
func monthName(n int64) string { return "um" + strconv.FormatInt(n, 10) }

// paint makes the picture of an item; nil when there is none.
func paint(it item) *picture {
	if len(it) == 0 {
		return nil
	}
	p := &picture{}
	p.v, _ = getN(it, "v")
	p.n, _ = getN(it, "n")
	p.ra, _ = getN(it, "ra")
	p.ta, _ = getN(it, "ta")
	for name := range it {
		if len(name) < 3 {
			continue
		}
		into := (*[]period)(nil)
		switch name[:2] {
		case "rd":
			into = &p.rd
		case "ud":
			into = &p.ud
		case "um":
			into = &p.um
		default:
			continue
		}
		n, err := strconv.ParseInt(name[2:], 10, 64)
		if sum, ok := getN(it, name); ok && err == nil {
			*into = append(*into, period{n, sum})
		}
	}
	if lz, ok := it["lz"].(*types.AttributeValueMemberM); ok && len(lz.Value) > 0 {
		p.leases = make(map[string]limit.Lease, len(lz.Value))
		for id := range lz.Value {
			p.leases[id] = parseLease(getS(lz.Value, id))
		}
	}
	return p
}

// leaseText packs a lease; trailing zeros are left out.
func leaseText(l limit.Lease) string {
	fields := []int64{l.End, l.Tokens, l.USD, l.Day, l.Month}
	for len(fields) > 1 && fields[len(fields)-1] == 0 {
		fields = fields[:len(fields)-1]
	}
	var b []byte
	for i, n := range fields {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendInt(b, n, 36)
	}
	return string(b)
}

// parseLease reads what leaseText wrote. What is not readable has ended.
func parseLease(s string) limit.Lease {
	var f [5]int64
	for i, part := range strings.SplitN(s, ".", len(f)) {
		n, err := strconv.ParseInt(part, 36, 64)
		if err != nil {
			return limit.Lease{}
		}
		f[i] = n
	}
	return limit.Lease{End: f[0], Tokens: f[1], USD: f[2], Day: f[3], Month: f[4]}
}

// current is the period that counts now, as package limit sees it: a clock that is behind goes on with the later one.
func current(ps []period, now int64) period {
	out := period{n: now}
	for _, p := range ps {
		if p.n == now+1 {
			return p
		}
		if p.n == now {
			out = p
		}
	}
	return out
}

// state is the picture as package limit reckons with it.
func (p *picture) state(m *limit.Moment) limit.State {
	st := limit.State{Counters: limit.Counters{Full: p.ra, Tokens: p.ta}, Leases: maps.Clone(p.leases)}
	if len(p.rd) > 0 {
		d := current(p.rd, m.Day())
		st.Day, st.Count = d.n, d.sum
	}
	if len(p.ud) > 0 || len(p.um) > 0 {
		d, mon := current(p.ud, m.Day()), current(p.um, m.Month())
		st.MoneyDay, st.DayUSD, st.Month, st.MonthUSD = d.n, d.sum, mon.n, mon.sum
	}
	return st
}

// dead are the ids of leases that ended at now, the oldest first.
func (p *picture) dead(now int64) []string {
	var out []string
	for id, l := range p.leases {
		if l.End <= now {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		if c := p.leases[a].End - p.leases[b].End; c != 0 {
			return int(max(-1, min(1, c)))
		}
		return strings.Compare(a, b)
	})
	return out
}

const (
	// refusedFirst is how long a subject that refused is asked before the others, in microseconds.
	refusedFirst = 60_000_000
	// refusedAgain is how long a refusal is repeated from memory.
	refusedAgain = 1_000_000
)

// hot is what this instance knows of a hot item.
type hot struct {
	mu    sync.Mutex
	pic   *picture
	freed int64 // pic.n when something was given back last
	busy  bool  // others use its buckets, too: pic is old news

	refused   *picture // what refused
	refusedAt int64    // microseconds
	until     int64    // the refusal may be repeated until then
}

// know is the latest picture, never nil; busy tells that it is likely to be out of date.
func (h *hot) know() (pic *picture, busy bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pic == nil {
		return &picture{}, h.busy
	}
	return h.pic, h.busy
}

// seen is know, but nil when nothing is known.
func (h *hot) seen() *picture {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pic
}

// learn takes the picture of an answer, unless a later one came first.
func (h *hot) learn(p *picture) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p != nil && (h.pic == nil || p.n > h.pic.n) {
		h.pic = p
	}
}

func (h *hot) setBusy(busy bool) {
	h.mu.Lock()
	h.busy = busy
	h.mu.Unlock()
}

// remember keeps a refusal for a moment. wait is in microseconds.
func (h *hot) remember(p *picture, now, wait int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusedAt = now
	if p.n >= h.freed {
		h.refused, h.until = p, now+min(wait, refusedAgain)
	}
}

// free forgets a refusal, because a call has given something back.
func (h *hot) free(p *picture) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p == nil || h.refused != nil && h.refused.n < p.n {
		h.refused = nil
	}
	if p != nil {
		h.freed = max(h.freed, p.n)
	}
}

// memory is the picture of a refusal that may be repeated at now; first tells that the subject refused lately.
func (h *hot) memory(now int64) (p *picture, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first = h.refusedAt != 0 && now >= h.refusedAt && now < h.refusedAt+refusedFirst
	if h.refused != nil && now >= h.refusedAt && now < h.until {
		return h.refused, first
	}
	return nil, first
}
