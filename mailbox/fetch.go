package mailbox

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// commonFields are names that clients ask for and that are never bulky: a header row that is not cut has all fields
// of them.
var commonFields = []string{"date", "from", "to", "cc", "subject", "message-id", "references", "in-reply-to", "content-type",
	"reply-to", "bcc", "sender", "x-priority", "priority", "importance", "newsgroups", "mime-version", "list-post", "list-id",
	"list-unsubscribe", "list-unsubscribe-post", "list-help", "list-archive", "list-owner", "list-subscribe", "disposition-notification-to",
	"content-transfer-encoding", "content-disposition", "content-language", "x-label", "x-keywords", "keywords", "comments", "status", "x-status",
	"x-mailer", "user-agent", "organization", "auto-submitted", "precedence", "x-spam-flag", "x-spam-status", "x-spam-score", "x-spam-level",
	"x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys", "x-mozilla-draft-info", "x-uniform-type-identifier", "x-universally-unique-identifier",
	"resent-date", "resent-from", "resent-to", "resent-message-id", "mail-followup-to", "x-original-to", "x-bugzilla-reason", "xref"}

const (
	sparseRun  = 8       // UIDs in a row that are read one by one rather than by a scan
	pageOctets = 4 << 20 // of rows held by one page
)

// smallRows calls fn with the small rows of a set, in UID order, until it returns false. It scans where UIDs stand
// together and asks for single rows where they do not.
func (s *selected) smallRows(ctx context.Context, r store.Reader, id boxID, set imap.UIDSet, fn func(u uid, v []byte) bool) error {
	return s.account.id.rows(ctx, r, kindSmall, id, set, fn)
}

func (a accountID) rows(ctx context.Context, r store.Reader, kind byte, id boxID, set imap.UIDSet, fn func(u uid, v []byte) bool) error {
	var ar arena
	for i := 0; i < len(set); {
		j, n := i, 0
		for j < len(set) && set[j].Stop-set[j].Start < sparseRun && n < 512 {
			n += int(set[j].Stop-set[j].Start) + 1
			j++
		}
		if j == i || dense(set[i:j], n) {
			j = max(j, i+1)
			more, err := a.scanRows(ctx, r, &ar, kind, id, set[i:j], fn)
			if err != nil || !more {
				return err
			}
		} else {
			more, err := a.getRows(ctx, r, &ar, kind, id, set[i:j], n, fn)
			if err != nil || !more {
				return err
			}
		}
		i = j
	}
	return nil
}

// dense tells whether a scan over all of the ranges costs less than to ask for each row.
func dense(set imap.UIDSet, n int) bool {
	return int64(set[len(set)-1].Stop)-int64(set[0].Start) < int64(4*n)
}

func (a accountID) scanRows(ctx context.Context, r store.Reader, ar *arena, kind byte, id boxID, set imap.UIDSet, fn func(u uid, v []byte) bool) (bool, error) {
	lo := ar.msgKey(kind, a, id, uint32(set[0].Start))
	hi := append(ar.msgKey(kind, a, id, uint32(set[len(set)-1].Stop)), 0)
	for kv, err := range r.Scan(ctx, lo, hi, false) {
		if err != nil {
			return false, err
		}
		u := imap.UID(lastUint32(kv.Key))
		for u > set[0].Stop {
			set = set[1:]
		}
		if u >= set[0].Start && !fn(uid(u), kv.Value) {
			return false, nil
		}
	}
	return true, nil
}

func (a accountID) getRows(ctx context.Context, r store.Reader, ar *arena, kind byte, id boxID, set imap.UIDSet, n int, fn func(u uid, v []byte) bool) (bool, error) {
	keys := make([][]byte, 0, n)
	for u := range set.All() {
		keys = append(keys, ar.msgKey(kind, a, id, uint32(u)))
	}
	rows, err := r.GetMulti(ctx, keys)
	if err != nil {
		return false, err
	}
	for i, v := range rows {
		if v != nil && !fn(lastUint32(keys[i]), v) {
			return false, nil
		}
	}
	return true, nil
}

// page is what one View of a Fetch has read.
type page struct {
	buf   []byte
	small []smallRow // of all messages, if it was read out of columns
	msgs  []pageRow
	next  uid // where the next page begins; 0: there is none
	own   ownSet

	ahead ahead
}

