package imap

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
)

// metadataOptions of GETMETADATA (RFC 5464 section 4.2.1 and 4.2.2).
type metadataOptions struct {
	maxSize int64 // -1: none
	depth   int   // 0, 1, or -1 for infinity
}

// cmdGetMetadata: RFC 5464 section 4.2. The options stand before the mailbox (section 5) or after it (the examples of section 4.2).
func (c *conn) cmdGetMetadata(ctx context.Context, p *parser) error {
	md, ok := c.account.(Metadata)
	if !ok {
		return errNoExtension
	}
	o := metadataOptions{maxSize: -1}
	err := o.readIf(p)
	if err != nil {
		return err
	}
	name, err := p.mailbox()
	if err == nil {
		err = p.sp()
	}
	if err == nil {
		err = o.readIf(p)
	}
	if err != nil {
		return err
	}
	names, err := p.entryNames()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	entries, err := md.Entries(ctx, name)
	if err != nil {
		return err
	}
	c.tellMetadata(name, names, entries, &o)
	return c.spill()
}

// readIf reads options where they are: entries, which may also be in parentheses, begin with a slash.
func (o *metadataOptions) readIf(p *parser) error {
	if p.peek() != '(' || p.i+1 == len(p.b) || p.b[p.i+1]|0x20 < 'a' || p.b[p.i+1]|0x20 > 'z' {
		return nil
	}
	if err := o.read(p); err != nil {
		return err
	}
	return p.sp()
}

func (o *metadataOptions) read(p *parser) (err error) {
	p.i++
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		w := p.word()
		if err := p.sp(); err != nil {
			return err
		}
		switch w {
		case "MAXSIZE":
			if o.maxSize, err = p.number64(); err != nil {
				return err
			}
		case "DEPTH":
			switch d := p.word(); d {
			case "0":
				o.depth = 0
			case "1":
				o.depth = 1
			case "INFINITY":
				o.depth = -1
			default:
				return bad("DEPTH is 0, 1 or infinity")
			}
		default:
			return bad("there is no GETMETADATA option %s", clip(w))
		}
	}
	return nil
}

// entryNames reads one entry name or a list of them.
func (p *parser) entryNames() ([]string, error) {
	paren := p.accept('(')
	var names []string
	for {
		name, err := p.entryName()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		if err := p.tooMany(len(names) * 10); err != nil {
			return nil, err
		}
		if !paren || p.accept(')') {
			return names, nil
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
}

// entryName reads an entry name and checks its form (RFC 5464 section 3.2).
func (p *parser) entryName() (string, error) {
	raw, err := p.astring()
	if err != nil {
		return "", err
	}
	name := strings.ToLower(string(raw))
	ok := strings.HasPrefix(name, "/private/") || strings.HasPrefix(name, "/shared/") || name == "/private" || name == "/shared"
	isBad := func(r rune) bool { return r < ' ' || r >= 0x7f || r == '*' || r == '%' }
	if !ok || strings.HasSuffix(name, "/") || strings.Contains(name, "//") || strings.ContainsFunc(name, isBad) {
		return "", bad("entry name is not of the form /private/... or /shared/...")
	}
	return name, nil
}

// wanted reports whether an entry is asked for by name and depth.
func (o *metadataOptions) wanted(entry string, names []string) bool {
	for _, n := range names {
		if entry == n {
			return true
		}
		rest, below := strings.CutPrefix(entry, n+"/")
		if below && (o.depth < 0 || o.depth == 1 && !strings.Contains(rest, "/")) {
			return true
		}
	}
	return false
}

func has(entries []MetadataEntry, name string) bool {
	return slices.ContainsFunc(entries, func(e MetadataEntry) bool { return e.Name == name })
}

func (c *conn) tellMetadata(mailbox string, names []string, entries []MetadataEntry, o *metadataOptions) {
	c.begin()
	count, longest := 0, 0
	tell := func(name string) {
		if count++; count == 1 {
			c.out = append(c.out, "* METADATA "...)
			c.name(mailbox)
			c.out = append(c.out, " ("...)
		} else {
			c.out = append(c.out, ' ')
		}
		c.out = append(appendAString(c.out, []byte(name)), ' ')
	}
	for _, e := range entries {
		if !o.wanted(e.Name, names) {
			continue
		}
		if o.maxSize >= 0 && int64(len(e.Value)) > o.maxSize {
			longest = max(longest, len(e.Value))
			continue
		}
		tell(e.Name)
		c.out = appendValue(c.out, e.Value)
	}
	for i, name := range names {
		if o.depth == 0 && strings.Count(name, "/") > 1 && !slices.Contains(names[:i], name) && !has(entries, name) {
			tell(name) // an entry without a value is NIL (RFC 5464 section 4.4.1, RFC 9590 section 3)
			c.out = append(c.out, "NIL"...)
		}
	}
	if count > 0 {
		c.say(")")
	}
	if longest > 0 {
		c.code = "METADATA LONGENTRIES " + strconv.Itoa(longest)
	}
}

// appendValue appends the value of an annotation: octets with NUL as a literal8 (RFC 5464 section 5).
func appendValue(b, value []byte) []byte {
	if bytes.IndexByte(value, 0) < 0 {
		return appendString(b, value)
	}
	b = strconv.AppendInt(append(b, "~{"...), int64(len(value)), 10)
	return append(append(b, "}\r\n"...), value...)
}

// cmdSetMetadata: RFC 5464 section 4.3.
func (c *conn) cmdSetMetadata(ctx context.Context, p *parser) error {
	md, ok := c.account.(Metadata)
	if !ok {
		return errNoExtension
	}
	name, err := p.mailbox()
	if err == nil {
		err = p.sp()
	}
	if err == nil {
		err = p.expect('(')
	}
	if err != nil {
		return err
	}
	var entries []MetadataEntry
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		e := MetadataEntry{}
		if e.Name, err = p.entryName(); err == nil && strings.Count(e.Name, "/") == 1 {
			err = bad("%s is no entry, it only has entries below it", e.Name)
		}
		if err == nil {
			err = p.sp()
		}
		if err != nil {
			return err
		}
		value, err := p.nstring()
		if err == nil {
			err = p.tooMany(n * 10)
		}
		if err != nil {
			return err
		}
		if value != nil {
			e.Value = append([]byte{}, value...)
		}
		entries = append(entries, e)
	}
	if err := p.end(); err != nil {
		return err
	}
	return md.SetEntries(ctx, name, entries)
}
