package imap

import (
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/message"
)

// searchReader reads search keys into Criteria.
type searchReader struct {
	*parser
	c       *conn
	charset string
	modseq  bool // MODSEQ was asked for
	many    bool // several mailboxes are searched: message numbers have no meaning (RFC 7377)
	fuzzy   bool // FUZZY was asked for (RFC 6203)
	keys    int
	ranges  int                               // of all sets together
	filter  func(name string) ([]byte, error) // finds a filter (RFC 5466)
}

// criteria reads the keys up to the end of the command (RFC 9051 section 6.4.4).
func (s *searchReader) criteria() (*Criteria, error) {
	out := &Criteria{}
	for {
		if err := s.key(out); err != nil {
			return nil, err
		}
		if s.atEnd() {
			return out, nil
		}
		if err := s.sp(); err != nil {
			return nil, err
		}
	}
}

// key reads one key, which must hold beside those that are in out already.
func (s *searchReader) key(out *Criteria) error {
	if s.keys++; s.keys > s.l.ListItems {
		return s.tooMany(s.keys)
	}
	switch ch := s.peek(); {
	case ch == '(':
		return s.group(out)
	case ch >= '0' && ch <= '9', ch == '*', ch == '$':
		if s.many {
			return errNotSelected
		}
		set, saved, err := s.set()
		if err != nil {
			return err
		}
		if !saved && s.c.mode&modeUIDOnly != 0 {
			return errUIDRequired
		}
		return s.within(out, s.seqSet(set, saved))
	}
	w := s.word()
	if f, ok := flagKeys[w]; ok {
		if f.not {
			out.NotFlag.System |= f.flag
		} else {
			out.Flags.System |= f.flag
		}
		return nil
	}
	switch w {
	case "ALL", "SAVEDATESUPPORTED": // RFC 8514 section 4.3: every mailbox keeps save dates
		return nil
	case "NEW":
		out.NotFlag.System |= FlagSeen
		return s.within(out, s.c.sel.recent)
	case "RECENT":
		return s.within(out, s.c.sel.recent)
	case "OLD":
		return s.within(out, s.c.sel.uids.Subtract(s.c.sel.recent))
	}
	if err := s.sp(); err != nil {
		return bad("there is no search key %s, or its argument is missing", clip(w))
	}
	return s.keyWithArg(out, w)
}

// flagKeys are the keys that ask for a system flag.
var flagKeys = map[string]struct {
	flag SystemFlags
	not  bool
}{
	"SEEN": {FlagSeen, false}, "UNSEEN": {FlagSeen, true}, "ANSWERED": {FlagAnswered, false}, "UNANSWERED": {FlagAnswered, true},
	"FLAGGED": {FlagFlagged, false}, "UNFLAGGED": {FlagFlagged, true}, "DELETED": {FlagDeleted, false}, "UNDELETED": {FlagDeleted, true},
	"DRAFT": {FlagDraft, false}, "UNDRAFT": {FlagDraft, true},
}

// maxSetRanges is how many ranges all sets of a search may have together, beside some as large as the mailbox.
const maxSetRanges = 1 << 20

// within adds a set. A key of a few octets may stand for a set as large as the mailbox, so that their number alone bounds nothing.
func (s *searchReader) within(out *Criteria, set UIDSet) error {
	if s.ranges += len(set); s.ranges > maxSetRanges+8*len(s.c.sel.uids) {
		return &Error{Bad: true, Code: "LIMIT", Text: "the sets of messages are too much together"}
	}
	out.UIDs = append(out.UIDs, nonNil(set))
	return nil
}

// nonNil: a nil set could be taken for "no bound".
func nonNil(s UIDSet) UIDSet {
	if s == nil {
		return UIDSet{}
	}
	return s
}

// group reads a parenthesised list of keys.
func (s *searchReader) group(out *Criteria) error {
	s.i++
	if err := s.nest(); err != nil {
		return err
	}
	for {
		if err := s.key(out); err != nil {
			return err
		}
		if s.accept(')') {
			s.depth--
			return nil
		}
		if err := s.sp(); err != nil {
			return err
		}
	}
}