// pageRow is one message; its rows are parts of page.buf.
type pageRow struct {
	uid                    uid
	small, summary, header span
}

type span struct{ lo, hi int }

func (p *page) add(v []byte) span {
	lo := len(p.buf)
	p.buf = append(p.buf, v...)
	return span{lo, len(p.buf)}
}

func (p *page) get(s span) []byte { return p.buf[s.lo:s.hi:s.hi] }

const (
	needSummary = imap.NeedIDs | imap.NeedEnvelope | imap.NeedStructure | imap.NeedParts | imap.NeedContent | imap.NeedPreview
	needHeader  = imap.NeedHeader
)

// Fetch yields messages in UID order, a page at a time: each page is read in one View that has ended before the first
// of its messages is yielded.
func (s *selected) Fetch(ctx context.Context, uids imap.UIDSet, need imap.Need) iter.Seq2[*imap.Message, error] {
	return func(yield func(*imap.Message, error) bool) {
		var p page
		var msg imap.Message
		for from := uid(1); from != 0; from = p.next {
			if err := s.readPage(ctx, &p, from, uids, need); err != nil {
				yield(nil, toIMAP(err))
				return
			}
			for i := range p.msgs {
				if err := s.fill(&msg, &p, i, need); err != nil {
					yield(nil, toIMAP(err))
					return
				}
				if !yield(&msg, nil) {
					return
				}
			}
		}
	}
}

// readPage reads the rows of the next messages of the set from a UID on.
func (s *selected) readPage(ctx context.Context, p *page, from uid, uids imap.UIDSet, need imap.Need) error {
	p.buf, p.small, p.msgs, p.next = p.buf[:0], p.small[:0], p.msgs[:0], 0
	p.ahead.lo, p.ahead.hi = 0, 0
	for len(uids) > 0 && uids[0].Stop < imap.UID(from) {
		uids = uids[1:]
	}
	if len(uids) == 0 {
		return nil
	}
	if uids[0].Start < imap.UID(from) {
		uids = append(imap.UIDSet{{Start: imap.UID(from), Stop: uids[0].Stop}}, uids[1:]...)
	}
	if s.guest == 0 && need&^columnNeeds == 0 && (from > 1 || uids.Len() >= s.m.columnWorth) {
		ok, err := s.columnPage(ctx, p, uids)
		if err != nil {
			return err
		}
		if ok {
			return s.loadWords(ctx)
		}
	}
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		if _, err := s.row(ctx, r); err != nil {
			return err
		}
		if _, err := s.words.load(ctx, r, s); err != nil {
			return err
		}
		limit := s.m.limits.PageMessages
		err := s.smallRows(ctx, r, s.id, uids, func(u uid, v []byte) bool {
			if len(p.msgs) == limit {
				p.next = u
				return false
			}
			p.msgs = append(p.msgs, pageRow{uid: u, small: p.add(v)})
			return true
		})
		if n := len(p.msgs); err == nil && n > 0 {
			p.own, err = s.ownOf(ctx, r, s.id, p.msgs[0].uid, p.msgs[n-1].uid)
		}
		if err == nil && need&needSummary != 0 {
			err = s.pageRows(ctx, r, p, kindSummary, func(m *pageRow) *span { return &m.summary })
		}
		if err == nil && need&needHeader != 0 {
			err = s.pageRows(ctx, r, p, kindHeader, func(m *pageRow) *span { return &m.header })
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // the mailbox has gone, and with it the messages
	}
	return err
}

// pageRows reads rows of one kind for the messages of the page, and cuts it short if they are too large together.
func (s *selected) pageRows(ctx context.Context, r store.Reader, p *page, kind byte, field func(*pageRow) *span) error {
	if len(p.msgs) == 0 {
		return nil
	}
	var set imap.UIDSet
	for i := range p.msgs {
		set.Add(imap.UID(p.msgs[i].uid))
	}
	i := 0
	return s.account.id.rows(ctx, r, kind, s.id, set, func(u uid, v []byte) bool {
		for p.msgs[i].uid != u {
			i++
		}
		if len(p.buf)+len(v) > pageOctets && i > 0 {
			p.msgs, p.next = p.msgs[:i], u
			return false
		}
		sp := p.add(v)
		if kind == kindHeader { // with the empty line that ends it
			p.buf = append(p.buf, crlf...)
			sp.hi += len(crlf)
		}
		*field(&p.msgs[i]) = sp
		return true
	})
}

