// Package store is the contract that every backend keeps, in words; package storetest is the same contract as tests.
//
// A backend offers five small groups of methods. Docs keeps rare edits (accounts, keys, nodes, sessions, settings) as
// versioned JSON documents under compare-and-swap. Admission has the hot path's verbs of intent, one store trip each.
// Budgets corrects what admission counts. Leases gives one holder at a time the right to do something, with a fencing number. Usage keeps what requests used.
//
// Time is always an argument, so that tests move it and callers may correct it by the store's own clock. Errors are
// wrapped with %w and compared by errors.Is. Nothing is found or deleted by scanning.
package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sluice/shared/core"
)

// The errors that callers act on.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("changed by someone else")
	ErrStale    = errors.New("policy version is stale") // Admit: read the policy again and repeat
	ErrHeld     = errors.New("held by someone else")    // Acquire
	ErrNewer    = errors.New("made by a newer version") // the schema's compatible version is above ours
	ErrFull     = errors.New("buffer of unsaved usage is full")
	ErrWindow   = errors.New("needs From and To, at most 31 days apart") // Sums of what only the records tell
	ErrCursor   = errors.New("not a cursor of this list")                // Records
	ErrGroups   = errors.New("too many groups")                          // Sums by session or agent: more than MaxGroups
)

// Doc is a stored document.
type Doc struct {
	Kind    string
	ID      string    // unique within the kind
	Account string    // owner; empty for what belongs to nobody
	Version int64     // 1 after Create, +1 by each Replace
	Unique  []string  // look-up strings, each unique within the kind
	Expires time.Time // zero: never. Readers check it too: backends remove the expired late or never
	Body    []byte    // JSON
}

// Docs keeps documents. Every method that changes a document whose kind is KindAccount, KindKey or KindNode also raises
// the generation of its Account (for KindAccount: of the account itself), in the same atomic step.
type Docs interface {
	// Get returns a document, ErrNotFound when there is none. An expired document may still be returned.
	Get(ctx context.Context, kind, id string) (Doc, error)
	// Find returns the document of the kind that holds the look-up string, ErrNotFound when none does.
	Find(ctx context.Context, kind, unique string) (Doc, error)
	// List returns up to limit documents of the kind ordered by the bytes of ID, those with ID > after.
	// account "" lists all accounts' documents.
	List(ctx context.Context, kind, account, after string, limit int) ([]Doc, error)
	// Create stores a new document at version 1 (d.Version is ignored) and returns the version.
	// ErrExists when the id or one of the look-up strings is taken; then nothing is stored.
	Create(ctx context.Context, d Doc) (int64, error)
	// Replace stores d over version d.Version and returns the new version. ErrNotFound when there is no such document,
	// ErrConflict when its version differs, ErrExists when a look-up string is taken by another document. Account and
	// kind cannot change.
	Replace(ctx context.Context, d Doc) (int64, error)
	// Delete removes a document with its look-up strings. version 0 means any; otherwise ErrConflict when it differs.
	// ErrNotFound when there is none.
	Delete(ctx context.Context, kind, id string, version int64) error
	// Next returns the next number of the named counter: 1, 2, 3... Numbers may be skipped, never repeated.
	Next(ctx context.Context, counter string) (int64, error)
	// Purge removes documents that expired before now; returns how many. It may do a bounded part of the work.
	Purge(ctx context.Context, now time.Time) (int, error)
}

// The kinds of documents.
const (
	KindAccount   = "account"
	KindKey       = "key"
	KindNode      = "node"
	KindNodeState = "nodestate"
	KindNodeToken = "nodetoken" // with the node's id
	KindLogin     = "login"     // a device login under way; expires
	KindSession   = "session"
	KindMeta      = "meta"     // seal check value, pepper, seeds applied, MetaCompat
	KindResource  = "resource" // batch or file id -> node
	KindResponse  = "response" // conversation of a Responses client

	KindNodeCheck    = "nodecheck"    // what was last seen and told of a node
	KindPrices       = "prices"       // a list of prices that differ from the built-in ones
	KindHealthDay    = "healthday"    // a node's checks and changes of one day; expires
	KindShare        = "share"        // a link to a monitor page
	KindChannel      = "channel"      // where notifications go
	KindSubscription = "subscription" // of a channel to an event
	KindAlertRule    = "alertrule"
	KindNotice       = "notice"     // a notification to send; deleted when it is sent or given up
	KindNoticeLog    = "noticelog"  // what became of it; expires
	KindNoticeSeen   = "noticeseen" // what was told of late, so that it is not told again; expires

	KindAudit = "audit" // an entry of the audit log, by its padded number; expires
)

// MetaCompat is the document of KindMeta with the rows that the operator put into the compatibility table: the one that people
// edit.
const MetaCompat = "bedrock_compat"

