package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

// The documents of KindMeta that hold secrets, the keyring and, where it has no better place, the master key.
const (
	metaSeal   = "seal"
	metaMaster = "master"
)

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// unseal opens the installation's keyring, or makes one on the first start.
func (a *App) unseal(ctx context.Context, c *config.Config) error {
	var ring seal.Keyring
	err := a.Tables.ReadMeta(ctx, metaSeal, &ring)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing {
		return fmt.Errorf("keyring: %w", err)
	}
	master, source, err := a.masterKey(ctx, c, missing)
	if err != nil {
		return err
	}
	if missing {
		fresh, _, nerr := seal.NewKeyring(ctx, master)
		if nerr != nil {
			return fmt.Errorf("%s: %w", source, nerr)
		}
		// another instance may be first: then its keyring counts
		if cerr := a.Tables.CreateMeta(ctx, metaSeal, fresh); cerr != nil && !errors.Is(cerr, store.ErrExists) {
			return cerr
		}
		err = a.Tables.ReadMeta(ctx, metaSeal, &ring)
	}
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	a.Box, err = ring.Open(ctx, master)
	if errors.Is(err, seal.ErrWrongKey) {
		return fmt.Errorf("%s: this master key does not open %s; use the one it was first started with", source, a.Opened.Where)
	}
	return err
}

// masterKey finds the master key: SLUICE_MASTER_KEY, else the file beside an embedded store, made when missing, else one
// in the store itself. Only on a first start one is made: where there is a keyring already, a new key would not open it.
func (a *App) masterKey(ctx context.Context, c *config.Config, first bool) (m *seal.LocalKey, source string, err error) {
	if !c.MasterKey.IsZero() {
		if m, err = seal.ParseLocalKey(c.MasterKey); err != nil {
			err = fmt.Errorf("SLUICE_MASTER_KEY: %w", err)
		}
		return m, "SLUICE_MASTER_KEY", err
	}
	if a.Opened.File != "" {
		path := a.Opened.File + ".key"
		m, err = keyFile(path, first)
		return m, path, err
	}
	source = "master key kept in the store"
	var text string
	err = a.Tables.ReadMeta(ctx, metaMaster, &text)
	if errors.Is(err, store.ErrNotFound) && !first {
		return nil, source, errors.New("SLUICE_MASTER_KEY: must be set: the store was first started with one")
	}
	if errors.Is(err, store.ErrNotFound) {
		if cerr := a.Tables.CreateMeta(ctx, metaMaster, seal.NewLocalKey().Reveal()); cerr != nil && !errors.Is(cerr, store.ErrExists) {
			return nil, source, cerr
		}
		err = a.Tables.ReadMeta(ctx, metaMaster, &text)
	}
	if err != nil {
		return nil, source, err
	}
	a.Notes = append(a.Notes, "warning: the master key lies in the store itself, so it protects nothing from who reads that store; set SLUICE_MASTER_KEY")
	m, err = seal.ParseLocalKey(core.NewSecret(text))
	return m, source, err
}

// keyFile reads the master key of an embedded store, or makes it on a first start. It is written whole or not at all.
func keyFile(path string, first bool) (*seal.LocalKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !first {
		return nil, fmt.Errorf("%s: the master key of this database is missing; put the file back, or set SLUICE_MASTER_KEY to what it held", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := writeKeyFile(path, seal.NewLocalKey()); err != nil {
			return nil, err
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	m, err := seal.ParseLocalKey(core.NewSecret(strings.TrimSpace(string(data))))
	if err != nil {
		return nil, fmt.Errorf("%s: this master key file is damaged; put back the one the database was first started with", path)
	}
	return m, nil
}

func writeKeyFile(path string, key core.Secret) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(key.Reveal() + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the new name last: the database must not outlive its key in a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		return nil // some systems sync no directories
	}
	return err
}
