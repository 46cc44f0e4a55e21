package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// runAs is "uid:gid" in the container image, where the linker sets it (see Dockerfile), and empty elsewhere.
var runAs = ""

// dataFolder is where the image keeps everything, below its working folder /app.
const dataFolder = "data"

// leaveRoot makes a process that the image started as root an ordinary user, after giving that user the data folder: a
// folder that Docker mounts belongs to whoever made it on the host. It changes nothing when the process is not root.
func leaveRoot(to, command string) error {
	if to == "" || os.Geteuid() != 0 {
		return nil
	}
	u, g, _ := strings.Cut(to, ":")
	uid, uerr := strconv.Atoi(u)
	gid, gerr := strconv.Atoi(g)
	if uerr != nil || gerr != nil || uid <= 0 || gid <= 0 {
		return fmt.Errorf("this program was built to run as %q, which is no uid:gid of an ordinary user", to)
	}
	if command != "healthcheck" { // it only asks
		if err := takeOver(dataFolder, uid, gid); err != nil {
			return fmt.Errorf("the folder %s cannot be given to user %s: %w; make it writable for that user, or start the container with --user and the user that owns it", dataFolder, to, err)
		}
	}
	if err := become(uid, gid); err != nil {
		return fmt.Errorf("cannot become user %s: %w; start the container with --user %s, or with the capabilities SETUID and SETGID", to, err, to)
	}
	return nil
}

// takeOver gives a folder and all in it to a user. Links are not followed, so that nothing outside is given away.
func takeOver(dir string, uid, gid int) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			var is bool
			if is, err = ownedBy(root, path, uid, gid); err == nil && !is {
				err = root.Lchown(path, uid, gid)
			}
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS) {
			return nil // gone in between, or mounted to be read only
		}
		return err
	})
}