// Generational reports whether a change of such a document raises its account's generation.
func Generational(kind string) bool {
	return kind == KindAccount || kind == KindKey || kind == KindNode || kind == KindNodeState
}

// Subject is what a limit applies to: a key, an account or a node, as the caller knows it.
type Subject struct {
	Kind    string // KindKey, KindAccount or KindNode
	ID      string
	Version int64 // of the document that Limits, status and expiry were read from
	Limits  core.Limits
}

// AdmitRequest asks to let one request in.
type AdmitRequest struct {
	Now      time.Time
	ID       string // request id; names the leases
	Account  string
	Subjects []Subject // key first, then the account when it has limits; or, before an attempt, one node that has limits
	Ask      Amount    // reserved of limits on tokens and money until Settle
	LeaseEnd time.Time // what is reserved, and concurrency, is held until Settle or, when the process dies, until then
	Zone     *time.Location
}

// Amount is what a request takes of limits on tokens and money.
type Amount struct {
	Tokens int64 // uncached input, cache writes and output
	USD    int64 // micro-USD
}

// AdmitResult tells what an admission left.
type AdmitResult struct {
	Generation int64 // of the account; 0: this backend did not look (its copy is younger than 2 s)
	Figures    []Figure
}

// Figure is the state of one limit after the admission, for rate-limit headers.
type Figure struct {
	Subject   string    // KindKey or KindAccount
	Limit     LimitName // which one
	Max       int64
	Remaining int64
	Reset     time.Time // when it is full again (requests a minute) or starts anew (a day)
}

// LimitName names a limit.
type LimitName string

// The limits.
const (
	LimitRPM         LimitName = "requests per minute"
	LimitTPM         LimitName = "tokens per minute"
	LimitUSDDay      LimitName = "micro-USD per day"
	LimitUSDMonth    LimitName = "micro-USD per month"
	LimitRPD         LimitName = "requests per day"
	LimitConcurrency LimitName = "concurrent requests"
)

// Refusal is the error of an admission that a limit forbids. Nothing was consumed.
type Refusal struct {
	Subject    string // KindKey or KindAccount
	Limit      LimitName
	Max        int64
	RetryAfter time.Duration // earliest moment that can succeed; a guess of 1 s for concurrency; NeverFits
	Figures    []Figure
}

// NeverFits is the RetryAfter of a request that asks for more than the limit itself.
const NeverFits = time.Duration(math.MaxInt64)

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s limit of %d %s reached", r.Subject, r.Max, r.Limit)
}

// SettleRequest ends an admitted request.
type SettleRequest struct {
	ID       string
	Account  string
	Now      time.Time
	Zone     *time.Location
	Subjects []Subject // as admitted
	Used     Amount    // takes the place of what was reserved
	Free     []Subject // nodes that were tried in vain: what they hold for the request is given back, nothing was used
	Record   core.Settlement
}

// Admission is the hot path.
type Admission interface {
	// Admit checks, in one atomic call, that each subject's document still has the version given (else ErrStale; also
	// when it is gone) and that no limit forbids the request, and takes its share of each. When refused, nothing is
	// taken and the error is a *Refusal with the longest wait. Admitting the same ID again while its lease lives
	// takes nothing more where leases are kept.
	Admit(ctx context.Context, r AdmitRequest) (AdmitResult, error)
	// Renew moves the end of the leases of a long request. A lease that ended already is not revived.
	Renew(ctx context.Context, r AdmitRequest) error
	// Settle frees the leases, puts Used in place of what they reserved, and stores the record, once by Record.RequestID: a
	// second call changes nothing, whatever else it says, if its Record.EndedAt is the same: a backend may know a record by both
	// alone. Used counts also when the lease ended before. A backend that saves in groups returns before the record is on
	// disk, at most 1 s before.
	Settle(ctx context.Context, r SettleRequest) error
	// Generation returns the account's generation: it differs when an account, key or node document of it changed.
	// 0 when nothing was ever written for it.
	Generation(ctx context.Context, account string) (int64, error)
}

// RaiseRequest tells what one subject spent by its records.
type RaiseRequest struct {
	Now        time.Time
	Zone       *time.Location
	Account    string
	Kind, ID   string // of the subject
	Day, Month int64  // micro-USD, of the day and month of Now
}

// Budgets keeps what budgets count true to the records: money is counted only while a subject has a budget.
type Budgets interface {
	// Raise makes what budgets of a subject count of the day and month at least what r says, in one atomic step, whether
	// or not it has budgets now. What requests in flight have reserved comes on top. It never lowers, and a second call
	// changes nothing. Where the store's clock has another day, or month, than r.Now, that sum is left as it is.
	// ErrNotFound when there is no such document. It is on disk when it is answered.
	Raise(ctx context.Context, r RaiseRequest) error
}