// seqSet turns sequence numbers into UIDs; those beyond the last message find nothing.
func (s *searchReader) seqSet(set []setRange, saved bool) UIDSet {
	if saved {
		return nonNil(s.c.saved.Clone())
	}
	all := newRanks(s.c.sel.uids)
	n := uint32(all.len())
	out := UIDSet{}
	for _, r := range uidSet(set, UID(n)) { // as numbers: what overlaps is looked at once
		if hi := min(uint32(r.Stop), n); uint32(r.Start) <= hi {
			out = all.add(out, int(r.Start), int(hi))
		}
	}
	return out
}

func (s *searchReader) keyWithArg(out *Criteria, w string) error {
	switch w {
	case "NOT", "OR":
		return s.combined(out, w)
	case "FILTER":
		return s.filterKey(out)
	case "FUZZY": // RFC 6203 section 4: how near a match must be is ours to choose; ours are exact
		return s.fuzzyKey(out)
	case "BCC", "CC", "FROM", "SUBJECT", "TO", "BODY", "TEXT", "HEADER":
		return s.textKey(out, w)
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE":
		return s.dateKey(out, w)
	case "LARGER", "SMALLER":
		n, err := s.number64()
		if err != nil {
			return err
		}
		if w == "LARGER" && (out.Larger == nil || n > *out.Larger) {
			out.Larger = &n
		}
		if w == "SMALLER" && (out.Smaller == nil || n < *out.Smaller) {
			out.Smaller = &n
		}
		return nil
	case "KEYWORD", "UNKEYWORD":
		a, err := s.atom()
		if err != nil {
			return err
		}
		if w == "KEYWORD" {
			out.Flags.Keywords = addKeyword(out.Flags.Keywords, string(a))
		} else {
			out.NotFlag.Keywords = addKeyword(out.NotFlag.Keywords, string(a))
		}
		return nil
	case "UID":
		set, saved, err := s.set()
		if err != nil {
			return err
		}
		if saved && s.many {
			return errNotSelected
		}
		if saved {
			return s.within(out, s.c.saved.Clone())
		}
		return s.within(out, uidSet(set, s.c.sel.uids.Max()))
	}
	return s.keyOfExtension(out, w)
}

// combined reads NOT and OR.
func (s *searchReader) combined(out *Criteria, w string) error {
	if err := s.nest(); err != nil {
		return err
	}
	var a, b Criteria
	if err := s.key(&a); err != nil {
		return err
	}
	if w == "NOT" {
		out.Not = append(out.Not, a)
		s.depth--
		return nil
	}
	if err := s.sp(); err != nil {
		return err
	}
	if err := s.key(&b); err != nil {
		return err
	}
	out.Or = append(out.Or, [2]Criteria{a, b})
	s.depth--
	return nil
}

// headerNames gives header fields the spelling that backends may index them by.
var headerNames = map[string]string{"BCC": "Bcc", "CC": "Cc", "FROM": "From", "SUBJECT": "Subject", "TO": "To"}

func (s *searchReader) textKey(out *Criteria, w string) error {
	name := headerNames[w]
	if w == "HEADER" {
		raw, err := s.astring()
		if err == nil {
			err = s.sp()
		}
		if err != nil {
			return err
		}
		name = string(raw)
	}
	raw, err := s.astring()
	if err != nil {
		return err
	}
	value, err := s.text(raw)
	if err != nil {
		return err
	}
	switch w {
	case "BODY":
		out.Body = append(out.Body, value)
	case "TEXT":
		out.Text = append(out.Text, value)
	default:
		out.Header = append(out.Header, HeaderKey{name, value})
	}
	return nil
}

// text turns a search string into UTF-8.
func (s *searchReader) text(raw []byte) (string, error) {
	if isASCII(raw) && (s.charset == "" || s.charset == "US-ASCII" || s.charset == "UTF-8") {
		return string(raw), nil
	}
	charset := s.charset
	if charset == "" {
		charset = "UTF-8"
	}
	text, known := message.DecodeString(raw, charset)
	if !known {
		return "", no("BADCHARSET (UTF-8 US-ASCII)", "charset is not known")
	}
	return strings.ToValidUTF8(text, "\uFFFD"), nil
}

