package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/samotop/samotop/mail"
)

// Mbox appends messages to one file in the mboxrd form: lines end in LF, each line of ">"s and "From " gets one more
// ">". While it writes, PATH.lock exists, as mail programs agree. An append that fails is taken back. Messages that come
// while others are written share their sync.
type Mbox struct {
	Path        string
	LockTimeout time.Duration // wait for the lock; 0: 30 seconds
	LockStale   time.Duration // a lock that is older was left by a program that died; 0: 15 minutes

	appends group
}

var _ mail.Door = (*Mbox)(nil)

// Check reports an Mbox without a file.
func (d *Mbox) Check() error {
	if d.Path == "" {
		return errors.New("delivery: mbox has no path")
	}
	return nil
}

func (d *Mbox) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }

// Begin accepts any sender.
func (d *Mbox) Begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	return newSpooled(from, "", d.appends.finisher("", "mbox", d.append))
}

// append appends some messages with one lock and one sync. If that fails all of them are taken back.
func (d *Mbox) append(some []*appending) {
	unlock, err := d.lock(context.Background())
	if err != nil {
		failAll(some, err)
		return
	}
	defer unlock()
	f, err := os.OpenFile(d.Path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		failAll(some, err)
		return
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		if err = writeAll(f, size, some); err == nil {
			err = f.Sync()
		}
		if err != nil {
			err = errors.Join(err, f.Truncate(size))
		}
	}
	err = errors.Join(err, f.Close())
	if err == nil && size == 0 {
		err = syncDir(filepath.Dir(d.Path))
	}
	if err != nil {
		failAll(some, err)
	}
}

// writeAll writes the messages at the end of the file; one that cannot be read is left out alone.
func writeAll(f *os.File, at int64, some []*appending) error {
	for _, a := range some {
		if a.err = writeMbox(f, a.from, a.content); a.err == nil {
			var err error
			if at, err = f.Seek(0, io.SeekCurrent); err != nil {
				return err
			}
			continue
		}
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
		if err := f.Truncate(at); err != nil {
			return err
		}
	}
	return nil
}

// lock makes PATH.lock.
func (d *Mbox) lock(ctx context.Context) (unlock func(), err error) {
	name := d.Path + ".lock"
	wait, stale := 30*time.Second, 15*time.Minute
	if d.LockTimeout > 0 {
		wait = d.LockTimeout
	}
	if d.LockStale > 0 {
		stale = d.LockStale
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = f.Close()
			return func() { _ = os.Remove(name) }, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		if st, err := os.Stat(name); err == nil && time.Since(st.ModTime()) > stale {
			_ = os.Remove(name)
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s is held by another: %w", name, ctx.Err())
		}
	}
}

// writeMbox writes one message with its From line and the blank line after it.
func writeMbox(w io.Writer, from mail.Sender, content io.Reader) error {
	out := bufio.NewWriterSize(w, bufferOctets)
	sender := from.Address.String()
	if sender == "" || bytes.ContainsAny([]byte(sender), " \t") {
		sender = "MAILER-DAEMON"
	}
	fmt.Fprintf(out, "From %s %s\n", sender, time.Now().UTC().Format(time.ANSIC))
	fmt.Fprintf(out, "Return-Path: %s\n", from.Address.Path())
	q := &mboxQuoter{w: out, begin: true}
	if _, err := io.Copy(&lfWriter{w: q}, content); err != nil {
		return err
	}
	if len(q.held) > 0 { // the content ended within such a line
		_, _ = out.Write(q.held)
	}
	if !q.begin {
		_ = out.WriteByte('\n')
	}
	_ = out.WriteByte('\n')
	return out.Flush()
}

// mboxQuoter puts ">" in front of lines that would be read as the beginning of a message, or as such a line quoted.
type mboxQuoter struct {
	w     *bufio.Writer
	begin bool   // at the beginning of a line
	held  []byte // of a line that may turn out to be one
}

var fromLine = []byte("From ")

// maxHeld is how many octets of the beginning of a line are held; "From " behind more ">"s than that is not quoted.
const maxHeld = 256

func (q *mboxQuoter) Write(p []byte) (int, error) {
	for _, c := range p {
		if q.begin || len(q.held) > 0 {
			q.begin = false
			q.held = append(q.held, c)
			rest := bytes.TrimLeft(q.held, ">")
			switch {
			case bytes.HasPrefix(rest, fromLine):
				_ = q.w.WriteByte('>')
			case bytes.HasPrefix(fromLine, rest) && len(q.held) < maxHeld:
				continue
			}
			if _, err := q.w.Write(q.held); err != nil {
				return 0, err
			}
			q.begin = c == '\n'
			q.held = q.held[:0]
			continue
		}
		if err := q.w.WriteByte(c); err != nil {
			return 0, err
		}
		q.begin = c == '\n'
	}
	return len(p), nil
}
