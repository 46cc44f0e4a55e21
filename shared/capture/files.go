package capture

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// files keeps captures as files: folders for their owner alone (0700), files likewise (0600), each written under another name
// first. os.Root keeps every name below the folder, symbolic links included.
type files struct{ root *os.Root }

const tempPrefix = ".new-"

func openFiles(dir string) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder cannot be made: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the folder cannot be opened: %w", err)
	}
	return &files{root}, nil
}

func (f *files) close() { _ = f.root.Close() }

func (f *files) put(_ context.Context, key string, data []byte) error {
	dir := path.Dir(key)
	if err := f.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp := path.Join(dir, tempPrefix+rand.Text())
	w, err := f.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.root.Rename(temp, key)
	}
	if err != nil {
		_ = f.root.Remove(temp)
	}
	return err
}

func (f *files) get(_ context.Context, key string) ([]byte, error) {
	r, err := f.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	if err == nil && len(data) > maxObject {
		err = errDamaged
	}
	return data, err
}

func (f *files) folders(_ context.Context, under string) ([]string, error) {
	list, err := f.list(under, -1)
	var out []string
	for _, e := range list {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, err
}

// list reads at most n entries of a folder, with -1 all. What is not there is empty.
func (f *files) list(dir string, n int) ([]fs.DirEntry, error) {
	if dir == "" {
		dir = "."
	}
	d, err := f.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	list, err := d.ReadDir(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return list, err
}

func (f *files) remove(ctx context.Context, under string, most int) (removed int, err error) {
	if most <= 0 {
		return 0, nil
	}
	list, err := f.list(under, most+1)
	for _, e := range list {
		name := path.Join(under, e.Name())
		switch {
		case err != nil || ctx.Err() != nil:
			return removed, errors.Join(err, ctx.Err())
		case removed >= most:
			return removed, nil
		case e.IsDir():
			n, err := f.remove(ctx, name, most-removed)
			removed += n
			if err != nil {
				return removed, err
			}
			continue
		}
		if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			removed++
		}
	}
	if removed < most {
		// it may have got a new file meanwhile, or be gone: the next time tells
		_ = f.root.Remove(under)
	}
	return removed, err
}
