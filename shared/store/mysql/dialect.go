package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sluice/shared/store/sqlstore"

	mysql "github.com/go-sql-driver/mysql"
)

// The server's error numbers.
const (
	tooManyConns    = 1040
	dbDenied        = 1044
	accessDenied    = 1045
	noDatabase      = 1049
	tableExists     = 1050
	shutdown        = 1053
	columnExists    = 1060
	indexExists     = 1061
	duplicate       = 1062
	keyTooLong      = 1071
	hostBlocked     = 1129
	hostDenied      = 1130
	tableDenied     = 1142
	tooManyOfUser   = 1203
	lockWait        = 1205
	deadlock        = 1213
	denied          = 1227
	readOnlyServer  = 1290
	socketDenied    = 1698
	readOnlyMode    = 1836
	killed          = 1927
	migrateSeconds  = 120
	longestLockName = 64
)

// is reports whether the server answered with one of the numbers.
func is(err error, numbers ...uint16) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return false
	}
	for _, n := range numbers {
		if e.Number == n {
			return true
		}
	}
	return false
}

// dialect is MySQL's and MariaDB's.
func dialect() sqlstore.Dialect {
	// VARBINARY compares bytes: case counts, trailing spaces count, and the order is that of the bytes.
	return sqlstore.Dialect{
		Types: map[string]string{"$KEY": "VARBINARY(" + strconv.Itoa(keyBytes) + ")", "$TEXT": "MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
			"$INT": "BIGINT", "$BLOB": "LONGBLOB", "$CLUSTERED": ""},
		Cost:      `CASE LOCATE('"q":', body) WHEN 0 THEN 0 ELSE CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(SUBSTRING_INDEX(body, '"q":', -1), ',', 1), '}', 1) AS SIGNED) END`,
		Unpriced:  `CASE LOCATE('"z":true', body) WHEN 0 THEN 0 ELSE 1 END`,
		PutCosts:  "ON DUPLICATE KEY UPDATE cost_usd = VALUES(cost_usd), unpriced = VALUES(unpriced)",
		Join:      "GROUP_CONCAT(%s SEPARATOR '')",
		HasTable:  "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
		ForUpdate: " FOR UPDATE",
		InsertNew: func(table string, cols []string, rows int) string {
			// not INSERT IGNORE, which passes over other errors, too
			return sqlstore.InsertRows(table, cols, rows) + " ON DUPLICATE KEY UPDATE " + cols[0] + " = " + table + "." + cols[0]
		},
		Upsert: func(table string, keys, cols []string, rows int) string {
			sets := make([]string, len(cols))
			for i, c := range cols {
				sets[i] = c + " = VALUES(" + c + ")"
			}
			all := append(append([]string(nil), keys...), cols...)
			return sqlstore.InsertRows(table, all, rows) + " ON DUPLICATE KEY UPDATE " + strings.Join(sets, ", ")
		},
		Taken:    func(err error) bool { return is(err, duplicate) },
		KeyBytes: keyBytes,
		LockAll: func(selects []string) string {
			if len(selects) == 1 {
				return selects[0]
			}
			return "(" + strings.Join(selects, ") UNION ALL (") + ")"
		},
		Again: func(err error) bool { return is(err, deadlock, lockWait) },
		Away: func(err error) bool {
			return is(err, tooManyConns, shutdown, tooManyOfUser, readOnlyServer, readOnlyMode, killed) ||
				errors.Is(err, mysql.ErrInvalidConn) || sqlstore.Unreachable(err)
		},
		Made: func(err error) bool { return is(err, tableExists, columnExists, indexExists) },
		Lock: lock,
	}
}

// lock takes the server's lock that is named after the database. It ends with the connection at the latest.
func lock(ctx context.Context, c *sql.Conn) (release func() error, err error) {
	if _, err := c.ExecContext(ctx, "SET SESSION wait_timeout = 28800"); err != nil { // it idles while others work
		return nil, err
	}
	name := fmt.Sprintf("LEFT(CONCAT('sluice.', MD5(DATABASE())), %d)", longestLockName)
	var got sql.NullInt64
	if err := c.QueryRowContext(ctx, fmt.Sprintf("SELECT GET_LOCK(%s, %d)", name, migrateSeconds)).Scan(&got); err != nil {
		return nil, err
	}
	if got.Int64 != 1 {
		return nil, fmt.Errorf("another instance has been migrating the tables for %d s: look at its log, or end its connection", migrateSeconds)
	}
	return func() error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK("+name+")")
		return err
	}, nil
}

// explain says what an error at start means.
func explain(err error, cfg *mysql.Config) string {
	switch {
	case is(err, accessDenied, socketDenied):
		return fmt.Sprintf("the server refuses the user %q with this password", cfg.User)
	case is(err, noDatabase):
		return fmt.Sprintf("there is no database %q: make it (CREATE DATABASE `%s`) or correct the name", cfg.DBName, cfg.DBName)
	case is(err, dbDenied, tableDenied, denied):
		return fmt.Sprintf("the user %q needs all rights on the database (GRANT ALL ON `%s`.* TO '%s'@'%%')", cfg.User, cfg.DBName, cfg.User)
	case is(err, hostDenied, hostBlocked):
		return "the server does not let this host in"
	case is(err, keyTooLong):
		return "the server is too old: MySQL 5.7.9 or MariaDB 10.2 is needed, with innodb_default_row_format=dynamic"
	}
	return ""
}
