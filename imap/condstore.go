package imap

import (
	"context"
	"strconv"
)

// selectOptions are the parameters of SELECT (RFC 7162 sections 3.1.8 and 3.2.5).
type selectOptions struct {
	qresync  bool
	validity uint32
	modseq   ModSeq
	known    UIDSet // nil: all
	seqs     UIDSet // sequence numbers that the client remembers, and the UIDs
	seqUIDs  UIDSet // that they had
}

func (c *conn) selectOptions(p *parser) (o selectOptions, err error) {
	if err := p.expect('('); err != nil {
		return o, err
	}
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return o, err
			}
		}
		switch w := p.word(); w {
		case "CONDSTORE":
			c.mode |= modeCondstore
		case "QRESYNC":
			if c.mode&modeQresync == 0 {
				return o, bad("QRESYNC must be enabled first (RFC 7162 section 3.2.3)")
			}
			if err := p.qresyncArgs(&o); err != nil {
				return o, err
			}
			if o.seqs != nil && c.mode&modeUIDOnly != 0 {
				return o, errUIDRequired
			}
		default:
			return o, bad("there is no SELECT parameter %s", clip(w))
		}
	}
	return o, nil
}

func (p *parser) qresyncArgs(o *selectOptions) (err error) {
	if err := p.sp(); err != nil {
		return err
	}
	if err := p.expect('('); err != nil {
		return err
	}
	if o.validity, err = p.number(); err == nil {
		err = p.sp()
	}
	if err != nil {
		return err
	}
	n, err := p.number64()
	if err != nil {
		return err
	}
	o.qresync, o.modseq = true, ModSeq(n)
	if p.accept(' ') && p.peek() != '(' {
		if o.known, err = p.plainSet(); err != nil {
			return err
		}
		p.accept(' ')
	}
	if p.accept('(') {
		if o.seqs, err = p.plainSet(); err == nil {
			err = p.sp()
		}
		if err == nil {
			o.seqUIDs, err = p.plainSet()
		}
		if err == nil {
			err = p.expect(')')
		}
		if err != nil {
			return err
		}
	}
	return p.expect(')')
}

// plainSet reads a set without "*".
func (p *parser) plainSet() (UIDSet, error) {
	set, saved, err := p.set()
	if err != nil {
		return nil, err
	}
	for _, r := range set {
		if r.lo == 0 || r.hi == 0 {
			saved = true
		}
	}
	if saved {
		return nil, bad("a set of numbers is missing at octet %d", p.i+1)
	}
	return uidSet(set, 0), nil
}

// resync tells what has changed since the client was here (RFC 7162 section 3.2.5.1).
func (c *conn) resync(ctx context.Context, o *selectOptions) error {
	v := c.sel
	if o.validity != v.validity {
		return nil
	}
	return c.tellEarlier(ctx, o.modseq, o.known, &resyncFetch{o})
}

// resyncFetch asks tellEarlier for the flags that changed, too.
type resyncFetch struct{ o *selectOptions }

// tellEarlier says VANISHED (EARLIER) of UIDs of the set (nil: all) that were expunged since, and with a resyncFetch
// the flags of the messages that came or changed.
func (c *conn) tellEarlier(ctx context.Context, since ModSeq, within UIDSet, fetch *resyncFetch) error {
	v := c.sel
	ch, err := v.box.Changes(ctx, since)
	if err != nil {
		return err
	}
	gone := ch.Vanished.Subtract(v.uids)
	if within != nil {
		gone = gone.Intersect(within)
	}
	if fetch != nil {
		gone = gone.Subtract(fetch.o.stillKnown(v.uids))
	}
	if len(gone) > 0 {
		c.say("* VANISHED (EARLIER) ", gone.String())
	}
	if fetch == nil {
		return c.spill()
	}
	changed := ch.New
	for i := range ch.Flags {
		changed.Add(ch.Flags[i].UID)
	}
	if changed = changed.Intersect(v.uids); within != nil {
		changed = changed.Intersect(within)
	}
	s := seqs{set: v.uids}
	for m, err := range v.box.Fetch(ctx, changed, 0) {
		if err != nil {
			return err
		}
		if seq := s.of(m.UID); seq > 0 {
			c.tellKeywords(m.Flags.Keywords)
			c.fetchFlags(seq, &FlagChange{UID: m.UID, ModSeq: m.ModSeq, Flags: m.Flags}, true)
		}
		if err := c.spill(); err != nil {
			return err
		}
	}
	return nil
}

