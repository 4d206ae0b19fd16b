package imap

import (
	"context"
	"slices"
	"strconv"
)

// searchContext is a search whose result the client is told changes of (RFC 5267 section 4.3).
type searchContext struct {
	tag      string
	uid      bool
	criteria *Criteria
	sort     []SortKey
	plan     *fetchPlan // of new messages that join it (RFC 5465 section 7); nil: none
	members  UIDSet
	ordered  []UID // members in the order of sort, if there is one
}

// contextMove is which messages joined or left a context.
type contextMove struct {
	added, removed UIDSet
	order          []UID
}

// updateArgs reads what may follow UPDATE in RETURN (RFC 5465 section 8, modifier-update).
func (s *searchReader) updateArgs(r *searchReturn) (err error) {
	r.update = true
	sp := s.i
	if !s.accept('(') && !(s.accept(' ') && s.accept('(')) {
		s.i = sp
		return nil
	}
	if !s.c.offersNotify() {
		return errNoExtension
	}
	r.plan, err = s.c.fetchList(s.parser)
	return err
}

// fetchList reads fetch items up to the closing parenthesis, for messages that are told unasked: reading them does not set
// \Seen.
func (c *conn) fetchList(p *parser) (*fetchPlan, error) {
	plan := &fetchPlan{}
	if c.mode&modeUIDOnly == 0 {
		plan.add(fetchItem{kind: itemUID, label: "UID "})
	}
	for n := 1; ; n++ {
		if err := c.fetchItem(p, plan, false); err != nil {
			return nil, err
		}
		if err := p.tooMany(n * 20); err != nil {
			return nil, err
		}
		if p.accept(')') {
			break
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
	plan.seen = false
	if plan.flags && c.mode&modeCondstore != 0 {
		plan.add(fetchItem{kind: itemModSeq, label: "MODSEQ "})
	}
	return plan, nil
}

// mayUpdate refuses a tag that another context has (RFC 5267 section 4.3).
func (c *conn) mayUpdate(r *searchReturn) error {
	if r.update && slices.ContainsFunc(c.sel.contexts, func(x *searchContext) bool { return x.tag == c.tag }) {
		return bad("the tag is that of a search whose result is kept up to date")
	}
	return nil
}

// keepContext begins to keep a result up to date, or says that it will not be (RFC 5267 section 4.3.1).
func (c *conn) keepContext(r *searchReturn, q *Query, res *SearchResult, uid bool) {
	if !r.update {
		return
	}
	why := ""
	switch {
	case len(c.sel.contexts) >= c.limits.Contexts:
		why = "too many contexts, " + strconv.Itoa(c.limits.Contexts) + " at most"
	case q.Criteria.byClock():
		why = "the result changes by the clock"
	}
	if why != "" {
		c.begin()
		c.out = append(c.out, "* NO [NOUPDATE "...)
		c.out = appendString(c.out, c.tag)
		c.say("] ", why)
		return
	}
	c.sel.contexts = append(c.sel.contexts, &searchContext{
		tag: c.tag, uid: uid, criteria: q.Criteria, sort: q.Sort, plan: r.plan, members: res.UIDs.Clone(), ordered: slices.Clone(res.Ordered),
	})
}

// byClock reports whether a message may begin or cease to match while nothing happens to it (RFC 5032).
func (q *Criteria) byClock() bool {
	if q == nil {
		return false
	}
	if q.Younger != 0 || q.Older != 0 || slices.ContainsFunc(q.Not, func(n Criteria) bool { return n.byClock() }) {
		return true
	}
	return slices.ContainsFunc(q.Or, func(o [2]Criteria) bool { return o[0].byClock() || o[1].byClock() })
}

// cmdCancelUpdate: RFC 5267 section 4.3.5.
func (c *conn) cmdCancelUpdate(p *parser) error {
	var tags []string
	for {
		tag, err := p.str()
		if err == nil {
			err = p.tooMany(len(tags) * 100)
		}
		if err != nil {
			return err
		}
		tags = append(tags, string(tag))
		if p.atEnd() {
			break
		}
		if err := p.sp(); err != nil {
			return err
		}
	}
	c.sel.contexts = slices.DeleteFunc(c.sel.contexts, func(x *searchContext) bool { return contains(tags, x.tag) })
	return nil
}

// contextsLose tells which expunged messages were in contexts, while their sequence numbers still hold (RFC 5267 section
// 4.3.4).
func (c *conn) contextsLose(gone UIDSet) {
	for _, x := range c.sel.contexts {
		c.tellMove(x, &contextMove{removed: gone.Intersect(x.members)})
	}
}

// contextMove finds out which of the changed messages joined or left a context.
func (c *conn) contextMove(ctx context.Context, x *searchContext, changed UIDSet) (m contextMove, err error) {
	res, err := c.sel.box.Search(ctx, &Query{Within: changed, Criteria: x.criteria})
	if err != nil {
		return m, err
	}
	found := res.UIDs.Intersect(changed)
	m.added, m.removed = found.Subtract(x.members), x.members.Intersect(changed).Subtract(found)
	if len(m.added) > 0 && len(x.sort) > 0 {
		all := x.members.Subtract(m.removed).Union(m.added)
		if res, err = c.sel.box.Search(ctx, &Query{Within: all, Criteria: &Criteria{}, Sort: x.sort}); err != nil {
			return m, err
		}
		m.order = res.Ordered
	}
	return m, nil
}

// tellMove says ESEARCH with REMOVEFROM and ADDTO (RFC 5267 sections 4.3.3 and 4.3.4) and notes it.
func (c *conn) tellMove(x *searchContext, m *contextMove) {
	if len(m.added) == 0 && len(m.removed) == 0 {
		return
	}
	c.begin()
	c.out = append(c.out, "* ESEARCH (TAG "...)
	c.out = appendString(c.out, x.tag)
	c.out = append(c.out, ')')
	if x.uid {
		c.out = append(c.out, " UID"...)
	}
	nums := c.numbering(x.uid)
	if len(x.sort) > 0 {
		x.ordered = c.tellSortedMove(x, m, nums)
	} else {
		for _, part := range [...]struct {
			name string
			set  UIDSet
		}{{" REMOVEFROM (0 ", m.removed}, {" ADDTO (0 ", m.added}} {
			if len(part.set) > 0 {
				c.out = append(c.out, part.name...)
				c.out = append(c.asNumbers(part.set, x.uid).Append(c.out), ')')
			}
		}
	}
	c.say()
	x.members = x.members.Subtract(m.removed).Union(m.added)
}

// tellSortedMove writes positions and numbers, and returns the new order. What leaves is told from the end, so that the
// positions before it hold; what joins from the beginning, each at the place that it will have.
func (c *conn) tellSortedMove(x *searchContext, m *contextMove, nums *ranks) []UID {
	sep := " REMOVEFROM ("
	for i := len(x.ordered) - 1; i >= 0; i-- {
		if m.removed.Contains(x.ordered[i]) {
			sep = c.tellPlace(sep, i+1, nums.number(x.ordered[i]))
		}
	}
	if len(m.removed) > 0 {
		c.out = append(c.out, ')')
	}
	left := slices.DeleteFunc(x.ordered, m.removed.Contains)
	if len(m.added) == 0 {
		return left
	}
	sep = " ADDTO ("
	for i, u := range m.order {
		if m.added.Contains(u) {
			sep = c.tellPlace(sep, i+1, nums.number(u))
		}
	}
	c.out = append(c.out, ')')
	return m.order
}

func (c *conn) tellPlace(sep string, place int, number UID) string {
	c.out = append(c.out, sep...)
	c.num(uint64(place))
	c.out = append(c.out, ' ')
	c.num(uint64(number))
	return " "
}
