// Package sqlstore is the store over database/sql. Engine has what every SQL database does alike (documents, leases,
// usage); Embedded adds admission for a database that one process owns. A database is a Dialect and a thin package with
// its driver. SQL here keeps to what SQLite, MySQL and PostgreSQL share.
//
// It has more than 1,500 lines because documents, leases, usage and its sums, migrations and saving in groups share one
// connection, one transaction discipline and one way to report errors.
package sqlstore

import (
	"strconv"
	"strings"
)

// Dialect is what differs between databases.
type Dialect struct {
	// Numbered says that parameters are $1, $2... instead of ?.
	Numbered bool
	// Types replaces the words $KEY (text that is indexed, compared by bytes), $TEXT, $INT (64 bits), $BLOB and
	// $CLUSTERED (ends a table whose rows are small) in migrations.
	Types map[string]string
	// HasTable is a query for the number of tables named by its one parameter.
	HasTable string
	// ForUpdate ends a SELECT whose rows the transaction will change; empty where writers take turns anyway.
	ForUpdate string
	// InsertNew is an INSERT of so many rows that leaves out those whose primary key is taken.
	InsertNew func(table string, cols []string, rows int) string
	// Upsert is an INSERT that replaces the other columns when keys, the primary key, are taken.
	Upsert func(table string, keys, cols []string) string
	// Taken reports whether an error means that a primary key or unique index is taken.
	Taken func(error) bool
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
