package mailbox

import (
	"context"
	"errors"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// Search answers SEARCH, SORT and THREAD. What can be told by the UID sets (UNSEEN, DELETED, UIDs) is told by them;
// flags, dates and sizes by the small rows; the usual header fields by the header rows. Only the rest reads bodies.
func (s *selected) Search(ctx context.Context, q *imap.Query) (*imap.SearchResult, error) {
	crit := q.Criteria
	if crit == nil {
		crit = &imap.Criteria{}
	}
	set, rest, err := s.narrow(ctx, q.Within, crit)
	if err != nil {
		return nil, toIMAP(err)
	}
	res := &imap.SearchResult{}
	if rest == nil && len(q.Sort) == 0 && q.Thread == "" {
		res.UIDs = set
		return res, nil
	}
	f := newFinder(rest, res, s.m.now())
	if err := s.findAll(ctx, set, f); err != nil {
		return nil, toIMAP(err)
	}
	if len(q.Sort) > 0 {
		res.Ordered, err = s.sortSet(ctx, res.UIDs, q.Sort)
	}
	if q.Thread != "" && err == nil {
		res.Threads, err = s.threadSet(ctx, res.UIDs, q.Thread)
	}
	if err != nil {
		return nil, toIMAP(err)
	}
	return res, nil
}

// findAll looks for what matches: by columns if they can tell it all, else by the rows of each message.
func (s *selected) findAll(ctx context.Context, set imap.UIDSet, f *finder) error {
	if f.all() { // and narrow has limited it to messages that are there
		f.res.UIDs = set
		return nil
	}
	if s.guest == 0 && f.plain() && set.Len() >= s.m.columnWorth {
		found, ok, err := s.plainSet(ctx, set, f)
		if ok || err != nil {
			f.res.UIDs = found
			return err
		}
	}
	if f.plan != nil {
		few, err := s.propose(ctx, set, f.plan)
		if err != nil {
			return err
		}
		set = few
	}
	return s.find(ctx, set, f)
}

// narrow limits the set to messages that are there and match what the UID sets know of the criteria. It returns what
// remains to be asked of each message, nil for nothing.
func (s *selected) narrow(ctx context.Context, within imap.UIDSet, crit *imap.Criteria) (set imap.UIDSet, rest *imap.Criteria, err error) {
	for _, u := range crit.UIDs {
		within = within.Intersect(u)
	}
	const known = imap.FlagSeen | imap.FlagDeleted
	on, off := crit.Flags.System&known, crit.NotFlag.System&known
	err = s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if err != nil || len(within) == 0 {
			return err
		}
		sets, err := s.setsAt(ctx, r, s.id, &row)
		if err != nil {
			return err
		}
		if sets != nil {
			set = sets.with(on, off)
			return nil
		}
		lo, hi := uid(within.Min()), uid(within.Max())
		return s.chunks(ctx, r, s.id, lo, func(no uint32, c *chunk) bool {
			if no > chunkOf(hi) {
				return false
			}
			c.restrict(on, off)
			c.All.addTo(&set, no, lo)
			return true
		})
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	left := *crit
	left.UIDs = nil
	left.Flags.System &^= known
	left.NotFlag.System &^= known
	if !isEmpty(&left) {
		rest = &left
	}
	return set.Intersect(within), rest, nil
}

// restrict leaves in All what has the flags of on and none of off.
func (c *chunk) restrict(on, off imap.SystemFlags) {
	for i := range c.All {
		if on&imap.FlagSeen != 0 {
			c.All[i] &^= c.Unseen[i]
		}
		if off&imap.FlagSeen != 0 {
			c.All[i] &= c.Unseen[i]
		}
		if on&imap.FlagDeleted != 0 {
			c.All[i] &= c.Deleted[i]
		}
		if off&imap.FlagDeleted != 0 {
			c.All[i] &^= c.Deleted[i]
		}
	}
}

// isEmpty tells whether criteria match everything.
func isEmpty(c *imap.Criteria) bool {
	return len(c.UIDs) == 0 && c.Flags.System == 0 && len(c.Flags.Keywords) == 0 && c.NotFlag.System == 0 && len(c.NotFlag.Keywords) == 0 &&
		c.Recent == nil && c.Since.IsZero() && c.Before.IsZero() && c.SentSince.IsZero() && c.SentBefore.IsZero() &&
		c.SavedSince.IsZero() && c.SavedBefore.IsZero() && c.Younger == 0 && c.Older == 0 && c.Larger == nil && c.Smaller == nil &&
		c.ModSeq == 0 && c.EmailID == "" && c.ThreadID == "" && len(c.Header) == 0 && len(c.Body) == 0 && len(c.Text) == 0 &&
		len(c.Not) == 0 && len(c.Or) == 0
}

// finder collects what a search finds. What the rows beside a message can tell is asked first.
type finder struct {
	res      *imap.SearchResult
	keyed    keyed
	rest     *imap.Matcher // what the keys cannot tell; nil: nothing
	restNeed imap.Need
	dates    *imap.Matcher // of the dates that keyed has, for messages without keys
	matcher  *imap.Matcher // of all, likewise
	plan     *textPlan     // what the text index can tell; nil: nothing
}

func newFinder(crit *imap.Criteria, res *imap.SearchResult, now time.Time) *finder {
	f := &finder{res: res}
	var rest *imap.Criteria
	if f.keyed, rest = splitKeyed(crit); rest != nil {
		f.rest = imap.NewMatcher(rest, now)
		f.restNeed = f.rest.Need()
		f.plan = planText(rest)
	}
	if crit != nil {
		f.matcher = imap.NewMatcher(crit, now)
		f.dates = imap.NewMatcher(f.keyed.dateCriteria(), now)
	}
	return f
}

// plain tells whether columns can answer it.
func (f *finder) plain() bool { return len(f.keyed.texts) == 0 && f.restNeed&^columnNeeds == 0 }

// all tells whether everything matches.
func (f *finder) all() bool { return f.rest == nil && !f.keyed.dated() && len(f.keyed.texts) == 0 }

// needs is what must be read of each message.
func (f *finder) needs() imap.Need {
	need := f.restNeed
	if len(f.keyed.texts) > 0 || f.keyed.dated() {
		need |= imap.NeedHeader | imap.NeedContent | imap.NeedDates
	}
	return need
}

// find looks at each message of the set. Content is opened only when it is asked for, unless the text is.
func (s *selected) find(ctx context.Context, set imap.UIDSet, f *finder) error {
	fetch := f.needs()
	lazy := fetch&imap.NeedContent != 0 && fetch&imap.NeedParts == 0
	if lazy {
		fetch &^= imap.NeedContent
	}
	var p page
	var m imap.Message
	var content lazyContent
	for from := uid(1); from != 0; from = p.next {
		if err := s.readPage(ctx, &p, from, set, fetch); err != nil {
			return err
		}
		for i := range p.msgs {
			row := &p.msgs[i]
			if err := s.fill(&m, &p, i, fetch); err != nil {
				return err
			}
			if lazy {
				content = lazyContent{s: s, uid: row.uid, size: m.Size}
				m.Content = &content
			}
			ok, err := f.matches(ctx, &m, p.get(row.header))
			if err != nil && !isExpunged(err) {
				return err
			}
			if ok {
				f.res.UIDs.Add(m.UID)
				f.res.ModSeq = max(f.res.ModSeq, m.ModSeq)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// matches asks one message; header is its header row, if it was read.
func (f *finder) matches(ctx context.Context, m *imap.Message, header []byte) (bool, error) {
	if len(f.keyed.texts) > 0 {
		if len(header) == 0 {
			return f.matcher.Match(ctx, m)
		}
		_, b, _, err := decodeHeaderRow(header)
		if err != nil {
			return false, err
		}
		if len(b) == 0 {
			return f.matcher.Match(ctx, m)
		}
		t, err := decodeTexts(b)
		if err != nil || !f.keyed.matchTexts(&t) {
			return false, err
		}
	}
	if f.keyed.dated() {
		if ok, err := f.dates.Match(ctx, m); !ok || err != nil {
			return false, err
		}
	}
	if f.rest == nil {
		return true, nil
	}
	return f.rest.Match(ctx, m)
}

// isExpunged tells whether a message went while it was looked at: it is passed over.
func isExpunged(err error) bool {
	var e *imap.Error
	return errors.As(err, &e) && e.Code == "EXPUNGEISSUED"
}

// lazyContent reads the summary of a message when its content is first asked for.
type lazyContent struct {
	s    *selected
	uid  uid
	size int64
	c    *content
}

// Size is that of the whole message, in octets.
func (l *lazyContent) Size() int64 { return l.size }

// Append reads a range of the message.
func (l *lazyContent) Append(ctx context.Context, dst []byte, off, n int64) ([]byte, error) {
	if l.c == nil {
		if err := l.open(ctx); err != nil {
			return dst, err
		}
	}
	return l.c.Append(ctx, dst, off, n)
}

func (l *lazyContent) open(ctx context.Context) error {
	s := l.s
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		v, err := r.Get(ctx, ar.msgKey(kindSummary, s.account.id, s.id, l.uid))
		if err != nil {
			return err
		}
		sum, err := decodeSummary(v)
		if err != nil {
			return err
		}
		l.c = &content{m: s.m, prefix: append([]byte(nil), sum.Prefix...), hash: sum.Hash, body: sum.Body}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return errExpunged
	}
	return toIMAP(err)
}

var errExpunged = no("EXPUNGEISSUED", "The message was expunged meanwhile")
