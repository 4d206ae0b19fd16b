package imap

import (
	"context"
	"strconv"
	"time"
)

// cmdFetch: RFC 9051 section 6.4.5.
func (c *conn) cmdFetch(ctx context.Context, p *parser, uid bool) error {
	named, uids, err := c.setArg(p, uid)
	if err != nil {
		return err
	}
	plan, err := c.fetchArgs(p, uid)
	if err != nil {
		return err
	}
	if len(uids) == 0 && !plan.vanished {
		return nil
	}
	if plan.partial != nil {
		uids = plan.partial.of(uids)
	}
	uids = c.cut(uids)
	if plan.vanished {
		if err := c.tellEarlier(ctx, plan.changedSince, named, nil); err != nil {
			return err
		}
	}
	if plan.conditional && !plan.seen { // the cost is that of what changed, not of the mailbox
		ch, err := c.sel.box.Changes(ctx, plan.changedSince)
		if err != nil {
			return err
		}
		return c.fetchChanged(ctx, uids, plan, ch)
	}
	var changed UIDSet
	if plan.seen && !c.sel.readOnly && c.sel.may("s") { // RFC 4314 section 4
		if changed, err = c.setSeen(ctx, uids); err != nil {
			return err
		}
	}
	n, err := c.fetch(ctx, uids, plan, changed)
	if err != nil {
		return err
	}
	if !uid && n < uids.Len() { // RFC 5530 section 3, as in its example: the rest was told; which are gone is told when it may be
		c.code, c.text = "EXPUNGEISSUED", "some of the messages are gone"
	}
	return nil
}

// fetchChanged answers FETCH (CHANGEDSINCE) (RFC 7162 section 3.1.4.1).
func (c *conn) fetchChanged(ctx context.Context, uids UIDSet, plan *fetchPlan, ch *Changes) error {
	if ch.Gone {
		return bye("mailbox is gone")
	}
	changed := ch.New.Clone()
	for i := range ch.Flags {
		changed.Add(ch.Flags[i].UID)
	}
	_, err := c.fetch(ctx, uids.Intersect(changed), plan, nil)
	return err
}

// setSeen sets \Seen on those messages that lack it, in one commit, before their text is told.
func (c *conn) setSeen(ctx context.Context, uids UIDSet) (UIDSet, error) {
	var unseen UIDSet
	for m, err := range c.sel.box.Fetch(ctx, uids, 0) {
		if err != nil {
			return nil, err
		}
		if m.Flags.System&FlagSeen == 0 {
			unseen.Add(m.UID)
		}
	}
	if len(unseen) == 0 {
		return nil, nil
	}
	res, err := c.sel.box.Store(ctx, unseen, StoreChange{Mode: StoreAdd, Flags: Flags{System: FlagSeen}})
	if isNoPerm(err) { // the right has just gone
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range res.Stored {
		c.sel.known = append(c.sel.known, uidMod{res.Stored[i].UID, res.Stored[i].ModSeq})
	}
	return unseen, nil
}

// fetch writes the messages of the set and returns how many there were.
func (c *conn) fetch(ctx context.Context, uids UIDSet, plan *fetchPlan, changed UIDSet) (int, error) {
	s := seqs{set: c.sel.uids}
	count := 0
	c.begin()
	for m, err := range c.sel.box.Fetch(ctx, uids, plan.need) {
		if err != nil {
			return count, err
		}
		seq := s.of(m.UID)
		if seq == 0 {
			continue
		}
		count++
		if plan.conditional && m.ModSeq <= plan.changedSince {
			continue
		}
		if len(m.Flags.Keywords) > 0 && plan.flags {
			c.tellKeywords(m.Flags.Keywords)
		}
		if err := c.fetchMessage(ctx, m, seq, plan, !plan.flags && len(changed) > 0 && changed.Contains(m.UID)); err != nil {
			return count, err
		}
		if err := c.spill(); err != nil {
			return count, err
		}
	}
	return count, nil
}

// fetchMessage writes one FETCH. WithFlags adds the flags that reading it has changed.
func (c *conn) fetchMessage(ctx context.Context, m *Message, seq int, plan *fetchPlan, withFlags bool) error {
	if err := plan.checkEncodings(m); err != nil {
		return err
	}
	b := c.fetchHead(c.out, seq, m.UID)
	for i := range plan.items {
		it := &plan.items[i]
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, it.label...)
		switch it.kind {
		case itemUID:
			b = strconv.AppendUint(b, uint64(m.UID), 10)
		case itemFlags:
			b = appendFlags(b, m.Flags, c.recent(m.UID))
		case itemDate:
			b = appendDateTime(b, m.InternalDate)
		case itemSize:
			b = strconv.AppendInt(b, m.Size, 10)
		case itemEnvelope:
			b = append(b, m.Envelope...)
		case itemBody:
			b = append(b, m.Body...)
		case itemStructure:
			b = append(b, m.Structure...)
		case itemModSeq:
			b = append(b, '(')
			b = strconv.AppendUint(b, uint64(m.ModSeq), 10)
			b = append(b, ')')
		case itemEmailID, itemThreadID:
			b = appendObjectID(b, it.kind, m)
		case itemSaveDate:
			if m.SaveDate.IsZero() {
				b = append(b, "NIL"...)
			} else {
				b = appendDateTime(b, m.SaveDate)
			}
		case itemPreview:
			b = c.appendPreview(b, m.Preview)
		case itemBinary, itemBinarySize:
			c.out = b
			if err := c.fetchBinary(ctx, m, it); err != nil {
				return err
			}
			b = c.out
		case itemSection:
			c.out = b
			if err := c.fetchSection(ctx, m, it); err != nil {
				return err
			}
			b = c.out
		}
	}
	if withFlags {
		if c.mode&modeCondstore != 0 && !plan.modseq {
			b = append(b, " MODSEQ ("...)
			b = strconv.AppendUint(b, uint64(m.ModSeq), 10)
			b = append(b, ')')
		}
		b = append(b, " FLAGS "...)
		b = appendFlags(b, m.Flags, c.recent(m.UID))
	}
	c.out = append(b, ")\r\n"...)
	return nil
}

// appendDateTime appends a date-time in quotes (RFC 9051 section 9), by hand: time.Format takes several times as long.
func appendDateTime(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	_, off := t.Zone()
	sign := byte('+')
	if off < 0 {
		sign, off = '-', -off
	}
	two := func(sep byte, n int) { b = append(b, sep, byte('0'+n/10%10), byte('0'+n%10)) }
	b = append(b, '"')
	if day < 10 {
		b = append(b, ' ', byte('0'+day))
	} else {
		b = append(b, byte('0'+day/10), byte('0'+day%10))
	}
	b = append(b, '-')
	b = append(b, monthNames[month-1]...)
	two('-', year/100)
	b = append(b, byte('0'+year/10%10), byte('0'+year%10))
	two(' ', hour)
	two(':', minute)
	two(':', second)
	two(' ', 0)
	b = append(b[:len(b)-2], sign)
	off /= 60
	b = append(b, byte('0'+off/600%10), byte('0'+off/60%10), byte('0'+off%60/10), byte('0'+off%60%10))
	return append(b, '"')
}

var monthNames = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
