package imap

import "strings"

// namespaces gives the prefixes of the mailboxes of others, "" for none.
func (c *conn) namespaces() (others, shared string) {
	if n, ok := c.account.(Namespaces); ok {
		return n.Namespaces()
	}
	return "", ""
}

// isPersonal reports whether a mailbox is in the namespace of the account itself (RFC 2342).
func (c *conn) isPersonal(name string) bool {
	others, shared := c.namespaces()
	for _, prefix := range [...]string{others, shared} {
		if prefix != "" && strings.HasPrefix(name+"/", prefix) {
			return false
		}
	}
	return true
}

// tellNamespace: RFC 2342 section 5.
func (c *conn) tellNamespace() {
	others, shared := c.namespaces()
	c.begin()
	c.out = append(c.out, `* NAMESPACE (("" "/"))`...)
	for _, prefix := range [...]string{others, shared} {
		if prefix == "" {
			c.out = append(c.out, " NIL"...)
			continue
		}
		c.out = append(c.out, " (("...)
		c.name(prefix)
		c.out = append(c.out, ` "/"))`...)
	}
	c.say()
}
