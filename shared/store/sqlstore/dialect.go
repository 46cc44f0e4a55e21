// Package sqlstore is the store over database/sql. Engine has what every SQL database does alike (documents, leases,
// usage); Embedded adds admission for a database that one process owns, Shared for a server that many instances use. A
// database is a Dialect and a thin package with its driver. SQL here keeps to what SQLite, MySQL and PostgreSQL share.
//
// It has more than 1,500 lines because documents, leases, usage and its sums, migrations, saving in groups and admission
// share one connection, one transaction discipline and one way to report errors.
package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Dialect is what differs between databases.
type Dialect struct {
	// Numbered says that parameters are $1, $2... instead of ?.
	Numbered bool
	// Types replaces the words $KEY (text that is indexed, compared by bytes), $TEXT, $INT (64 bits), $BLOB and
	// $CLUSTERED (ends a table whose rows are small) in migrations.
	Types map[string]string
	// Cost and Unpriced are expressions over the body of a record, see rest: its micro-USD, and 1 where it is unpriced,
	// else 0: for records of programs that know no columns for them. The expressions look at text and do
	// not use JSON functions, some of which fail where a body holds hostile strings; they have no question mark.
	Cost, Unpriced string
	// Apart ends a query within another one that is to be worked out by itself; empty: all are. SQLite would sort whole
	// bodies of records with those that are added up, and look for costs in them afterwards.
	Apart string
	// PutCosts ends an INSERT ... SELECT into sluice_sums: where the row is there, only its costs are replaced.
	PutCosts string
	// Join is an aggregate, with %s for a column, that puts texts one after the other.
	Join string
	// HasTable is a query for the number of tables named by its one parameter.
	HasTable string
	// ForUpdate ends a SELECT whose rows the transaction will change; empty where writers take turns anyway.
	ForUpdate string
	// InsertNew is an INSERT of so many rows that leaves out those whose primary key is taken.
	InsertNew func(table string, cols []string, rows int) string
	// Upsert is an INSERT of so many rows that replaces the other columns where keys, the primary key, are taken.
	Upsert func(table string, keys, cols []string, rows int) string
	// Taken reports whether an error means that a primary key or unique index is taken.
	Taken func(error) bool

	// The rest is for servers; an embedded database leaves it out.

	// KeyBytes is the length of $KEY; what a client may choose is cut to it. 0: any length and any bytes.
	KeyBytes int
	// Isolation is asked for with each transaction. It must come to READ COMMITTED, because a statement after a lock
	// must see what the one who held it before has written.
	Isolation sql.IsolationLevel
	// LockAll is one statement that runs SELECTs, some of which lock rows, in the order given.
	LockAll func(selects []string) string
	// Again reports whether a transaction was rolled back for the sake of others and may be tried again.
	Again func(error) bool
	// Away reports whether an error means that the server cannot be reached or cannot serve now.
	Away func(error) bool
	// Made reports whether DDL failed because what it makes is there. Set where DDL ends a transaction, so that a
	// migration that was cut short is taken up again; nil where DDL is rolled back with the rest.
	Made func(error) bool
	// Lock waits for the right to migrate and holds it with the connection until release.
	Lock func(ctx context.Context, c *sql.Conn) (release func() error, err error)
}

// InsertRows is an INSERT of so many rows.
func InsertRows(table string, cols []string, rows int) string {
	return "INSERT INTO " + table + " (" + strings.Join(cols, ", ") + ") VALUES " +
		strings.TrimSuffix(strings.Repeat("("+Params(len(cols))+"), ", rows), ", ")
}

// query writes the parameters of a query, all given as ?, the way of the database.
func (d *Dialect) query(q string) string {
	if !d.Numbered {
		return q
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(q, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// Params is "?, ?, ?" for n parameters.
func Params(n int) string {
	return strings.TrimSuffix(strings.Repeat("?, ", n), ", ")
}

// key makes a string that a client chose fit for a $KEY column: valid UTF-8 without NUL, not too long.
func (d *Dialect) key(s string) string {
	if d.holds(s) {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) > d.KeyBytes {
		s = s[:d.KeyBytes]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}

// holds reports whether a $KEY column can hold the string as it is.
func (d *Dialect) holds(s string) bool {
	return d.KeyBytes == 0 || len(s) <= d.KeyBytes && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}
