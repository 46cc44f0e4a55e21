// Package importer takes over what older systems kept. An import may be run again: what it took before is not taken
// twice, and what was edited or deleted here since stays so. The old tables are only read.
//
// The package has more than 1,500 lines because two older systems and the forms of a pool's accounts share one way to
// remember what was taken and one report.
package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// Box seals and opens node credentials and hashes keys; seal.Box is one.
type Box interface {
	Hash(credential string) string
	Seal(owner string, s core.Secret) core.Sealed
	Open(owner string, v core.Sealed) (core.Secret, error)
}

// Options are an import's.
type Options struct {
	Tables *store.Tables
	Usage  Settler
	Box    Box
	// Reserved tells why a credential cannot become an account's key, "" when it can: the operator's own and the
	// published ones.
	Reserved func(credential string) string
	// MaxUsage is the most usage records to take; with more of them none is, so that a start does not take minutes.
	// 0: no bound.
	MaxUsage int
	Now      func() time.Time
}

// Settler stores usage records.
type Settler interface {
	Settle(ctx context.Context, r store.SettleRequest) error
	Flush(ctx context.Context) error
}

// Skipped is something that was not taken, or not as it was.
type Skipped struct{ What, Why string }

// Report tells what an import did. It holds no credential.
type Report struct {
	Accounts, Keys, Passwords, Nodes, Prices int // taken by this run
	Before                                   int // accounts and nodes that an earlier run took
	Usage                                    int // records, those of earlier runs included
	Totals                                   Totals
	Skipped                                  []Skipped
	Notes                                    []string // what the operator should do

	from string // one of the names below
}

// Where a report's objects come from.
const (
	fromQccPlus = "qcc-plus"
	fromAmq2API = "amq2api"
)

// Totals are what the old nodes or accounts counted in all their life.
type Totals struct {
	Requests int64 `json:"requests"`
	Failed   int64 `json:"failed"`
	Input    int64 `json:"input_tokens"`
	Output   int64 `json:"output_tokens"`
	Bytes    int64 `json:"bytes"`
	Tokens   int64 `json:"tokens,omitempty"` // of a pool, which did not tell input from output
}

// The documents of KindMeta that an import keeps.
const (
	MetaQccPlus = "import/qcc-plus" // what was taken, and when
	MetaAmq2API = "import/amq2api"  // the same
	metaPool    = "import/pool"     // marks of pool accounts
	metaPrices  = MetaQccPlus + "/prices"
	metaPriced  = MetaQccPlus + "/priced" // the prices became the operator's
	metaTotals  = MetaQccPlus + "/totals"
)

// mark remembers what became of an old object. It is written before the object's, so that a run that dies in between
// makes no second one.
type mark struct {
	ID   string `json:"id"`            // here
	Key  string `json:"key,omitempty"` // of an account: id of its key
	Done bool   `json:"done,omitempty"`
}

// base is what every import has.
type base struct {
	Options
	src    Source
	tables []string
	prefix string // of its documents
	report Report
}

func newBase(o Options, src Source, from string) base {
	return base{Options: o, src: src, prefix: "import/" + from, report: Report{from: from}}
}

func (r *base) skip(what, why string) {
	r.report.Skipped = append(r.report.Skipped, Skipped{what, why})
}

func (r *base) note(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

func (r *base) metaOf(what, id string) string { return metaOf(r.prefix, what, id) }

func metaOf(prefix, what, id string) string {
	if len(id) > 60 || !plainID.MatchString(id) {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:16])
	}
	return prefix + "/" + what + "/" + id
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9._@:-]+$`)

// rows reads a table that may be missing.
func (r *base) rows(ctx context.Context, table string, each func(*Row) error) error {
	if !slices.Contains(r.tables, table) {
		return nil
	}
	return r.src.Rows(ctx, table, each)
}

// all reads a small table whole, so that nothing is written while it is read.
func (r *base) all(ctx context.Context, table string) ([]Row, error) {
	var out []Row
	err := r.rows(ctx, table, func(row *Row) error {
		vals := make([]any, len(row.vals))
		for i, v := range row.vals {
			if b, ok := v.([]byte); ok {
				v = slices.Clone(b) // the driver's own
			}
			vals[i] = v
		}
		out = append(out, Row{row.cols, vals})
		return nil
	})
	return out, err
}

// claim gives an old object its id here; instances that import at once agree on one.
func (r *base) claim(ctx context.Context, meta, kind string) (string, error) {
	id, err := r.Tables.NextID(ctx, kind)
	if err != nil {
		return "", err
	}
	return r.claimAs(ctx, meta, id)
}

// claimAs is claim with an id that is the caller's.
func (r *base) claimAs(ctx context.Context, meta, id string) (string, error) {
	err := r.Tables.CreateMeta(ctx, meta, mark{ID: id})
	if errors.Is(err, store.ErrExists) {
		var m mark
		err = r.Tables.ReadMeta(ctx, meta, &m)
		id = m.ID
	}
	return id, err
}

// tooMuchUsage reports that there are more usage records than may be taken, and tells how to take them.
func (r *base) tooMuchUsage(ctx context.Context, command string) (bool, error) {
	if r.MaxUsage <= 0 {
		return false, nil
	}
	n, err := r.atLeast(ctx, "usage_logs", r.MaxUsage+1)
	if err != nil || n <= r.MaxUsage {
		return false, err
	}
	r.skip("usage records", fmt.Sprintf("there are more than %d, too many for a start; take them with: %s", r.MaxUsage, command))
	return true, nil
}

// defaultAccount makes the account "default" where it is missing.
func (r *base) defaultAccount(ctx context.Context) error {
	now := r.Now().UTC()
	_, err := r.Tables.Accounts.Create(ctx, core.Account{ID: core.DefaultAccount, Name: "default", CreatedAt: now, UpdatedAt: now})
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// atLeast counts the rows of a table, up to most.
func (r *base) atLeast(ctx context.Context, table string, most int) (int, error) {
	n := 0
	err := r.rows(ctx, table, func(*Row) error {
		if n++; n >= most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return n, err
}

var errEnough = errors.New("enough")

// Lines is the report for people.
func (r *Report) Lines() []string {
	out := r.counts()
	if r.Before > 0 {
		what := "accounts and nodes"
		if r.from == fromAmq2API {
			what = "accounts and keys"
		}
		out = append(out, fmt.Sprintf("before    %d %s were taken by an earlier import", r.Before, what))
	}
	for _, s := range r.Skipped {
		out = append(out, "skipped   "+s.What+": "+s.Why)
	}
	for _, n := range r.Notes {
		out = append(out, "note      "+n)
	}
	return out
}

func (r *Report) counts() []string {
	keys, nodes, usage := fmt.Sprintf("keys      %d", r.Keys), fmt.Sprintf("nodes     %d", r.Nodes), fmt.Sprintf("usage     %d records", r.Usage)
	if r.from == fromAmq2API {
		return []string{nodes, keys, usage,
			fmt.Sprintf("totals    %d requests and %d tokens counted by the old accounts", r.Totals.Requests, r.Totals.Tokens)}
	}
	return []string{
		fmt.Sprintf("accounts  %d", r.Accounts), keys, fmt.Sprintf("passwords %d", r.Passwords), nodes, fmt.Sprintf("prices    %d", r.Prices), usage,
		fmt.Sprintf("totals    %d requests, %d failed, %d input and %d output tokens counted by the old nodes", r.Totals.Requests, r.Totals.Failed, r.Totals.Input, r.Totals.Output),
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