// Leases gives one holder at a time the right to a name.
type Leases interface {
	// Acquire gives the lease to holder until now+ttl and returns its fencing number, which rises with every new
	// holding. A holder that has it already keeps its number and gets the new end. ErrHeld when another holds it.
	Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (int64, error)
	// Release gives it up; nothing happens when holder does not hold it.
	Release(ctx context.Context, name, holder string) error
}

// UsageFilter selects records. Empty fields select everything. From is inclusive, To exclusive, both over EndedAt.
type UsageFilter struct {
	Account, Key, Node, Model, Session, Agent string
	Failed                                    bool // only requests that were no success
	From, To                                  time.Time

	// These change what Sums returns, not what is selected.
	Zone *time.Location // of days and months; nil: UTC
	Top  int            // by session or agent: how many groups, those of the most requests; 0 or more than MaxTop: MaxTop
}

// GroupBy is what sums are grouped by.
type GroupBy string

// The groupings.
const (
	GroupNone    GroupBy = ""
	GroupAccount GroupBy = "account"
	GroupKey     GroupBy = "key"
	GroupNode    GroupBy = "node"
	GroupModel   GroupBy = "model" // as asked for
	GroupHour    GroupBy = "hour"
	GroupDay     GroupBy = "day"
	GroupMonth   GroupBy = "month"
	GroupSession GroupBy = "session"
	GroupAgent   GroupBy = "agent"
)

const (
	// RecordWindow is the longest window of sums that only the records tell: those by session or agent, and those that
	// are filtered by Session, Agent or Failed.
	RecordWindow = 31 * 24 * time.Hour

	// MaxTop is the most groups that sums by session or agent have.
	MaxTop = 1000

	// MaxGroups is how many of them are told apart while they are summed up: clients name them, each request another if they like.
	MaxGroups = 100_000
)

// Retention is for how long each class of usage is kept, counted from its end; 0: for ever. Hours are kept at least as
// long as records, and days as hours.
type Retention struct {
	Records, Hours, Days time.Duration
}

// Usage keeps records and sums.
type Usage interface {
	// Records returns up to limit records, newest first (EndedAt, then request id), and a cursor for the next page,
	// "" on the last. ErrCursor for a cursor that is not one of ours. What one call reads is bounded: where the filter
	// passes over thousands of records the page is shorter than limit, or empty, and has a cursor all the same.
	Records(ctx context.Context, f UsageFilter, cursor string, limit int) ([]core.Settlement, string, error)
	// Sums returns sums by group, ordered by group (or time). They equal the sums over the records selected, those
	// settled but not yet saved included; of what is no longer kept as records, hours or days, an hour or a day counts
	// wholly where it begins.
	//
	// Days and months are those of f.Zone. They come of hours: where the zone's offset is not of whole hours, an hour
	// counts in the day that it begins in. Where hours are no longer kept, the day of UTC is taken for the day of the
	// zone with that date, and sums by hour have one for the whole day at its first hour.
	//
	// Sums by session or agent, and those filtered by Session, Agent or Failed, come of the records: ErrWindow unless
	// From and To are at most RecordWindow apart. By session or agent they are ordered by requests, the most first; where
	// there are more than f.Top groups the last sum is that of all others and says in Others how many they are.
	Sums(ctx context.Context, f UsageFilter, by GroupBy) ([]core.UsageSum, error)
	// Rollup writes hourly sums of the hours that are over at now and closes those that ended 10 minutes ago; days of UTC
	// whose hours are all closed get daily sums. It may be called at any time, by several instances, again and again. A
	// record that arrives for a closed hour later is counted all the same.
	Rollup(ctx context.Context, now time.Time) error
	// Retain removes records, hourly and daily sums that are older than keep says, a bounded number at a call, and
	// returns how many; what is removed by the store itself is not among them. While it returns more than 0 there may be
	// more. Nothing is removed that is not summed up: records of hours that are open and hours of days without sums stay.
	// Sums stay as they were, but for what their contract says of the time that is no longer kept. A record is known to
	// Settle as long as it is kept: one that is settled again later counts again.
	Retain(ctx context.Context, now time.Time, keep Retention) (removed int, err error)
	// DeleteUsage removes an account's records and sums.
	DeleteUsage(ctx context.Context, account string) error
}

// Store is all of it, as a backend offers it and boot wires it. Handlers ask for the small parts.
type Store interface {
	Docs
	Admission
	Budgets
	Leases
	Usage
	// Ping reports whether the store can serve, within ctx.
	Ping(ctx context.Context) error
	// Flush saves what is buffered and returns when it is safe.
	Flush(ctx context.Context) error
	// Close flushes and releases everything. The store is unusable afterwards.
	Close() error
}
