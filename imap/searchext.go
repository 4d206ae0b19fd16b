package imap

import (
	"context"
	"math"
	"time"
)

// keyOfExtension reads the search keys of extensions; the space behind the key was read.
func (s *searchReader) keyOfExtension(out *Criteria, w string) error {
	switch w {
	case "YOUNGER", "OLDER": // RFC 5032
		n, err := s.number()
		if err == nil && n == 0 {
			err = bad("%s counts seconds from 1", w)
		}
		if err != nil {
			return err
		}
		d := time.Duration(n) * time.Second
		if w == "YOUNGER" && (out.Younger == 0 || d < out.Younger) {
			out.Younger = d
		}
		if w == "OLDER" && d > out.Older {
			out.Older = d
		}
		return nil
	case "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE": // RFC 8514
		day, err := s.date()
		if err == nil {
			dayBound(&out.SavedSince, &out.SavedBefore, w[5:], day)
		}
		return err
	case "UIDAFTER", "UIDBEFORE": // RFC 9738 section 3.3
		n, err := s.number()
		if err == nil && n == 0 {
			err = bad("%s takes a UID", w)
		}
		if err == nil {
			err = s.within(out, beyond(w, UID(n)))
		}
		return err
	case "EMAILID", "THREADID": // RFC 8474
		id, err := s.atom()
		if err != nil {
			return err
		}
		also := Criteria{EmailID: string(id)}
		if w == "THREADID" {
			also = Criteria{ThreadID: string(id)}
		}
		out.Not = append(out.Not, Criteria{Not: []Criteria{also}}) // there may be another id in out
		return nil
	case "MODSEQ":
		return s.modSeqKey(out)
	}
	return bad("there is no search key %s", clip(w))
}

// beyond is all UIDs above or below one.
func beyond(w string, u UID) UIDSet {
	out := UIDSet{}
	if w == "UIDAFTER" && u < math.MaxUint32 {
		out.AddRange(u+1, math.MaxUint32)
	}
	if w == "UIDBEFORE" && u > 1 {
		out.AddRange(1, u-1)
	}
	return out
}

// modSeqKey: RFC 7162 section 3.1.5. The entry of one flag has the mod-sequence of the message.
func (s *searchReader) modSeqKey(out *Criteria) error {
	if s.peek() == '"' {
		if _, err := s.quoted(); err != nil {
			return err
		}
		if err := s.sp(); err != nil {
			return err
		}
		if w := s.word(); w != "PRIV" && w != "SHARED" && w != "ALL" {
			return bad("entry type of MODSEQ is not priv, shared or all")
		}
		if err := s.sp(); err != nil {
			return err
		}
	}
	n, err := s.number64()
	if err != nil {
		return err
	}
	out.ModSeq = max(out.ModSeq, ModSeq(n))
	s.modseq = true
	s.c.mode |= modeCondstore
	return nil
}

// cmdSort: RFC 5256, RFC 5267 section 3 (ESORT).
func (c *conn) cmdSort(ctx context.Context, p *parser, uid bool) (err error) {
	s := &searchReader{parser: p, c: c, filter: c.filterSource(ctx)}
	ret, err := s.returnArgs()
	defer func() { c.saveFailed(&ret, err) }()
	if err != nil {
		return err
	}
	keys, err := p.sortKeys()
	if err == nil {
		err = p.sp()
	}
	if err == nil {
		err = s.charsetName()
	}
	if err != nil {
		return err
	}
	crit, err := s.criteria()
	if err == nil {
		keys, err = s.relevancy(&ret, keys)
	}
	if err != nil {
		return err
	}
	if err := c.mayUpdate(&ret); err != nil {
		return err
	}
	q := &Query{Criteria: crit, Sort: keys}
	res, err := c.search(ctx, q)
	if err != nil {
		return err
	}
	c.save(&ret, res)
	if ret.extended {
		err := c.tellESearch(ctx, s, &ret, res, uid)
		c.keepContext(&ret, q, res, uid)
		return err
	}
	c.begin()
	c.out = append(c.out, "* SORT"...)
	nums := c.numbering(uid)
	for _, u := range res.Ordered {
		n := nums.number(u)
		if n == 0 {
			continue
		}
		c.out = append(c.out, ' ')
		c.num(uint64(n))
		if err := c.spill(); err != nil {
			return err
		}
	}
	c.tellHighest(s, res)
	c.say()
	return c.spill()
}

