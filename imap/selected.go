package imap

import (
	"strconv"
	"strings"
)

// selected is the session's view of its mailbox: which message has which sequence number, and what the client has
// not been told yet.
type selected struct {
	box      Mailbox
	name     string
	readOnly bool
	validity uint32
	uids     UIDSet // sequence number n is the n-th
	gone     UIDSet // of uids: expunged, and the client not told
	recent   UIDSet
	modseq   ModSeq // what the client knows of; Changes begins here
	uidNext  UID
	known    []uidMod        // changes that the client knows of already, its own
	keywords []string        // told by FLAGS
	told     map[string]bool // spellings of them that came up
	limited  bool            // no new keywords can be made
	rights   string          // of RFC 4314; "": everything

	contexts   []*searchContext // searches whose results are kept up to date (RFC 5267)
	own        UIDSet           // put here by this session and not told yet: NOTIFY does not fetch them
	flagsSince ModSeq           // changes of flags since then were kept back (RFC 5465); 0: none
}

// may reports whether the login has one of some rights.
func (v *selected) may(any string) bool { return v.rights == "" || strings.ContainsAny(v.rights, any) }

// writable tells READ-WRITE from READ-ONLY (RFC 4314 section 5.2): \Seen, which is each viewer's own, does not count.
func (v *selected) writable() bool { return v.may("iewt") }

// isNoPerm reports whether the login lacks a right.
func isNoPerm(err error) bool { return hasCode(err, "NOPERM") }

func hasCode(err error, code string) bool {
	e, ok := err.(*Error)
	return ok && e.Code == code
}

// tellNewRights says what flags can be changed now that the login's rights are others (RFC 4314 section 5.1.1).
func (c *conn) tellNewRights(rights string) {
	v := c.sel
	if rights == v.rights {
		return
	}
	was := v.writable()
	v.rights = rights
	c.tellFlagsLine()
	switch {
	case v.readOnly || was == v.writable():
	case was:
		c.say("* OK [READ-ONLY] you may not change this mailbox any more")
	default:
		c.say("* OK [READ-WRITE] you may change this mailbox now")
	}
}

// permanent lists the flags that the login may change, in the order of flagNames.
func (v *selected) permanent() string {
	var out []string
	for i, right := range [...]string{"s", "w", "w", "t", "w"} {
		if v.may(right) {
			out = append(out, flagNames[i])
		}
	}
	if v.may("w") {
		out = append(out, v.keywords...)
		if !v.limited {
			out = append(out, `\*`)
		}
	}
	return strings.Join(out, " ")
}

// uidMod is a change that needs no telling.
type uidMod struct {
	uid    UID
	modseq ModSeq
}

// seqs turns UIDs that come in ascending order into sequence numbers, each in constant time.
type seqs struct {
	set  UIDSet
	i    int
	base int // UIDs in the ranges before i
}

// of returns the sequence number of u, 0 if it is not in the set.
func (s *seqs) of(u UID) int {
	for s.i < len(s.set) && s.set[s.i].Stop < u {
		s.base += int(s.set[s.i].Stop-s.set[s.i].Start) + 1
		s.i++
	}
	if s.i == len(s.set) || s.set[s.i].Start > u {
		return 0
	}
	return s.base + int(u-s.set[s.i].Start) + 1
}

// resolve turns a set of the client into the UIDs of the view that it names.
func (c *conn) resolve(set []setRange, saved, uid bool) (UIDSet, error) {
	v := c.sel
	switch {
	case saved:
		return c.saved.Intersect(v.uids), nil
	case uid:
		return uidSet(set, v.uids.Max()).Intersect(v.uids), nil
	case c.mode&modeUIDOnly != 0:
		return nil, errUIDRequired
	}
	all := newRanks(v.uids)
	n := uint32(all.len())
	numbers := uidSet(set, UID(n)) // what overlaps is looked at once
	if top := numbers.Max(); n == 0 || uint32(top) > n {
		return nil, bad("there is no message %d, only %d", top, n)
	}
	var out UIDSet
	for _, r := range numbers {
		out = all.add(out, int(r.Start), int(r.Stop))
	}
	return out, nil
}

// errUIDRequired: RFC 9586 section 3.
var errUIDRequired = &Error{Bad: true, Code: "UIDREQUIRED", Text: "message numbers are not allowed after ENABLE UIDONLY"}

// unselect leaves the mailbox.
func (c *conn) unselect() {
	if c.sel == nil {
		return
	}
	if err := c.sel.box.Close(); err != nil {
		c.srv.log().Warn("imap: closing mailbox failed", "session", c.sess.ID, "err", err)
	}
	c.sel, c.saved, c.state = nil, nil, stateAuth
}

// tellGone says EXPUNGE of all that are gone.
func (c *conn) tellGone() {
	v := c.sel
	if c.mode&(modeQresync|modeUIDOnly) != 0 { // RFC 7162 section 3.2.10, RFC 9586 section 3.5
		c.say("* VANISHED ", v.gone.String())
		c.forgetGone()
		return
	}
	s := seqs{set: v.uids}
	told := 0
	for _, r := range v.gone {
		seq := s.of(r.Start) - told
		for n := int(r.Stop-r.Start) + 1; n > 0; n-- {
			c.out = append(c.out, '*', ' ')
			c.out = strconv.AppendInt(c.out, int64(seq), 10)
			c.out = append(c.out, " EXPUNGE\r\n"...)
			told++
		}
	}
	c.forgetGone()
}

// forgetGone takes what the client was told is gone out of the view.
func (c *conn) forgetGone() {
	v := c.sel
	v.uids, v.recent = v.uids.Subtract(v.gone), v.recent.Subtract(v.gone)
	c.saved = c.saved.Subtract(v.gone)
	v.gone = nil
}

