package house

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mailbox"
)

// trainer teaches the guard what people do with their mail. What it is told is durable already; the teaching comes after it,
// one message at a time, and is lost where more comes than trainerLessons wait, or when the process ends: then the filter
// knows a message less, and "samotop junk retrain" makes up for it.
type trainer struct {
	content func(ctx context.Context, owner uint64, emailID string) (imap.Content, error)
	teach   teacher
	queue   chan lesson
	lost    atomic.Int64
	log     *slog.Logger
}

var _ mailbox.Observer = (*trainer)(nil)

type lesson struct {
	owner uint64
	email string
	kind  filter.Kind
}

// trainerLessons is how many messages may wait to be learned.
const trainerLessons = 4096

func newTrainer(m *mailbox.Mailbox, t teacher, log *slog.Logger) *trainer {
	return &trainer{content: m.Content, teach: t, queue: make(chan lesson, trainerLessons), log: log}
}

// Observe is of mailbox.Observer.
func (t *trainer) Observe(_ context.Context, e mailbox.Event) {
	for _, m := range e.Messages {
		kind, ok := lessonOf(&e, &m)
		if !ok || m.EmailID == "" {
			continue
		}
		select {
		case t.queue <- lesson{e.Owner, m.EmailID, kind}:
		default:
			if t.lost.Add(1) == 1 {
				t.log.Warn("more mail is sorted than the filter can learn; teach it later with \"samotop junk retrain\"", "owner", e.Owner)
			}
		}
	}
}

// lessonOf tells what an event teaches. Into Junk: unwanted. Out of Junk, but to the trash: wanted. What is filed away from
// the INBOX was wanted too. Mail programs that cannot move copy, or append.
func lessonOf(e *mailbox.Event, m *mailbox.EventMessage) (filter.Kind, bool) {
	switch e.Cause {
	case mailbox.Flagged:
		return keywordLesson(m)
	case mailbox.Moved, mailbox.Copied, mailbox.Appended:
	default:
		return 0, false
	}
	from, to := folderOf(&e.From), folderOf(&e.To)
	switch {
	case to == inJunk && from != inJunk:
		return filter.Spam, true
	case e.Cause == mailbox.Appended:
		return 0, false
	case from == inJunk && (to == inInbox || to == inOther):
		return filter.Ham, true
	case from == inInbox && to == inOther:
		return filter.Ham, true
	}
	return 0, false
}

// keywordLesson is about $Junk and $NotJunk (RFC 8457's registry), and the names that Thunderbird and Apple Mail have for them.
func keywordLesson(m *mailbox.EventMessage) (filter.Kind, bool) {
	has := func(list []string, names ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(s, n) })
		})
	}
	switch {
	case has(m.Added, "$NotJunk", "NonJunk", "NotJunk"):
		return filter.Ham, true
	case has(m.Added, "$Junk", "Junk"):
		return filter.Spam, true
	case has(m.Removed, "$Junk", "Junk", "$NotJunk", "NonJunk", "NotJunk"):
		return filter.Unknown, true
	}
	return 0, false
}

// What a folder says of the mail in it.
const (
	inInbox = iota
	inJunk
	inOther // where people keep mail
	inNone  // trash, drafts, sent mail, what contacts are asked by: nothing
)

func folderOf(f *mailbox.EventFolder) int {
	switch {
	case f.Name == "":
		return inNone
	case strings.EqualFold(f.Name, "INBOX"):
		return inInbox
	case slices.Contains(f.Use, imap.UseJunk), strings.EqualFold(f.Name, "Junk"), strings.EqualFold(f.Name, "Spam"):
		return inJunk
	case slices.Contains(f.Use, imap.UseTrash), slices.Contains(f.Use, imap.UseDrafts), slices.Contains(f.Use, imap.UseSent),
		strings.EqualFold(f.Name, "Trash"), f.Name == "Contacts", strings.HasPrefix(f.Name, "Contacts/"):
		return inNone
	}
	return inOther
}

// run teaches until ctx ends.
func (t *trainer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-t.queue:
			if err := t.one(ctx, l); err != nil && ctx.Err() == nil {
				t.log.Warn("a message could not be learned", "owner", l.owner, "email", l.email, "as", l.kind.String(), "err", err)
			}
		}
	}
}

func (t *trainer) one(ctx context.Context, l lesson) error {
	c, err := t.content(ctx, l.owner, l.email)
	if errors.Is(err, mailbox.ErrNoMessage) {
		return nil // it has gone meanwhile
	}
	if err != nil {
		return err
	}
	changed, err := t.teach.Learn(ctx, l.owner, l.email, l.kind, contentReader(ctx, c))
	if changed {
		t.log.Debug("learned", "owner", l.owner, "email", l.email, "as", l.kind.String())
	}
	return err
}

// contentReader reads a message of the mailbox, up to teachOctets.
func contentReader(ctx context.Context, c imap.Content) io.Reader {
	return &readContent{ctx: ctx, c: c, size: min(c.Size(), teachOctets)}
}

type readContent struct {
	ctx  context.Context
	c    imap.Content
	off  int64
	size int64
	buf  []byte
}

func (r *readContent) Read(p []byte) (int, error) {
	if r.off >= r.size {
		return 0, io.EOF
	}
	var err error
	if r.buf, err = r.c.Append(r.ctx, r.buf[:0], r.off, min(int64(len(p)), r.size-r.off)); err != nil {
		return 0, err
	}
	if len(r.buf) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, r.buf)
	r.off += int64(n)
	return n, nil
}