// numbering gives what an answer shows for messages: their UIDs (nil), or their sequence numbers.
func (c *conn) numbering(uid bool) *ranks {
	if uid {
		return nil
	}
	return newRanks(c.sel.uids)
}

// number is what is shown for a message, 0 if there is no such message.
func (r *ranks) number(u UID) UID {
	if r == nil {
		return u
	}
	return UID(r.of(u))
}

// sortKeys reads the program of SORT.
func (p *parser) sortKeys() ([]SortKey, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	var keys []SortKey
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return nil, err
			}
		}
		k := SortKey{Key: p.word()}
		if k.Key == "REVERSE" {
			if err := p.sp(); err != nil {
				return nil, err
			}
			k = SortKey{Key: p.word(), Reverse: true}
		}
		switch k.Key {
		case "ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", "RELEVANCY":
		default:
			return nil, bad("there is no sort key %s", clip(k.Key))
		}
		if keys = append(keys, k); len(keys) > 50 {
			return nil, bad("more than 50 sort keys")
		}
	}
	return keys, nil
}

// cmdThread: RFC 5256.
func (c *conn) cmdThread(ctx context.Context, p *parser, uid bool) error {
	s := &searchReader{parser: p, c: c, filter: c.filterSource(ctx)}
	algorithm := p.word()
	if algorithm != ThreadOrderedSubject && algorithm != ThreadReferences {
		return bad("there is no threading algorithm %s", clip(algorithm))
	}
	if err := p.sp(); err != nil {
		return err
	}
	if err := s.charsetName(); err != nil {
		return err
	}
	crit, err := s.criteria()
	if err != nil {
		return err
	}
	res, err := c.search(ctx, &Query{Criteria: crit, Thread: algorithm})
	if err != nil {
		return err
	}
	c.begin()
	c.out = append(c.out, "* THREAD"...)
	if len(res.Threads) > 0 {
		c.out = append(c.out, ' ')
	}
	nums := c.numbering(uid)
	for i := range res.Threads {
		c.out = append(c.out, '(')
		c.tellThread(&res.Threads[i], nums)
		c.out = append(c.out, ')')
		if err := c.spill(); err != nil {
			return err
		}
	}
	c.say()
	return c.spill()
}

// tellThread writes a thread: a chain of only children in a row, siblings in parentheses of their own. It works without
// recursion: a thread may be as deep as the mailbox is long.
func (c *conn) tellThread(t *Thread, nums *ranks) {
	var open [][]Thread // siblings still to come, of each level that is in parentheses
	for {
		wrote := false
		for {
			if n := nums.number(t.UID); t.UID != 0 && n != 0 {
				if wrote {
					c.out = append(c.out, ' ')
				}
				c.num(uint64(n))
				wrote = true
			}
			if len(t.Children) != 1 {
				break
			}
			t = &t.Children[0]
		}
		if len(t.Children) > 0 {
			if wrote {
				c.out = append(c.out, ' ')
			}
			open = append(open, t.Children)
		} else if len(open) > 0 {
			c.out = append(c.out, ')') // of t
		}
		for len(open) > 0 && len(open[len(open)-1]) == 0 {
			if open = open[:len(open)-1]; len(open) > 0 {
				c.out = append(c.out, ')') // of the parent of those
			}
		}
		if len(open) == 0 {
			return
		}
		last := &open[len(open)-1]
		t, *last = &(*last)[0], (*last)[1:]
		c.out = append(c.out, '(')
	}
}

// save keeps the result for "$" (RFC 5182 section 2.1, RFC 9051 section 6.4.4.1).
func (c *conn) save(ret *searchReturn, res *SearchResult) {
	if !ret.save {
		return
	}
	c.saved = res.UIDs.Clone()
	if (ret.min || ret.max) && !ret.all && !ret.count && ret.partial == nil {
		c.saved = nil
		lowest, highest := ends(res)
		if ret.min {
			c.saved.Add(lowest)
		}
		if ret.max {
			c.saved.Add(highest)
		}
		if lowest == 0 {
			c.saved = nil
		}
	}
	if ret.partial != nil && !ret.all && !ret.count {
		c.saved = ret.partial.of(res.UIDs)
	}
}