func (s *searchReader) dateKey(out *Criteria, w string) error {
	day, err := s.date()
	if err != nil {
		return err
	}
	since, before := &out.Since, &out.Before
	if strings.HasPrefix(w, "SENT") {
		since, before, w = &out.SentSince, &out.SentBefore, w[4:]
	}
	dayBound(since, before, w, day)
	return nil
}

// dayBound narrows the bounds to those of SINCE, BEFORE or ON.
func dayBound(since, before *time.Time, w string, day time.Time) {
	if w == "SINCE" || w == "ON" {
		if day.After(*since) {
			*since = day
		}
	}
	end := day
	if w == "ON" {
		end = day.AddDate(0, 0, 1)
	}
	if w == "BEFORE" || w == "ON" {
		if before.IsZero() || end.Before(*before) {
			*before = end
		}
	}
}

// searchReturn is what SEARCH RETURN asks for (RFC 4731).
type searchReturn struct {
	extended             bool
	min, max, all, count bool
	save                 bool       // RFC 5182
	relevancy            bool       // RFC 6203
	update               bool       // RFC 5267 section 4.3
	hint                 bool       // CONTEXT (RFC 5267 section 4.2): nothing is kept for it
	plan                 *fetchPlan // of UPDATE (RFC 5465 section 7)
	of                   *selected  // the answer names it (RFC 7377); nil: it does not
	partial              *partialRange
}

// returnArgs reads RETURN (...).
func (s *searchReader) returnArgs() (r searchReturn, err error) {
	if !s.acceptWord("RETURN") {
		return r, nil
	}
	r.extended = true
	if err = s.sp(); err == nil {
		err = s.expect('(')
	}
	if err != nil {
		return r, err
	}
	for n := 0; !s.accept(')'); n++ {
		if n > 0 {
			if err := s.sp(); err != nil {
				return r, err
			}
		}
		switch w := s.word(); w {
		case "MIN":
			r.min = true
		case "MAX":
			r.max = true
		case "ALL":
			r.all = true
		case "COUNT":
			r.count = true
		case "SAVE":
			r.save = true
		case "RELEVANCY":
			r.relevancy = true
		case "CONTEXT":
			r.hint = true
		case "UPDATE":
			if err := s.updateArgs(&r); err != nil {
				return r, err
			}
		case "PARTIAL":
			if r.partial != nil { // RFC 9394 section 3.1
				return r, bad("PARTIAL is there more than once")
			}
			if err := s.sp(); err != nil {
				return r, err
			}
			if r.partial, err = s.partialRange(); err != nil {
				return r, err
			}
		default:
			return r, bad("there is no SEARCH return option %s", clip(w))
		}
	}
	if !r.min && !r.max && !r.count && !r.save && !r.relevancy && !r.update && !r.hint && r.partial == nil {
		r.all = true
	}
	if r.partial != nil && r.all { // RFC 9394 section 3.1
		return r, bad("PARTIAL and ALL do not go together")
	}
	return r, s.sp()
}

// charsetArg reads CHARSET and the name behind it.
func (s *searchReader) charsetArg() error {
	if !s.acceptWord("CHARSET") {
		return nil
	}
	if s.c.mode&(modeUTF8|modeRev2) == modeUTF8 { // RFC 6855 section 3; RFC 9051 section 6.4.4 has it again
		return bad("after ENABLE UTF8=ACCEPT a search is in UTF-8: leave CHARSET out")
	}
	if err := s.sp(); err != nil {
		return err
	}
	return s.charsetName()
}

func (s *searchReader) charsetName() error {
	name, err := s.astring()
	if err != nil {
		return err
	}
	s.charset = upper(name)
	if _, known := message.DecodeString([]byte("a"), s.charset); !known {
		return no("BADCHARSET (UTF-8 US-ASCII)", fmt.Sprintf("charset %s is not known", clip(s.charset)))
	}
	return s.sp()
}
