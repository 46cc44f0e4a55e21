package importer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Source is a database to import from. Nothing in it is ever changed.
type Source interface {
	// Tables returns the names of its tables.
	Tables(ctx context.Context) ([]string, error)
	// Columns returns the names of a table's columns.
	Columns(ctx context.Context, table string) ([]string, error)
	// Rows calls each for every row of a table, in no order, and ends with the first error of each. A Row is valid
	// until each returns.
	Rows(ctx context.Context, table string, each func(*Row) error) error
	// Close releases it.
	Close() error
}

// Row is one row. Columns that the table has not, and NULL, read as empty: databases of all ages have some of them.
type Row struct {
	cols map[string]int
	vals []any
}

// NewRow makes a row from columns and values; values are what database/sql scans into an any.
func NewRow(cols []string, vals []any) *Row {
	r := &Row{cols: make(map[string]int, len(cols)), vals: vals}
	for i, c := range cols {
		r.cols[strings.ToLower(c)] = i
	}
	return r
}

func (r *Row) value(col string) any {
	if i, ok := r.cols[col]; ok && i < len(r.vals) {
		return r.vals[i]
	}
	return nil
}

// Has reports whether a column is there and not NULL.
func (r *Row) Has(col string) bool { return r.value(col) != nil }

// Text returns a column as text without blanks around it.
func (r *Row) Text(col string) string {
	switch v := r.value(col).(type) {
	case nil:
		return ""
	case string:
		return strings.TrimSpace(v)
	case []byte:
		return strings.TrimSpace(string(v))
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	default:
		return strings.TrimSpace(fmt.Sprint(v))
	}
}

// Float returns a column as a number; 0 when it is none.
func (r *Row) Float(col string) float64 {
	switch v := r.value(col).(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0
		}
		return v
	case int64:
		return float64(v)
	case bool:
		if v {
			return 1
		}
		return 0
	}
	f, err := strconv.ParseFloat(r.Text(col), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// Int returns a column as a whole number; 0 when it is none or too large.
func (r *Row) Int(col string) int64 {
	if v, ok := r.value(col).(int64); ok {
		return v
	}
	f := r.Float(col)
	if f > math.MaxInt64/2 || f < math.MinInt64/2 {
		return 0
	}
	return int64(f)
}

// Bool returns a column as a truth: 1, true, t, yes, on.
func (r *Row) Bool(col string) bool {
	switch v := r.value(col).(type) {
	case bool:
		return v
	case []byte: // BIT(1)
		if len(v) == 1 && v[0] <= 1 {
			return v[0] == 1
		}
	}
	switch strings.ToLower(r.Text(col)) {
	case "true", "t", "yes", "on":
		return true
	}
	return r.Float(col) != 0
}

// timeLayouts are what drivers and the old programs write; times without a zone are taken as UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02 15:04:05.999999999-07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", time.DateOnly}

// Time returns a column as a time in UTC; zero when it is none. Numbers are seconds or, when large, milliseconds since 1970.
func (r *Row) Time(col string) time.Time {
	if t, ok := r.value(col).(time.Time); ok {
		return sane(t)
	}
	s, _, _ := strings.Cut(r.Text(col), " m=") // the clock reading of a Go time that was printed
	for _, l := range timeLayouts {
		if t, err := time.Parse(l, s); err == nil {
			return sane(t)
		}
	}
	switch n := r.Int(col); {
	case n <= 0:
		return time.Time{}
	case n > 1e11:
		return sane(time.UnixMilli(n))
	default:
		return sane(time.Unix(n, 0))
	}
}

func sane(t time.Time) time.Time {
	if t.Year() < 2000 || t.Year() > 2200 { // MySQL's zero date, a wrong clock
		return time.Time{}
	}
	return t.UTC()
}

// SQL is a Source over database/sql.
type SQL struct {
	db     *sql.DB
	tables string // query of the names
	quote  string
}

// NewSQLite makes a Source of a SQLite database. Close closes it.
func NewSQLite(db *sql.DB) *SQL {
	return &SQL{db: db, tables: "SELECT name FROM sqlite_master WHERE type = 'table'", quote: `"`}
}

// NewMySQL makes a Source of a MySQL or MariaDB database. Close closes it.
func NewMySQL(db *sql.DB) *SQL {
	return &SQL{db: db, tables: "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()", quote: "`"}
}

// NewPostgres makes a Source of a PostgreSQL database: of the first schema in the search path. Close closes it.
func NewPostgres(db *sql.DB) *SQL {
	return &SQL{db: db, tables: "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()", quote: `"`}
}

// Tables implements Source.
func (s *SQL) Tables(ctx context.Context) (out []string, err error) {
	rows, err := s.db.QueryContext(ctx, s.tables)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, rows.Err()
}

func (s *SQL) open(ctx context.Context, table, limit string) (*sql.Rows, []string, error) {
	if strings.Contains(table, s.quote) {
		return nil, nil, fmt.Errorf("table %q: no such table", table)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT * FROM "+s.quote+table+s.quote+limit)
	if err != nil {
		return nil, nil, fmt.Errorf("table %s: %w", table, err)
	}
	cols, err := rows.Columns()
	if err != nil {
		return nil, nil, errors.Join(err, rows.Close())
	}
	return rows, cols, nil
}

// Columns implements Source.
func (s *SQL) Columns(ctx context.Context, table string) ([]string, error) {
	rows, cols, err := s.open(ctx, table, " LIMIT 0")
	if err != nil {
		return nil, err
	}
	return cols, rows.Close()
}

// Rows implements Source.
func (s *SQL) Rows(ctx context.Context, table string, each func(*Row) error) (err error) {
	rows, cols, err := s.open(ctx, table, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	vals, ptrs := make([]any, len(cols)), make([]any, len(cols))
	for i := range vals {
		ptrs[i] = &vals[i]
	}
	r := NewRow(cols, vals)
	for rows.Next() {
		if err := rows.Scan(ptrs...); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Close implements Source.
func (s *SQL) Close() error { return s.db.Close() }

// IsQccPlus reports whether a database holds the older gateway's tables.
func IsQccPlus(ctx context.Context, s Source) (bool, error) {
	tables, err := s.Tables(ctx)
	if err != nil || !slices.Contains(tables, "nodes") || !slices.Contains(tables, "config") && !slices.Contains(tables, "accounts") {
		return false, err
	}
	cols, err := s.Columns(ctx, "nodes")
	return slices.Contains(cols, "base_url") && slices.Contains(cols, "api_key"), err
}

// IsAmq2API reports whether a database holds the older pool's tables.
func IsAmq2API(ctx context.Context, s Source) (bool, error) {
	tables, err := s.Tables(ctx)
	if err != nil || !slices.Contains(tables, "accounts") {
		return false, err
	}
	cols, err := s.Columns(ctx, "accounts")
	return slices.Contains(cols, "refresh_token") && slices.Contains(cols, "client_id") && slices.Contains(cols, "client_secret"), err
}