// ends gives the first and last of a result in its order; 0 if it is empty.
func ends(res *SearchResult) (first, last UID) {
	if n := len(res.Ordered); n > 0 {
		return res.Ordered[0], res.Ordered[n-1]
	}
	return res.UIDs.Min(), res.UIDs.Max()
}

// tellHighest adds the highest mod-sequence to SEARCH and SORT (RFC 7162 section 3.1.5).
func (c *conn) tellHighest(s *searchReader, res *SearchResult) {
	if s.modseq && len(res.UIDs) > 0 {
		c.out = append(c.out, " (MODSEQ "...)
		c.num(uint64(res.ModSeq))
		c.out = append(c.out, ')')
	}
}

// tellESearch writes ESEARCH (RFC 4731 section 3.1, RFC 5267, RFC 9394).
func (c *conn) tellESearch(ctx context.Context, s *searchReader, ret *searchReturn, res *SearchResult, uid bool) error {
	if ret.save && !ret.min && !ret.max && !ret.all && !ret.count && ret.partial == nil {
		return nil // RFC 5182 section 2.1: SAVE alone has no answer
	}
	c.begin()
	c.out = append(c.out, "* ESEARCH (TAG "...)
	c.out = appendString(c.out, c.tag)
	if ret.of != nil {
		c.tellOf(ret.of)
	}
	c.out = append(c.out, ')')
	if uid {
		c.out = append(c.out, " UID"...)
	}
	nums := c.numbering(uid)
	var told UIDSet // when only some are told, the mod-sequence is of these
	if first, last := ends(res); first != 0 {
		if ret.min {
			c.out = append(c.out, " MIN "...)
			c.num(uint64(nums.number(first)))
			told.Add(first)
		}
		if ret.max {
			c.out = append(c.out, " MAX "...)
			c.num(uint64(nums.number(last)))
			told.Add(last)
		}
		if ret.all {
			c.out = append(c.out, " ALL "...)
			c.tellNumbers(res, nil, uid)
		}
	}
	if ret.partial != nil {
		c.out = append(c.out, " PARTIAL ("+ret.partial.String()+" "...)
		c.tellNumbers(res, ret.partial, uid)
		c.out = append(c.out, ')')
	}
	if ret.count {
		c.out = append(c.out, " COUNT "...)
		c.num(uint64(res.UIDs.Len()))
	}
	if ret.relevancy {
		c.tellRelevancy(ret, res)
	}
	if s.modseq && len(res.UIDs) > 0 {
		highest := res.ModSeq
		if len(told) > 0 && !ret.all && !ret.count {
			highest = 0
			for m, err := range c.sel.box.Fetch(ctx, told, 0) {
				if err != nil {
					return err
				}
				highest = max(highest, m.ModSeq)
			}
		}
		c.out = append(c.out, " MODSEQ "...)
		c.num(uint64(highest))
	}
	c.say()
	return c.spill()
}

// tellNumbers writes a result, or a part of it, as a set: in its order if it has one.
func (c *conn) tellNumbers(res *SearchResult, part *partialRange, uid bool) {
	if len(res.Ordered) == 0 {
		set := res.UIDs
		if part != nil {
			set = part.of(set)
		}
		if len(set) == 0 {
			c.out = append(c.out, "NIL"...)
			return
		}
		c.out = c.asNumbers(set, uid).Append(c.out)
		return
	}
	list := res.Ordered
	if part != nil {
		lo, hi := part.bounds(len(list))
		list = list[lo:max(lo, hi)]
	}
	if len(list) == 0 {
		c.out = append(c.out, "NIL"...)
		return
	}
	nums := c.numbering(uid)
	for i := 0; i < len(list); { // a set in the order of the result (RFC 5267 section 3.1); what counts up is a range
		if i > 0 {
			c.out = append(c.out, ',')
		}
		first := nums.number(list[i])
		last := first
		for i++; i < len(list) && nums.number(list[i]) == last+1; i++ {
			last++
		}
		c.num(uint64(first))
		if last > first {
			c.out = append(c.out, ':')
			c.num(uint64(last))
		}
	}
}
