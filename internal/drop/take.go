package drop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/samotop/samotop/mail"
)

// Defaults of a Taker.
const (
	DefaultEvery     = 5 * time.Second
	DefaultMaxOctets = 256 << 20
)

// Pauses of a Taker.
const (
	batch         = 256            // names read at once
	abandonedTime = 24 * time.Hour // an unfinished file this old has nobody who writes it
)

// Taker hands what was dropped to the house. Dir and Take are required.
type Taker struct {
	Dir     string
	Refused string // where refused messages go; "": Dir with ".refused" at its end
	// Take keeps a message, durably. A *mail.Reply that is permanent refuses it; with any other error it stays and comes again.
	Take      func(ctx context.Context, m *Item) error
	MaxOctets int64         // of a file, envelope and content; 0: 256 MiB
	Every     time.Duration // looks again after; 0: 5 s
	Log       *slog.Logger  // nil: none
}

// Item is one message.
type Item struct {
	Envelope
	ID      string // its file, without the suffix
	UID     int    // the user who wrote it
	Content io.Reader
	Written time.Time
}

// Run takes what is there and looks again now and then, until ctx ends.
func (t *Taker) Run(ctx context.Context) {
	every := t.Every
	if every <= 0 {
		every = DefaultEvery
	}
	for {
		if _, err := t.Pass(ctx); err != nil && ctx.Err() == nil {
			t.log().Error("dropped mail is not looked at", "dir", t.Dir, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

func (t *Taker) log() *slog.Logger {
	if t.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Log
}

// Pass takes what is there now, once, and returns how many messages the house took.
func (t *Taker) Pass(ctx context.Context) (taken int, err error) {
	d, err := os.Open(t.Dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for ctx.Err() == nil {
		names, err := d.Readdirnames(batch)
		for _, name := range names {
			if ctx.Err() != nil {
				break
			}
			switch {
			case strings.HasSuffix(name, suffix):
				if t.one(ctx, name) {
					taken++
				}
			case strings.HasSuffix(name, unfinished):
				t.sweep(name)
			}
		}
		if errors.Is(err, io.EOF) || len(names) == 0 {
			if taken > 0 {
				return taken, d.Sync()
			}
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
	}
	return taken, ctx.Err()
}

// sweep takes away what a program left that was killed.
func (t *Taker) sweep(name string) {
	path := filepath.Join(t.Dir, name)
	if fi, err := os.Lstat(path); err == nil && time.Since(fi.ModTime()) > abandonedTime {
		if err := os.Remove(path); err != nil {
			t.log().Warn("an unfinished file stays", "file", path, "err", err)
		}
	}
}

// one hands one file over and takes it away; false if it stays.
func (t *Taker) one(ctx context.Context, name string) bool {
	path := filepath.Join(t.Dir, name)
	err := t.hand(ctx, path, strings.TrimSuffix(name, suffix))
	var refused *mail.Reply
	switch {
	case err == nil:
		if err := os.Remove(path); err != nil {
			t.log().Error("dropped mail that was taken cannot be removed: it is handed over again", "file", path, "err", err)
		}
		return true
	case errors.Is(err, fs.ErrNotExist):
		return false
	case errors.As(err, &refused) && refused.Permanent(), errors.Is(err, errForm):
		t.refuse(path, name, err)
	default:
		t.log().Warn("dropped mail waits", "file", path, "err", err)
	}
	return false
}

// errForm: a file is none that Put has written.
var errForm = errors.New("it is not a message that samotop sendmail wrote")

func (t *Taker) refuse(path, name string, cause error) {
	dir := t.Refused
	if dir == "" {
		dir = t.Dir + ".refused"
	}
	to := filepath.Join(dir, name)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(path, to)
	}
	if err != nil {
		t.log().Error("dropped mail is refused and stays", "file", path, "cause", cause, "err", err)
		return
	}
	t.log().Error("dropped mail is refused; look at the file, send it anew or remove it", "file", to, "cause", cause)
}

// hand opens a file and gives it to Take.
func (t *Taker) hand(ctx context.Context, path, id string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%w: it is a link", errForm)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	limit := t.MaxOctets
	if limit <= 0 {
		limit = DefaultMaxOctets
	}
	switch {
	case !ok || !fi.Mode().IsRegular():
		return fmt.Errorf("%w: it is not a file", errForm)
	case st.Nlink != 1: // somebody may have linked to another's file
		return fmt.Errorf("%w: it has %d names", errForm, st.Nlink)
	case fi.Size() > limit:
		return fmt.Errorf("%w: %d octets, more than %d", errForm, fi.Size(), limit)
	}
	r := bufio.NewReaderSize(io.LimitReader(f, limit), 64<<10)
	e, err := readEnvelope(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	if e.Token == "" {
		e.Token = id
	}
	return t.Take(ctx, &Item{Envelope: e, ID: id, UID: int(st.Uid), Content: r, Written: fi.ModTime()})
}

// Token makes of an Envelope's token one that no other user's message can have.
func Token(uid int, s string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(uid) + "\x00" + s))
	return "drop-" + hex.EncodeToString(sum[:16])
}