func (p *page) smallOf(i int) (smallRow, error) {
	if len(p.small) > 0 {
		return p.small[i], nil
	}
	return decodeSmall(p.get(p.msgs[i].small))
}

func savedDate(m *smallRow) time.Time { return time.Unix(m.Saved, 0).UTC() }

// loadWords is words.load in a View of its own.
func (s *selected) loadWords(ctx context.Context) error {
	return s.m.eng.View(ctx, func(r store.Reader) error {
		_, err := s.words.load(ctx, r, s)
		return err
	})
}

// fill makes the message of a page's rows.
func (s *selected) fill(msg *imap.Message, p *page, i int, need imap.Need) error {
	row := &p.msgs[i]
	small, err := p.smallOf(i)
	if err != nil {
		return err
	}
	p.own.overlay(row.uid, &small)
	*msg = imap.Message{UID: imap.UID(row.uid), ModSeq: imap.ModSeq(small.S), Size: small.Size}
	if msg.Flags, err = s.words.of(&small); err != nil {
		return err
	}
	if need&imap.NeedDates != 0 {
		msg.InternalDate, msg.SaveDate = small.internalDate(), savedDate(&small)
	}
	if need&needHeader != 0 && row.header != (span{}) {
		fields, _, cut, err := decodeHeaderRow(p.get(row.header))
		if err != nil {
			return err
		}
		msg.Header = fields
		msg.HeaderPartial = true
		if !cut {
			msg.HeaderFields = commonFields
		}
	}
	if need&needSummary != 0 && row.summary != (span{}) {
		return s.fillSummary(msg, p, i, need)
	}
	return nil
}

func (s *selected) fillSummary(msg *imap.Message, p *page, i int, need imap.Need) error {
	sum, err := decodeSummary(p.get(p.msgs[i].summary))
	if err != nil {
		return err
	}
	if need&imap.NeedIDs != 0 {
		msg.EmailID, msg.ThreadID = emailName(s.account.id, sum.Email), threadName(s.account.id, sum.Thread)
	}
	if need&imap.NeedContent != 0 {
		msg.Content = &content{m: s.m, prefix: sum.Prefix, hash: sum.Hash, body: sum.Body, page: p, index: i}
	}
	if need&(imap.NeedEnvelope|imap.NeedStructure|imap.NeedParts|imap.NeedPreview) == 0 {
		return nil
	}
	sh, err := decodeShared(sum.Shared)
	if err != nil {
		return err
	}
	msg.Envelope, msg.Body, msg.Structure = sh.Envelope, sh.Body, sh.Structure
	if need&imap.NeedPreview != 0 {
		msg.Preview = string(sh.Preview)
	}
	if need&imap.NeedParts != 0 {
		msg.Parts, err = decodeParts(sh.parts, int64(len(sum.Prefix)))
	}
	return err
}

// content reads the trace prefix and the body as one.
type content struct {
	m      *Mailbox
	prefix []byte
	hash   bodyHash
	body   int64
	page   *page // that it is of, nil for none
	index  int
}

// Size is that of the whole message, in octets.
func (c *content) Size() int64 { return int64(len(c.prefix)) + c.body }

// Append reads a range of the message.
func (c *content) Append(ctx context.Context, dst []byte, off, n int64) ([]byte, error) {
	if off < 0 || n <= 0 || off >= c.Size() {
		return dst, nil
	}
	n = min(n, c.Size()-off)
	if k := int64(len(c.prefix)); off < k {
		m := min(n, k-off)
		dst = append(dst, c.prefix[off:off+m]...)
		off, n = off+m, n-m
	}
	if n == 0 {
		return dst, nil
	}
	off -= int64(len(c.prefix))
	if b, err := c.small(ctx); err != nil {
		return dst, toIMAP(err)
	} else if b != nil {
		return append(dst, b[off:off+n]...), nil
	}
	at := len(dst)
	err := c.m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		v, err := r.Get(ctx, ar.bodyKey(&c.hash))
		if err != nil {
			return err
		}
		_, ref, err := store.SplitRef(v)
		if err == nil {
			dst, err = r.Blob(ctx, dst[:at], ref, off, n)
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return dst, errExpunged
	}
	return dst, toIMAP(err)
}
