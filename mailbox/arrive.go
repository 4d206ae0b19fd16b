package mailbox

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// arrival is one message that comes into one mailbox.
type arrival struct {
	in       *intake
	prefix   []byte // trace fields
	extra    []byte // those of them that are not bulky, for the header row
	system   imap.SystemFlags
	keywords []uint32
	date     time.Time
}

func (a *arrival) size() int64 { return int64(len(a.prefix)) + a.in.size }

// arrive adds a new message to the end of a mailbox of the part's account.
func (p *part) arrive(ctx context.Context, r store.Reader, b *box, a *arrival) (uid, emailID, error) {
	s := p.touch(b)
	if b.UIDNext == maxUID {
		return 0, 0, no("LIMIT", "Mailbox has used up its unique identifiers")
	}
	p.row.Email++
	e := p.row.Email
	thread, err := p.joinThread(ctx, r, a.in.digest.ids, e)
	if err != nil {
		return 0, 0, err
	}
	small := smallRow{System: a.system, S: s, Arrived: s, Saved: p.m.now().Unix(), Size: a.size(), Email: e}
	small.setDate(a.date)
	c := p.c
	if len(a.keywords) > 0 {
		small.Keywords = appendIDs(c.ar.take(5*len(a.keywords)), a.keywords)
	}
	sum := summaryRow{Email: e, Thread: thread, Hash: a.in.hash, Body: a.in.size, Prefix: a.prefix, Shared: a.in.digest.shared}
	u, err := p.place(ctx, r, b, &small)
	if err != nil {
		return 0, 0, err
	}
	c.put(c.ar.msgKey(kindSummary, p.id, b.id, u), sum.appendTo(c.ar.take(summaryRoom+len(sum.Prefix)+len(sum.Shared))))
	d := &a.in.digest
	c.put(c.ar.msgKey(kindHeader, p.id, b.id, u), appendHeaderRow(c.ar.take(headerRoom+len(a.extra)+len(d.header)+len(d.texts)), a.extra, d))
	c.put(c.ar.msgKey(kindSort, p.id, b.id, u), c.ar.copyOf(d.keys))
	row := emailRow{Thread: thread, Hash: a.in.hash, Arrived: s, IDs: d.ids, Places: []place{{b.id, u}}}
	p.putEmail(e, &row)
	c.put(c.ar.threadKey(p.id, thread, e), nil)
	c.put(c.ar.refKey(kindRef, &a.in.hash, p.id, e), nil)
	c.needBody(a.in)
	c.came = append(c.came, p.id)
	return u, e, nil
}

// place gives a message the next UID of a mailbox, and writes its small row and what is counted. The caller has
// checked that there is one.
func (p *part) place(ctx context.Context, r store.Reader, b *box, small *smallRow) (uid, error) {
	c := p.c
	u := b.UIDNext
	b.UIDNext++
	b.came = true
	p.count(b, 1, small.System, small.Size)
	ch, err := p.edit(ctx, r, b, chunkOf(u))
	if err != nil {
		return 0, err
	}
	ch.put(u, small.System)
	c.put(c.ar.msgKey(kindSmall, p.id, b.id, u), small.appendTo(c.ar.take(smallRoom+len(small.Keywords))))
	return u, nil
}

func (p *part) putEmail(e emailID, row *emailRow) {
	p.put(p.c.ar.longKey(kindEmail, p.id, uint64(e)), row.appendTo(p.c.ar.take(row.room())))
}

// joinThread finds the thread of a message by the ids it names: the oldest thread that any of them belongs to, else
// a new one, named after the message (RFC 8474 section 5.2). Each id then counts one email more.
func (p *part) joinThread(ctx context.Context, r store.Reader, ids []msgIDHash, e emailID) (emailID, error) {
	thread := e
	if len(ids) == 0 {
		return thread, nil
	}
	c := p.c
	rows := make([]msgIDRow, len(ids))
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = c.ar.msgIDKey(p.id, id)
		v, err := p.get(ctx, r, keys[i])
		if err != nil {
			return 0, err
		}
		if v == nil {
			continue
		}
		if rows[i], err = decodeMsgID(v); err != nil {
			return 0, err
		}
		thread = min(thread, rows[i].Thread)
	}
	for i := range rows {
		if rows[i].Count == 0 {
			rows[i].Thread = thread
		}
		rows[i].Count++
		p.put(keys[i], rows[i].appendTo(c.ar.take(1+2*binary.MaxVarintLen64)))
	}
	return thread, nil
}

// depart takes a message out of its mailbox. The email goes with its last place, and with it the reference to the
// body, which the sweeper then looks at. With tell, the change log has it.
func (p *part) depart(ctx context.Context, r store.Reader, b *box, u uid, small *smallRow) error {
	e := small.Email
	p.touch(b)
	c := p.c
	p.count(b, -1, small.System, small.Size)
	ch, err := p.edit(ctx, r, b, chunkOf(u))
	if err != nil {
		return err
	}
	ch.drop(u)
	b.log.Gone = append(b.log.Gone, goneMessage{u, e})
	p.delete(c.ar.msgKey(kindSmall, p.id, b.id, u))
	c.batch.Ops = append(c.batch.Ops, store.Delete(c.ar.msgKey(kindSummary, p.id, b.id, u)),
		store.Delete(c.ar.msgKey(kindHeader, p.id, b.id, u)), store.Delete(c.ar.msgKey(kindSort, p.id, b.id, u)))
	return p.unplace(ctx, r, e, place{b.id, u})
}

// unplace takes a place from an email, and removes the email if it was the last.
func (p *part) unplace(ctx context.Context, r store.Reader, e emailID, at place) error {
	c := p.c
	key := c.ar.longKey(kindEmail, p.id, uint64(e))
	v, err := p.get(ctx, r, key)
	if err != nil || v == nil {
		return err
	}
	row, err := decodeEmail(v)
	if err != nil {
		return err
	}
	for i, o := range row.Places {
		if o == at {
			row.Places = append(row.Places[:i], row.Places[i+1:]...)
			break
		}
	}
	if len(row.Places) > 0 {
		p.putEmail(e, &row)
		return nil
	}
	p.delete(key)
	c.batch.Ops = append(c.batch.Ops, store.Delete(c.ar.threadKey(p.id, row.Thread, e)),
		store.Delete(c.ar.refKey(kindRef, &row.Hash, p.id, e)))
	freed := binary.BigEndian.AppendUint64(c.ar.take(8), uint64(p.m.now().Unix()))
	c.put(c.ar.refKey(kindFree, &row.Hash, p.id, e), freed)
	c.frees = true
	return p.leaveThread(ctx, r, row.IDs)
}

// leaveThread undoes joinThread.
func (p *part) leaveThread(ctx context.Context, r store.Reader, ids []msgIDHash) error {
	c := p.c
	for _, id := range ids {
		key := c.ar.msgIDKey(p.id, id)
		v, err := p.get(ctx, r, key)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		row, err := decodeMsgID(v)
		if err != nil {
			return err
		}
		if row.Count--; row.Count == 0 {
			p.delete(key)
		} else {
			p.put(key, row.appendTo(c.ar.take(1+2*binary.MaxVarintLen64)))
		}
	}
	return nil
}
