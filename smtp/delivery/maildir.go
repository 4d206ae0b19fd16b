package delivery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Maildir keeps each message as a file: written and synced in tmp, then moved to new, and both directories synced. The
// directories are made when they are missing. A message for several recipients is written once for each directory.
type Maildir struct {
	Dir string // for everybody

	// For gives the directory of a recipient instead; an error, best a *mail.Reply, refuses him.
	For func(ctx context.Context, r *mail.Recipient) (dir string, err error)

	Hostname string // part of the file names; "": the name of this host
}

var _ mail.Door = (*Maildir)(nil)

// Check reports a Maildir without a directory.
func (d *Maildir) Check() error {
	if d.Dir == "" && d.For == nil {
		return errors.New("delivery: maildir has no directory")
	}
	return nil
}

func (d *Maildir) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }

// Begin accepts any sender.
func (d *Maildir) Begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	return &maildirTx{d: d, from: from}, nil
}

type maildirTx struct {
	d        *Maildir
	from     mail.Sender
	dirs     []string // one for each recipient
	fields   []mail.Field
	sp       *spool
	prepared map[string]string // directory to file in its tmp
	done     bool
}

func (tx *maildirTx) Recipient(ctx context.Context, r *mail.Recipient) error {
	dir := tx.d.Dir
	if r.Failed != nil {
		return r.Failed
	}
	if tx.d.For != nil {
		var err error
		if dir, err = tx.d.For(ctx, r); err != nil {
			return err
		}
	}
	if dir == "" {
		return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user")
	}
	tx.dirs = append(tx.dirs, dir)
	return nil
}

func (tx *maildirTx) Trace(fields ...mail.Field) {
	if tx.sp != nil {
		tx.sp.Trace(fields...)
		return
	}
	tx.fields = append(tx.fields, fields...)
}

// open makes the file, in the tmp of the first recipient.
func (tx *maildirTx) open() error {
	if tx.sp != nil {
		return nil
	}
	if len(tx.dirs) == 0 {
		return mail.NewReply(554, mail.Enhanced{5, 5, 1}, "No valid recipients")
	}
	if err := makeMaildir(tx.dirs[0]); err != nil {
		return failed("maildir", err)
	}
	sp, err := newSpool(filepath.Join(tx.dirs[0], "tmp"))
	if err != nil {
		return failed("maildir", err)
	}
	sp.fields = tx.fields
	tx.sp = sp
	return nil
}

func (tx *maildirTx) Write(p []byte) (int, error) {
	if err := tx.open(); err != nil {
		return 0, err
	}
	n, err := tx.sp.Write(p)
	if err != nil {
		return n, failed("maildir", err)
	}
	return n, nil
}

// Prepare writes and syncs the files, so that only their names are left to be changed.
func (tx *maildirTx) Prepare(context.Context) ([]mail.Reply, error) {
	if tx.done {
		return nil, errEnded
	}
	if tx.prepared == nil {
		if err := tx.prepare(); err != nil {
			return nil, failed("maildir", errors.Join(err, tx.Abort()))
		}
	}
	return all(len(tx.dirs), mail.OK()), nil
}

var errEnded = errors.New("delivery: transaction has ended")

func (tx *maildirTx) prepare() error {
	if err := tx.open(); err != nil {
		return err
	}
	tx.sp.Trace(mail.Field{Name: "Return-Path", Value: tx.from.Address.Path()}) // RFC 5321 section 4.4
	if err := tx.sp.finish(); err != nil {
		return err
	}
	tx.prepared = make(map[string]string)
	for _, dir := range tx.dirs {
		if tx.prepared[dir] != "" {
			continue
		}
		if err := makeMaildir(dir); err != nil {
			return err
		}
		name := filepath.Join(dir, "tmp", tx.d.name())
		write := tx.sp.copyTo
		if len(tx.prepared) == 0 {
			write = tx.sp.become
		}
		tx.prepared[dir] = name
		if err := write(name); err != nil {
			return err
		}
	}
	return nil
}

// name is unique as maildir(5) wants it: seconds, something of this delivery, host.
func (d *Maildir) name() string {
	host := d.Hostname
	if host == "" {
		host, _ = os.Hostname()
	}
	host = strings.NewReplacer("/", "\\057", ":", "\\072").Replace(host)
	now := time.Now()
	return fmt.Sprintf("%d.M%dP%dR%s.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), rand.Text(), host)
}

// Commit moves the files to new.
func (tx *maildirTx) Commit(ctx context.Context) ([]mail.Reply, error) {
	if _, err := tx.Prepare(ctx); err != nil {
		return nil, err
	}
	done := make(map[string]error)
	replies := make([]mail.Reply, len(tx.dirs))
	for i, dir := range tx.dirs {
		err, known := done[dir]
		if !known {
			err = moveToNew(dir, tx.prepared[dir])
			done[dir] = err
		}
		replies[i] = mail.OK()
		if err != nil {
			replies[i] = *mail.AsReply(failed("maildir", err))
		}
	}
	return replies, tx.Abort()
}

func moveToNew(dir, name string) error {
	if err := os.Rename(name, filepath.Join(dir, "new", filepath.Base(name))); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Join(dir, "new")), syncDir(filepath.Join(dir, "tmp")))
}

// Abort removes what is left in tmp.
func (tx *maildirTx) Abort() error {
	if tx.done {
		return nil
	}
	tx.done = true
	err := tx.sp.remove()
	for _, name := range tx.prepared {
		if rerr := os.Remove(name); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// makeMaildir makes what is missing and makes its name durable.
func makeMaildir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		return nil
	}
	for _, sub := range []string{"tmp", "cur", "new"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}
