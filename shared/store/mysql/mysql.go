// Package mysql is the store on a MySQL (5.7.9 or later) or MariaDB (10.2 or later) server that many instances share.
// What it promises is said by sqlstore.Shared. Its tables begin with sluice_; it touches no others.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sluice/shared/store/sqlstore"

	mysql "github.com/go-sql-driver/mysql"
)

const (
	// keyBytes keeps the longest index, of five keys, within InnoDB's 3072 bytes.
	keyBytes = 500

	dialWithin = 5 * time.Second
)

// Options are for Open.
type Options struct {
	Logger *slog.Logger // is told when the server lets itself be waited for; nil: nobody is
}

// Store is a store in a database of a server.
type Store struct {
	*sqlstore.Shared
	Where string // for people: database and host, no secret
}

// Open opens the store in an existing database, making its tables when they are missing. dsn is a URL without its scheme
// (//user:password@host:3306/database?tls=true, percent-encoded) or, after // or not, what Go's driver takes
// (user:password@tcp(host:3306)/database?parseTime=true, as it stands). Parameters are the driver's and sluice_wait and
// sluice_max_conns, see sqlstore.CutSettings.
//
// A server that is not there yet is waited for. The error is one line without the password: wrong password, unknown
// database and missing rights end the waiting at once. store.ErrNewer when the tables need a newer program.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	cfg, settings, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errForm // its text may hold parts of the DSN
	}
	where := fmt.Sprintf("mysql database %s at %s", cfg.DBName, cfg.Addr)
	s, err := sqlstore.OpenShared(ctx, sqlstore.OpenOptions{
		Name: where, DB: sql.OpenDB(connector{c}), Dialect: dialect(), Settings: settings, Logger: o.Logger,
		Explain: func(err error) string { return explain(err, cfg) },
	})
	if err != nil {
		return nil, err
	}
	return &Store{Shared: s, Where: where}, nil
}

// connector makes connections whose transactions see what others committed before each statement.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	// As a statement, because the variable has another name on each kind of server.
	x, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot execute statements"), conn.Close())
	}
	if _, err = x.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

var errForm = errors.New("want mysql://user:password@host:3306/database (special characters percent-encoded) or user:password@tcp(host:3306)/database")

// driverForm recognises what Go's driver takes by its protocol or its missing host.
var driverForm = regexp.MustCompile(`(^|@)([a-zA-Z0-9]+\([^()]*\))?/[^/@()]*$`)

// parse reads a DSN and sets what the store needs, whatever the DSN says of it.
func parse(dsn string) (*mysql.Config, sqlstore.Settings, error) {
	dsn, settings, err := sqlstore.CutSettings(strings.TrimPrefix(dsn, "//"))
	if err != nil {
		return nil, settings, err
	}
	base, params, _ := strings.Cut(dsn, "?")
	if i := strings.LastIndex(dsn, "?"); i >= 0 {
		base, params = dsn[:i], dsn[i:]
	}
	if !driverForm.MatchString(base) {
		u, err := url.Parse("mysql://" + base)
		if err != nil || u.Host == "" {
			return nil, settings, errForm
		}
		base = mysqlBase(u)
	}
	cfg, err := mysql.ParseDSN(base + params)
	if err != nil {
		return nil, settings, errForm // its text may hold parts of the DSN
	}
	if cfg.DBName == "" {
		return nil, settings, errors.New("it names no database: " + errForm.Error())
	}
	return cfg, settings, demand(cfg)
}

// mysqlBase is a URL as the driver writes it.
func mysqlBase(u *url.URL) string {
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	base, _, _ := strings.Cut(c.FormatDSN(), "?")
	if strings.Contains(c.Passwd+c.User, "?") { // then so is the base
		base = c.User + ":" + c.Passwd + "@tcp(" + c.Addr + ")/" + url.PathEscape(c.DBName)
	}
	return base
}

// demand sets what the store needs.
func demand(cfg *mysql.Config) error {
	cfg.InterpolateParams = true // one trip a statement
	cfg.MultiStatements = false
	cfg.ClientFoundRows = false // a row that was there already must not count
	cfg.RejectReadOnly = true   // after a failover: look for the server that takes writes
	cfg.Logger = &mysql.NopLogger{}
	if cfg.Timeout == 0 {
		cfg.Timeout = dialWithin
	}
	params := map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION'",
		"innodb_lock_wait_timeout": "4",
		"default_storage_engine":   "InnoDB",
		"group_concat_max_len":     "1000000000", // of sketches; max_allowed_packet bounds it further
		"wait_timeout":             "60",         // the locks of an instance that vanished from the network end with its connection
	}
	if cfg.Params == nil {
		cfg.Params = params
	} else {
		maps.Copy(cfg.Params, params)
	}
	return cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin"))
}
