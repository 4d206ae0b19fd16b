package imap

// fuzzyKey reads the key behind FUZZY (RFC 6203 section 4).
func (s *searchReader) fuzzyKey(out *Criteria) error {
	if err := s.nest(); err != nil {
		return err
	}
	s.fuzzy = true
	if err := s.key(out); err != nil {
		return err
	}
	s.depth--
	return nil
}

// relevancy checks that RELEVANCY goes with FUZZY (RFC 6203 sections 4 and 5). All that is found is as near as can be,
// so that sorting by it changes nothing: the key is taken out, or stands for the order of arrival if it is the only one.
func (s *searchReader) relevancy(ret *searchReturn, keys []SortKey) ([]SortKey, error) {
	var rest []SortKey
	for _, k := range keys {
		if k.Key != "RELEVANCY" {
			rest = append(rest, k)
		}
	}
	if (ret.relevancy || len(rest) < len(keys)) && !s.fuzzy {
		return nil, bad("RELEVANCY needs the search key FUZZY")
	}
	if len(rest) == 0 && len(keys) > 0 {
		rest = []SortKey{{Key: "ARRIVAL"}}
	}
	return rest, nil
}

// tellRelevancy writes the score of each message that the answer names (RFC 6203 section 4).
func (c *conn) tellRelevancy(ret *searchReturn, res *SearchResult) {
	n := res.UIDs.Len()
	if ret.partial != nil {
		lo, hi := ret.partial.bounds(n)
		n = max(hi-lo, 0)
	}
	if n == 0 {
		return
	}
	c.out = append(c.out, " RELEVANCY ("...)
	for i := range n {
		if i > 0 {
			c.out = append(c.out, ' ')
		}
		c.out = append(c.out, "100"...)
	}
	c.out = append(c.out, ')')
}
