package imap

import (
	"context"
	"strconv"
)

// cmdSearch: RFC 9051 section 6.4.4, RFC 4731.
func (c *conn) cmdSearch(ctx context.Context, p *parser, uid bool) error {
	s := &searchReader{parser: p, c: c}
	ret, err := s.returnArgs()
	if err == nil {
		err = s.charsetArg()
	}
	if err != nil {
		return err
	}
	crit, err := s.criteria()
	if err != nil {
		return err
	}
	res, err := c.search(ctx, &Query{Criteria: crit})
	if err != nil {
		return err
	}
	if !ret.extended {
		c.tellSearch("SEARCH", res.UIDs, uid)
		return c.spill()
	}
	c.tellESearch(&ret, res, uid)
	return c.spill()
}

// search asks the backend within the session's view.
func (c *conn) search(ctx context.Context, q *Query) (*SearchResult, error) {
	q.Within = c.sel.uids.Subtract(c.sel.gone)
	res, err := c.sel.box.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	res.UIDs = res.UIDs.Intersect(q.Within)
	return res, nil
}

// tellSearch writes the answer of RFC 3501.
func (c *conn) tellSearch(verb string, uids UIDSet, uid bool) {
	c.begin()
	c.out = append(c.out, "* "...)
	c.out = append(c.out, verb...)
	s := seqs{set: c.sel.uids}
	for u := range uids.All() {
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

// tellESearch writes ESEARCH (RFC 4731 section 3.1).
func (c *conn) tellESearch(ret *searchReturn, res *SearchResult, uid bool) {
	nums := c.asNumbers(res.UIDs, uid)
	c.begin()
	c.out = append(c.out, "* ESEARCH (TAG "...)
	c.out = appendString(c.out, c.tag)
	c.out = append(c.out, ')')
	if uid {
		c.out = append(c.out, " UID"...)
	}
	if len(nums) > 0 {
		if ret.min {
			c.out = append(c.out, " MIN "...)
			c.num(uint64(nums.Min()))
		}
		if ret.max {
			c.out = append(c.out, " MAX "...)
			c.num(uint64(nums.Max()))
		}
		if ret.all {
			c.out = append(c.out, " ALL "...)
			c.out = nums.Append(c.out)
		}
	}
	if ret.count {
		c.out = append(c.out, " COUNT "...)
		c.num(uint64(nums.Len()))
	}
	c.say()
}