// tellNew says EXISTS, and RECENT where that is known.
func (c *conn) tellNew(ch *Changes) {
	v := c.sel
	for _, r := range ch.New {
		v.uids.AddRange(r.Start, r.Stop)
	}
	for _, r := range ch.Recent.Intersect(v.uids) {
		v.recent.AddRange(r.Start, r.Stop)
	}
	c.exists()
}

// recent reports whether FLAGS of a message has \Recent, which IMAP4rev2 does not know (RFC 9051 appendix E).
func (c *conn) recent(uid UID) bool {
	return c.mode&modeRev2 == 0 && len(c.sel.recent) > 0 && c.sel.recent.Contains(uid)
}

func (c *conn) exists() {
	c.say("* ", strconv.Itoa(c.sel.uids.Len()), " EXISTS")
	if c.mode&modeRev2 == 0 {
		c.say("* ", strconv.Itoa(c.sel.recent.Len()), " RECENT")
	}
}

// tellFlags says FETCH of flags that changed, but of changes that the client made itself and was answered.
func (c *conn) tellFlags(changes []FlagChange) {
	v := c.sel
	s := seqs{set: v.uids}
	k := 0
	for i := range changes {
		ch := &changes[i]
		for k < len(v.known) && v.known[k].uid < ch.UID {
			k++
		}
		if k < len(v.known) && v.known[k].uid == ch.UID && v.known[k].modseq == ch.ModSeq {
			continue
		}
		seq := s.of(ch.UID)
		if seq == 0 || v.gone.Contains(ch.UID) {
			continue
		}
		c.tellKeywords(ch.Flags.Keywords)
		c.fetchFlags(seq, ch, true)
	}
}

// fetchHead begins a FETCH, or the UIDFETCH that stands for it under UIDONLY (RFC 9586 section 3.3).
func (c *conn) fetchHead(b []byte, seq int, uid UID) []byte {
	b = append(b, '*', ' ')
	if c.mode&modeUIDOnly != 0 {
		b = strconv.AppendUint(b, uint64(uid), 10)
		return append(b, " UIDFETCH ("...)
	}
	b = strconv.AppendInt(b, int64(seq), 10)
	return append(b, " FETCH ("...)
}

// tellsUID reports whether a FETCH has the UID among its items: after a UID command, and after ENABLE QRESYNC always, as clients of
// RFC 7162 expect; UIDONLY has it in front.
func (c *conn) tellsUID(uid bool) bool {
	return (uid || c.mode&modeQresync != 0) && c.mode&modeUIDOnly == 0
}

// fetchHeadUID begins a FETCH that nobody named the items of.
func (c *conn) fetchHeadUID(b []byte, seq int, ch *FlagChange, uid bool) []byte {
	b = c.fetchHead(b, seq, ch.UID)
	if !c.tellsUID(uid) {
		return b
	}
	b = append(b, "UID "...)
	b = strconv.AppendUint(b, uint64(ch.UID), 10)
	return append(b, ' ')
}

// fetchFlags writes a FETCH with flags.
func (c *conn) fetchFlags(seq int, ch *FlagChange, uid bool) {
	b := c.fetchHeadUID(c.out, seq, ch, uid)
	if c.mode&modeCondstore != 0 {
		b = append(b, "MODSEQ ("...)
		b = strconv.AppendUint(b, uint64(ch.ModSeq), 10)
		b = append(b, ") "...)
	}
	b = append(b, "FLAGS "...)
	b = appendFlags(b, ch.Flags, c.recent(ch.UID))
	c.out = append(b, ")\r\n"...)
}

// tellKeywords says FLAGS anew when keywords come up that the client has not been told of.
func (c *conn) tellKeywords(ks []string) {
	fresh := false
	for _, k := range ks {
		if c.sel.told[k] {
			continue
		}
		if c.sel.told == nil {
			c.sel.told = map[string]bool{}
		}
		c.sel.told[k] = true
		if !hasKeyword(c.sel.keywords, k) {
			c.sel.keywords = append(c.sel.keywords[:len(c.sel.keywords):len(c.sel.keywords)], k)
			fresh = true
		}
	}
	if fresh {
		c.tellFlagsLine()
	}
}

func hasKeyword(list []string, k string) bool {
	for _, have := range list {
		if strings.EqualFold(have, k) {
			return true
		}
	}
	return false
}

func (c *conn) tellFlagsLine() {
	all := `\Answered \Flagged \Deleted \Seen \Draft`
	for _, k := range c.sel.keywords {
		all += " " + k
	}
	c.say("* FLAGS (", all, ")")
	switch {
	case c.sel.rights != "" && !c.sel.readOnly:
		c.say("* OK [PERMANENTFLAGS (", c.sel.permanent(), ")] may be changed")
	case c.sel.readOnly:
		c.say("* OK [PERMANENTFLAGS ()] read-only")
	case c.sel.limited:
		c.say("* OK [PERMANENTFLAGS (", all, ")] no more keywords can be made")
	default:
		c.say("* OK [PERMANENTFLAGS (", all, ` \*)] may be changed`)
	}
}

// flagNames in the order of the bits of SystemFlags.
var flagNames = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// appendFlags appends a list of flags.
func appendFlags(b []byte, f Flags, recent bool) []byte {
	b = append(b, '(')
	start := len(b)
	if recent {
		b = append(b, `\Recent `...)
	}
	for i, name := range flagNames {
		if f.System&(1<<i) != 0 {
			b = append(b, name...)
			b = append(b, ' ')
		}
	}
	for _, k := range f.Keywords {
		b = append(b, k...)
		b = append(b, ' ')
	}
	if len(b) > start {
		b = b[:len(b)-1]
	}
	return append(b, ')')
}
