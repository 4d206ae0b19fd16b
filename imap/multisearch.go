package imap

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// mailboxFilter names mailboxes (RFC 5465 section 6, RFC 7377 section 2.2).
type mailboxFilter struct {
	kind  string // SELECTED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE, SUBTREE-ONE, MAILBOXES
	names []string
}

// mailboxFilter reads one filter.
func (p *parser) mailboxFilter() (f mailboxFilter, err error) {
	switch f.kind = p.word(); f.kind {
	case "SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED":
		return f, nil
	case "SUBTREE", "SUBTREE-ONE", "MAILBOXES":
	default:
		return f, bad("there is no mailbox filter %s", clip(f.kind))
	}
	if err := p.sp(); err != nil {
		return f, err
	}
	many := p.accept('(')
	for n := 1; ; n++ {
		name, err := p.mailbox()
		if err == nil {
			err = p.tooMany(n)
		}
		if err != nil {
			return f, err
		}
		f.names = append(f.names, strings.TrimSuffix(name, "/"))
		if !many || p.accept(')') {
			return f, nil
		}
		if err := p.sp(); err != nil {
			return f, err
		}
	}
}

// filterTakes reports whether the filter names a mailbox other than as the selected one.
func (c *conn) filterTakes(f *mailboxFilter, b *Folder) bool {
	switch f.kind {
	case "PERSONAL", "INBOXES": // mail may be delivered to any mailbox, so that they are the same (RFC 5465 section 6.3)
		return c.isPersonal(b.Name)
	case "SUBSCRIBED":
		return b.Subscribed
	}
	for _, name := range f.names {
		if b.Name == name || f.kind == "SUBTREE" && strings.HasPrefix(b.Name, name+"/") ||
			f.kind == "SUBTREE-ONE" && parent(b.Name) == name && name != "" {
			return true
		}
	}
	return false
}

var errNotSelected = bad("message numbers and $ go with the selected mailbox only")

// cmdESearch: RFC 7377, a search in several mailboxes, each of which has an answer of its own if something was found.
func (c *conn) cmdESearch(ctx context.Context, p *parser) (err error) {
	s := &searchReader{parser: p, c: c, filter: c.filterSource(ctx), many: true}
	filters, err := c.searchSources(p)
	if err != nil {
		return err
	}
	ret, err := s.returnArgs()
	defer func() { c.saveFailed(&ret, err) }()
	if err == nil {
		err = s.charsetArg()
	}
	if err != nil {
		return err
	}
	if !ret.extended {
		ret.extended, ret.all = true, true
	}
	if s.many = slices.ContainsFunc(filters, func(f mailboxFilter) bool { return f.kind != "SELECTED" }); !s.many && c.sel == nil {
		return bad("select a mailbox first, or name mailboxes by IN")
	}
	if ret.update { // section 2.1 has nothing of contexts
		return bad("UPDATE goes with SEARCH and SORT only")
	}
	if ret.save && s.many { // section 2.1
		return bad("SAVE goes with the selected mailbox only")
	}
	keys := p.i
	if err := c.inView(c.viewOr(&selected{}), func() error { return s.programOf(&ret, nil) }); err != nil {
		return err
	}
	names, err := c.sources(ctx, filters)
	if err != nil {
		return err
	}
	for _, name := range names {
		p.i, s.keys, s.ranges, s.modseq = keys, 0, 0, false
		if err := c.searchMailbox(ctx, s, name, ret); err != nil {
			return err
		}
	}
	return nil
}

// programOf reads the search keys, into crit if that is not nil.
func (s *searchReader) programOf(ret *searchReturn, crit **Criteria) error {
	out, err := s.criteria()
	if err == nil {
		_, err = s.relevancy(ret, nil)
	}
	if crit != nil {
		*crit = out
	}
	return err
}

// searchSources reads IN (...), which stands for the selected mailbox if it is not there.
func (c *conn) searchSources(p *parser) ([]mailboxFilter, error) {
	if !p.acceptWord("IN") {
		return []mailboxFilter{{kind: "SELECTED"}}, nil
	}
	if err := p.sp(); err != nil {
		return nil, err
	}
	if err := p.expect('('); err != nil {
		return nil, err
	}
	var out []mailboxFilter
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return nil, err
			}
		}
		if n > 0 && p.peek() == '(' {
			return nil, bad("there are no scope options")
		}
		f, err := p.mailboxFilter()
		if err == nil {
			err = p.tooMany(n * 100) // each is matched against every mailbox
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, p.sp()
}

// sources lists the mailboxes that the filters name, in name order, each once.
func (c *conn) sources(ctx context.Context, filters []mailboxFilter) ([]string, error) {
	folders, err := c.account.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range folders {
		b := &folders[i]
		if b.NonExistent || b.NoSelect {
			continue
		}
		if slices.ContainsFunc(filters, func(f mailboxFilter) bool {
			return f.kind == "SELECTED" && c.sel != nil && c.sel.name == b.Name || f.kind != "SELECTED" && c.filterTakes(&f, b)
		}) {
			out = append(out, b.Name)
		}
	}
	return out, nil
}

// viewOr is the selected mailbox, or other if there is none.
func (c *conn) viewOr(other *selected) *selected {
	if c.sel != nil {
		return c.sel
	}
	return other
}

// inView runs work as if v were selected.
func (c *conn) inView(v *selected, work func() error) error {
	was := c.sel
	c.sel = v
	defer func() { c.sel = was }()
	return work()
}

// openView opens a mailbox beside the selected one, for reading. The selected one is seen as the client sees it.
func (c *conn) openView(ctx context.Context, name string) (v *selected, done func(), err error) {
	if c.sel != nil && c.sel.name == name {
		return c.sel, func() {}, nil
	}
	box, err := c.account.Select(ctx, name, true)
	if err != nil {
		return nil, nil, err
	}
	snap, err := box.Snapshot(ctx)
	if err != nil {
		_ = box.Close()
		return nil, nil, err
	}
	v = &selected{box: box, name: name, readOnly: true, validity: snap.UIDValidity, uids: snap.UIDs, modseq: snap.HighestModSeq}
	return v, func() { _ = box.Close() }, nil
}

// searchMailbox searches one mailbox of several. One that has gone or may not be read is left out (RFC 7377 section 2.2).
func (c *conn) searchMailbox(ctx context.Context, s *searchReader, name string, ret searchReturn) error {
	v, done, err := c.openView(ctx, name)
	if e, ok := err.(*Error); ok && e.Cause == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer done()
	return c.inView(v, func() error {
		var crit *Criteria
		if err := s.programOf(&ret, &crit); err != nil {
			return err
		}
		res, err := c.search(ctx, &Query{Criteria: crit})
		if err != nil {
			if ret.save {
				c.saved = nil // RFC 5182 section 2.1
			}
			return err
		}
		c.save(&ret, res)
		if len(res.UIDs) == 0 { // section 2.1: no answer
			return nil
		}
		ret.of = v
		return c.tellESearch(ctx, s, &ret, res, true)
	})
}

// tellOf writes which mailbox an ESEARCH is of (RFC 7377 section 2.1).
func (c *conn) tellOf(v *selected) {
	c.out = append(c.out, " MAILBOX "...)
	c.name(v.name)
	c.out = append(c.out, " UIDVALIDITY "...)
	c.out = strconv.AppendUint(c.out, uint64(v.validity), 10)
}
