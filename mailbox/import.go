package mailbox

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// newFolderTries is how often a batch looks for a folder that another one is making at the same moment, and that is there
// for readers once it is on disk.
const newFolderTries = 1000

// appendToNew makes the folder first.
func appendToNew(ctx context.Context, acct imap.Account, folder string) (imap.Appender, error) {
	_, made := acct.Create(ctx, folder, nil)
	for tries := 0; ; tries++ {
		ap, err := acct.Append(ctx, folder)
		switch {
		case err == nil && made == nil:
			return ap, acct.Subscribe(ctx, folder, true)
		case err == nil:
			return ap, nil
		case !hasCode(made, "ALREADYEXISTS") || !hasCode(err, "TRYCREATE") || tries == newFolderTries:
			return nil, errors.Join(made, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func hasCode(err error, code string) bool {
	var e *imap.Error
	return errors.As(err, &e) && e.Code == code
}

// Import begins one batch of messages that come from elsewhere, into a folder of the account of s.Login, which is made
// if it is not there. Each message has an id: one that was stored with the same id in this account before is passed
// over, as a repeated delivery is, for Limits.DeliveryIDAge at least. The Observer is not told: to move in is no
// decision about mail.
func (m *Mailbox) Import(ctx context.Context, s *mail.Session, folder string) (*Importing, error) {
	acct, err := m.QuietBackend().Open(ctx, s)
	if err != nil {
		return nil, err
	}
	ap, err := acct.Append(ctx, folder)
	if hasCode(err, "TRYCREATE") {
		ap, err = appendToNew(ctx, acct, folder)
	}
	if err != nil {
		return nil, errors.Join(err, acct.Close())
	}
	return &Importing{appending: ap.(*appending)}, nil
}

// Importing is a batch of Import. It is used by one goroutine, and closed in the end.
type Importing struct {
	appending *appending
	ids       [][16]byte
}

// Next begins a message, whose content goes to the Writer; the one before is complete then.
func (im *Importing) Next(ctx context.Context, id string, o imap.AppendOptions) (io.Writer, error) {
	w, err := im.appending.Next(ctx, o)
	if err != nil {
		return nil, err
	}
	sum := im.appending.m.keyed('d', "import\x00"+id)
	im.ids = append(im.ids, [16]byte(sum[:16]))
	return w, nil
}

// Commit makes the messages durable, all of them or none, but those that were stored before, which are counted.
func (im *Importing) Commit(ctx context.Context) (stored, repeated int, err error) {
	a := im.appending
	if a.ended {
		return 0, 0, &imap.Error{Bad: true, Text: "The batch has ended"}
	}
	defer a.Abort()
	if err := a.finishLast(); err != nil {
		return 0, 0, err
	}
	again := false
	err = a.change(ctx, func(p *part, r store.Reader) error {
		stored, repeated = 0, 0
		b, err := p.named(ctx, r, a.name)
		if err != nil {
			return err
		}
		if b == nil {
			return no("NONEXISTENT", "Mailbox %q does not exist", a.name)
		}
		if !p.fits(&a.owner, a.octets, int64(len(a.messages))) {
			return errQuota
		}
		for i := range a.messages {
			known, err := im.known(ctx, p, r, i, again)
			if err != nil {
				return err
			}
			if known {
				repeated++
				continue
			}
			if err := im.store(ctx, p, r, b, i); err != nil {
				return err
			}
			stored++
		}
		again = true
		return nil
	})
	return stored, repeated, err
}

// known tells whether the id of a message has come before. The first time it relies on what the batch asserts.
func (im *Importing) known(ctx context.Context, p *part, r store.Reader, i int, again bool) (bool, error) {
	for _, u := range p.c.ids {
		if u.account == p.id && u.id == im.ids[i] {
			return true, nil
		}
	}
	if !again {
		return false, nil
	}
	return p.m.buckets.stored(ctx, r, &p.c.ar, p.id, im.ids[i])
}

func (im *Importing) store(ctx context.Context, p *part, r store.Reader, b *box, i int) error {
	m := &im.appending.messages[i]
	words, err := p.keywordIDs(ctx, r, b, m.options.Flags.Keywords, true)
	if err != nil {
		return err
	}
	date := m.options.Date
	if date.IsZero() {
		date = p.m.now()
	}
	_, e, err := p.arrive(ctx, r, b, &arrival{in: m.in, system: m.options.Flags.System, keywords: words, date: date})
	if err == nil {
		p.c.ids = append(p.c.ids, deliveryUse{p.id, im.ids[i], e})
	}
	return err
}

// Close gives the batch up if it was not committed, and lets the account go.
func (im *Importing) Close() error {
	return errors.Join(im.appending.Abort(), im.appending.Close())
}