// stillKnown gives the UIDs up to the last pair of sequence number and UID that still holds: nothing below it has
// vanished since the client wrote the pairs down (RFC 7162 section 3.2.5.2). They need no telling.
func (o *selectOptions) stillKnown(view UIDSet) UIDSet {
	n := min(o.seqs.Len(), o.seqUIDs.Len())
	var last UID
	for i := 1; i <= n; i++ {
		uid := o.seqUIDs.At(i)
		if view.At(int(o.seqs.At(i))) != uid {
			break
		}
		last = uid
	}
	if last == 0 {
		return nil
	}
	return UIDSet{{1, last}}
}

// fetchModifiers reads what may follow the items of FETCH (RFC 7162, RFC 9394).
func (c *conn) fetchModifiers(p *parser, plan *fetchPlan, uid bool) error {
	if !p.accept(' ') {
		return c.planned(p, plan)
	}
	if err := p.expect('('); err != nil {
		return err
	}
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		switch w := p.word(); {
		case w == "CHANGEDSINCE":
			if err := p.sp(); err != nil {
				return err
			}
			since, err := p.number64()
			if err != nil {
				return err
			}
			plan.conditional, plan.changedSince = true, ModSeq(since)
			c.mode |= modeCondstore
		case w == "VANISHED" && uid && c.mode&modeQresync != 0:
			plan.vanished = true
		case w == "PARTIAL" && uid && plan.partial == nil:
			if err := p.sp(); err != nil {
				return err
			}
			var err error
			if plan.partial, err = p.partialRange(); err != nil {
				return err
			}
		default:
			return bad("there is no FETCH modifier %s here", clip(w))
		}
	}
	if plan.vanished && !plan.conditional {
		return bad("VANISHED needs CHANGEDSINCE (RFC 7162 section 3.2.6)")
	}
	return c.planned(p, plan)
}

// planned completes a plan: mod-sequences are told with flags once the client knows of them.
func (c *conn) planned(p *parser, plan *fetchPlan) error {
	if plan.conditional || plan.flags && c.mode&modeCondstore != 0 {
		plan.add(fetchItem{kind: itemModSeq, label: "MODSEQ "})
	}
	if len(plan.items) > 0 {
		return p.end()
	}
	return bad("nothing is asked for")
}

// partialRange is a range of positions in a result, counted from its beginning or, if negative, from its end
// (RFC 9394).
type partialRange struct{ lo, hi int64 }

func (p *parser) partialRange() (*partialRange, error) {
	neg := p.accept('-')
	lo, err := p.number()
	if err == nil {
		err = p.expect(':')
	}
	if err == nil && neg != p.accept('-') {
		err = bad("both ends of PARTIAL must have the same sign")
	}
	if err != nil {
		return nil, err
	}
	hi, err := p.number()
	if err == nil && (lo == 0 || hi == 0) {
		err = bad("PARTIAL counts from 1 or -1")
	}
	if err != nil {
		return nil, err
	}
	r := &partialRange{int64(min(lo, hi)), int64(max(lo, hi))}
	if neg {
		r.lo, r.hi = -r.lo, -r.hi
	}
	return r, nil
}

// bounds turns the range into positions of a result of n, from 0, the end not included.
func (r *partialRange) bounds(n int) (lo, hi int) {
	if r.lo > 0 {
		lo, hi = int(min(r.lo-1, int64(n))), int(min(r.hi, int64(n)))
		return lo, hi
	}
	return int(max(int64(n)+r.hi, 0)), int(max(int64(n)+r.lo+1, 0))
}

// of gives the UIDs at these positions.
func (r *partialRange) of(set UIDSet) UIDSet {
	lo, hi := r.bounds(set.Len())
	if lo >= hi {
		return nil
	}
	return newRanks(set).add(nil, lo+1, hi)
}

// String is the range as it is told back.
func (r *partialRange) String() string {
	return strconv.FormatInt(r.lo, 10) + ":" + strconv.FormatInt(r.hi, 10)
}
