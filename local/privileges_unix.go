//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// become drops root for good, in every thread.
func become(uid, gid int) error {
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return err
	}
	if err := syscall.Setgid(gid); err != nil {
		return err
	}
	if err := syscall.Setuid(uid); err != nil {
		return err
	}
	if syscall.Setuid(0) == nil {
		return errors.New("root could be had back")
	}
	return nil
}

func ownedBy(root *os.Root, path string, uid, gid int) (bool, error) {
	info, err := root.Lstat(path)
	if err != nil {
		return false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid && int(st.Gid) == gid, nil
}
