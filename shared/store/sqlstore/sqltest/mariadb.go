//go:build unix

package sqltest

import (
	"os"
	"path/filepath"
	"testing"
)

// Login is the user and password that MariaDB's server knows. The password is in no error and no log line.
const Login = "sluice:hunter2"

// MariaDB starts a server of its own, with Login as its administrator and no database, or skips as Missing does. The caller
// waits until it answers.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	install, program := Program("mariadb-install-db"), Program("mariadbd", "/usr/sbin/mariadbd")
	if install == "" || program == "" {
		Missing(tb, "mysql", "there is no mariadbd (apt-get install mariadb-server)")
	}
	dir, as := Dir(tb, "mysql")
	data := filepath.Join(dir, "data")
	Do(tb, as, dir, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	setup := filepath.Join(dir, "setup.sql")
	text := "CREATE USER IF NOT EXISTS sluice@'127.0.0.1' IDENTIFIED BY 'hunter2';\nGRANT ALL ON *.* TO sluice@'127.0.0.1' WITH GRANT OPTION;\n"
	if err := os.WriteFile(setup, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	s := NewServer(tb, as, dir, program, func(port string) []string {
		return []string{"--no-defaults", "--datadir=" + data, "--socket=" + filepath.Join(dir, "s"), "--pid-file=" + filepath.Join(dir, "pid"),
			"--bind-address=127.0.0.1", "--skip-networking=0", "--port=" + port, "--init-file=" + setup, "--skip-name-resolve", "--skip-log-bin",
			"--innodb-flush-log-at-trx-commit=2", "--max-connections=300"} // what was answered survives the program, if not the machine
	})
	s.Up(tb)
	return s
}

// DSN addresses a database of the server, as the MySQL driver and Guide A write it.
func (s *Server) DSN(database string) string {
	return Login + "@tcp(127.0.0.1:" + s.Port + ")/" + database + "?parseTime=true"
}
