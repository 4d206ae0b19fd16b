package imap

import (
	"context"
	"errors"
	"strconv"
)

// cmdSearch: RFC 9051 section 6.4.4, RFC 4731.
func (c *conn) cmdSearch(ctx context.Context, p *parser, uid bool) (err error) {
	s := &searchReader{parser: p, c: c, filter: c.filterSource(ctx)}
	ret, err := s.returnArgs()
	defer func() { c.saveFailed(&ret, err) }()
	if err == nil {
		err = s.charsetArg()
	}
	if err != nil {
		return err
	}
	crit, err := s.criteria()
	if err == nil {
		_, err = s.relevancy(&ret, nil)
	}
	if err != nil {
		return err
	}
	if err := c.mayUpdate(&ret); err != nil {
		return err
	}
	q := &Query{Criteria: crit}
	res, err := c.search(ctx, q)
	if err != nil {
		return err
	}
	c.save(&ret, res)
	if c.mode&modeRev2 != 0 && !ret.extended { // RFC 9051 section 6.4.4
		ret.extended, ret.all = true, true
	}
	if ret.extended {
		err := c.tellESearch(ctx, s, &ret, res, uid)
		c.keepContext(&ret, q, res, uid)
		return err
	}
	c.tellSearch(s, res, uid)
	return c.spill()
}

// saveFailed empties $ if a search that was to fill it is answered NO; BAD changes nothing (RFC 5182 section 2.1).
func (c *conn) saveFailed(ret *searchReturn, err error) {
	var e *Error
	if err != nil && ret.save && !(errors.As(err, &e) && e.Bad) {
		c.saved = nil
	}
}

// search asks the backend within the session's view.
func (c *conn) search(ctx context.Context, q *Query) (*SearchResult, error) {
	q.Within = c.sel.uids.Subtract(c.sel.gone)
	c.cutSearch(q)
	var res *SearchResult
	err := c.slowly(ctx, func(ctx context.Context) (err error) {
		res, err = c.sel.box.Search(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	res.UIDs = res.UIDs.Intersect(q.Within)
	return res, nil
}

// cutSearch leaves the highest of the messages that the search is about (RFC 9738 section 3.1).
func (c *conn) cutSearch(q *Query) {
	about := q.Within
	if q.Criteria != nil {
		for _, set := range q.Criteria.UIDs {
			about = about.Intersect(set)
		}
	}
	if n := about.Len(); n > c.limits.CommandMessages && c.limits.CommandMessages > 0 {
		q.Within = c.cut(about)
	}
}

// tellSearch writes the answer of RFC 3501.
func (c *conn) tellSearch(sr *searchReader, res *SearchResult, uid bool) {
	c.begin()
	c.out = append(c.out, "* SEARCH"...)
	s := seqs{set: c.sel.uids}
	for u := range res.UIDs.All() {
		n := int(u)
		if !uid {
			if n = s.of(u); n == 0 {
				continue
			}
		}
		c.out = append(c.out, ' ')
		c.out = strconv.AppendInt(c.out, int64(n), 10)
		if c.spill() != nil {
			return
		}
	}
	c.tellHighest(sr, res)
	c.say()
}

// asNumbers turns UIDs into what the answer shows: themselves, or sequence numbers.
func (c *conn) asNumbers(uids UIDSet, uid bool) UIDSet {
	if uid {
		return uids
	}
	s := seqs{set: c.sel.uids}
	var out UIDSet
	for _, r := range uids { // a range of UIDs may be several of sequence numbers, but never the other way round
		lo := s.of(r.Start)
		for u := r.Start; lo > 0; {
			end := min(r.Stop, s.set[s.i].Stop)
			out.AddRange(UID(lo), UID(lo+int(end-u)))
			if end == r.Stop {
				break
			}
			u = end + 1
			lo = s.of(u)
		}
	}
	return out
}
