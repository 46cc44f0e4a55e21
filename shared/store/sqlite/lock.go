package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ErrInUse is in the error of Open when another process has the file open.
var ErrInUse = errors.New("in use")

// lock keeps other processes away. Its file stays, because removing it would race with the next to lock it.
type lock struct{ f *os.File }

// acquire locks a store's path.
func acquire(path string) (*lock, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the store: %w", err)
	}
	err = flock(f)
	if err == nil {
		err = note(f)
	}
	if errors.Is(err, ErrInUse) {
		err = fmt.Errorf("%s is %w by process %s: stop it, or use its admin API", path, ErrInUse, holder(f))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &lock{f}, nil
}

// note writes who has the lock.
func note(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "(unknown)"
}

func (l *lock) release() error {
	return errors.Join(l.f.Truncate(0), l.f.Close()) // closing unlocks
}
