package imap

import (
	"context"
	"slices"
	"strings"
)

var (
	errNoExtension = bad("the server does not support this here")
	errNoQuotaRoot = &Error{Code: "NONEXISTENT", Text: "there is no such quota root"}
)

// cmdQuota: GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208 section 4.1).
func (c *conn) cmdQuota(ctx context.Context, p *parser, verb string) error {
	q, ok := c.account.(Quotas)
	if !ok {
		return errNoExtension
	}
	switch verb {
	case "GETQUOTAROOT":
		name, err := p.mailbox()
		if err == nil {
			err = p.end()
		}
		if err != nil {
			return err
		}
		return c.quotaRoot(ctx, q, name)
	case "SETQUOTA":
		return c.setQuota(ctx, q, p)
	}
	root, err := p.astring()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	res, err := q.Quota(ctx, string(root))
	if err != nil {
		return err
	}
	if len(res) == 0 {
		return errNoQuotaRoot
	}
	c.tellQuota(string(root), res)
	return nil
}

// quotaRoot: RFC 9208 section 4.1.2. A root that limits nothing is not told, as a QUOTA response has a resource at least (section 7); SETQUOTA makes
// it one again (section 4.1.3).
func (c *conn) quotaRoot(ctx context.Context, q Quotas, mailbox string) error {
	roots, err := q.QuotaRoots(ctx, mailbox)
	if err != nil {
		return err
	}
	limits := make([][]QuotaResource, len(roots))
	for i, r := range roots {
		if limits[i], err = q.Quota(ctx, r); err != nil {
			return err
		}
	}
	c.begin()
	c.out = append(c.out, "* QUOTAROOT "...)
	c.name(mailbox)
	for i, r := range roots {
		if len(limits[i]) > 0 {
			c.out = appendString(append(c.out, ' '), r)
		}
	}
	c.say()
	for i, r := range roots {
		c.tellQuota(r, limits[i])
	}
	return nil
}

// tellQuota writes a QUOTA response, if there is a limit: RFC 9208 section 4.2.1.
func (c *conn) tellQuota(root string, limits []QuotaResource) {
	if len(limits) == 0 {
		return
	}
	c.begin()
	c.out = append(c.out, "* QUOTA "...)
	c.out = appendString(c.out, root)
	c.out = append(c.out, ' ', '(')
	for i, r := range limits {
		if i > 0 {
			c.out = append(c.out, ' ')
		}
		c.out = append(c.out, r.Name...)
		c.out = append(c.out, ' ')
		c.num(uint64(max(r.Usage, 0)))
		c.out = append(c.out, ' ')
		c.num(uint64(max(r.Limit, 0)))
	}
	c.say(")")
}

// setQuota: RFC 9208 section 4.1.3.
func (c *conn) setQuota(ctx context.Context, q Quotas, p *parser) error {
	root, err := p.astring()
	if err == nil {
		err = p.sp()
	}
	if err == nil {
		err = p.expect('(')
	}
	if err != nil {
		return err
	}
	var limits []QuotaResource
	for n := 0; !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		r := QuotaResource{Name: p.word()}
		if r.Name == "" || n >= 10 {
			return bad("SETQUOTA takes a list of resources and limits")
		}
		if err := p.sp(); err != nil {
			return err
		}
		if r.Limit, err = p.number64(); err != nil {
			return err
		}
		limits = append(limits, r)
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := q.SetQuota(ctx, string(root), limits); err != nil {
		return err
	}
	res, err := q.Quota(ctx, string(root))
	if err != nil {
		return err
	}
	c.tellQuota(string(root), res)
	return nil
}

// rightsKnown are the rights of RFC 4314 section 2.1.
const rightsKnown = "lrswipkxtea"

// cmdACL: RFC 4314 section 3.
func (c *conn) cmdACL(ctx context.Context, p *parser, verb string) error {
	a, ok := c.account.(ACLs)
	if !ok {
		return errNoExtension
	}
	name, err := p.mailbox()
	if err != nil {
		return err
	}
	var args []string
	for p.accept(' ') && len(args) < 3 {
		s, err := p.astring()
		if err != nil {
			return err
		}
		args = append(args, string(s))
	}
	want := map[string]int{"GETACL": 0, "MYRIGHTS": 0, "DELETEACL": 1, "LISTRIGHTS": 1, "SETACL": 2}[verb]
	if err := p.end(); err != nil || len(args) != want {
		return bad("%s takes a mailbox and %d arguments", verb, want)
	}
	switch verb {
	case "GETACL":
		return c.tellACL(ctx, a, name)
	case "MYRIGHTS":
		rights, err := a.MyRights(ctx, name)
		if err != nil {
			return err
		}
		c.tellRights("MYRIGHTS", name, oldRights(rights))
		return nil
	case "DELETEACL":
		return a.SetACL(ctx, name, args[0], StoreReplace, "")
	case "LISTRIGHTS":
		always, may, err := a.ListRights(ctx, name, args[0])
		if err != nil {
			return err
		}
		words := []string{args[0], oldRights(always)}
		for _, old := range [...]string{"k", "xte"} { // a right and what it was a part of, each once
			if i := slices.IndexFunc(may, func(s string) bool { return strings.ContainsAny(s, old) }); i >= 0 {
				may = append(may[:len(may):len(may)], oldRights(old)[len(old):])
			}
		}
		c.tellRights("LISTRIGHTS", name, append(words, may...)...)
		return nil
	}
	return c.setACL(ctx, a, name, args[0], args[1])
}

func (c *conn) tellRights(verb, mailbox string, words ...string) {
	c.begin()
	c.out = append(c.out, "* "+verb+" "...)
	c.name(mailbox)
	for _, w := range words {
		c.out = appendString(append(c.out, ' '), w)
	}
	c.say()
}

func (c *conn) tellACL(ctx context.Context, a ACLs, name string) error {
	list, err := a.ACL(ctx, name)
	if err != nil {
		return err
	}
	var words []string
	for _, e := range list {
		words = append(words, e.Identifier, oldRights(e.Rights))
	}
	c.tellRights("ACL", name, words...)
	return nil
}

// oldRights adds what RFC 2086 has instead: c for k, d for any of x, t and e (RFC 4314 section 2.1.1).
func oldRights(rights string) string {
	if strings.Contains(rights, "k") {
		rights += "c"
	}
	if strings.ContainsAny(rights, "xte") {
		rights += "d"
	}
	return rights
}

// setACL: rights may be preceded by "+" or "-" (RFC 4314 section 3.1).
func (c *conn) setACL(ctx context.Context, a ACLs, name, id, rights string) error {
	mode := StoreReplace
	if s, ok := strings.CutPrefix(rights, "+"); ok {
		mode, rights = StoreAdd, s
	} else if s, ok := strings.CutPrefix(rights, "-"); ok {
		mode, rights = StoreRemove, s
	}
	rights = strings.NewReplacer("c", "k", "d", "xte").Replace(rights) // RFC 4314 section 2.1.1
	for _, r := range rights {
		if !strings.ContainsRune(rightsKnown, r) {
			return bad("there is no right %q", clip(string(r)))
		}
	}
	return a.SetACL(ctx, name, id, mode, rights)
}
