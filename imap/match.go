package imap

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/message"
)

// NeedsOf returns what Match must find filled in a Message for these criteria.
func NeedsOf(c *Criteria) Need {
	if c == nil {
		return 0
	}
	var n Need
	if !c.Since.IsZero() || !c.Before.IsZero() || !c.SavedSince.IsZero() || !c.SavedBefore.IsZero() || c.Younger != 0 || c.Older != 0 {
		n |= NeedDates
	}
	if c.Larger != nil || c.Smaller != nil {
		n |= NeedSize
	}
	if c.EmailID != "" || c.ThreadID != "" {
		n |= NeedIDs
	}
	if len(c.Header) > 0 || !c.SentSince.IsZero() || !c.SentBefore.IsZero() {
		n |= NeedHeader | NeedContent
	}
	if len(c.Body) > 0 || len(c.Text) > 0 {
		n |= NeedHeader | NeedParts | NeedContent
	}
	for i := range c.Not {
		n |= NeedsOf(&c.Not[i])
	}
	for i := range c.Or {
		n |= NeedsOf(&c.Or[i][0]) | NeedsOf(&c.Or[i][1])
	}
	return n
}

// Match reports whether a message matches; m has at least what NeedsOf tells. Of the message itself it holds only
// some ten KiB in memory. Errors are those of Content. For many messages make a Matcher once.
func Match(ctx context.Context, c *Criteria, m *Message) (bool, error) {
	return NewMatcher(c, time.Now()).Match(ctx, m)
}

// Matcher evaluates Criteria. It is safe for concurrent use.
type Matcher struct {
	c    *Criteria
	now  time.Time
	need Need

	header []HeaderKey // values folded
	body   []string    // folded
	text   []string
	not    []*Matcher
	or     [][2]*Matcher

	buffers sync.Pool // of *textBuffers
}

// NewMatcher prepares criteria; nil matches everything. Now is the moment that YOUNGER and OLDER count from.
func NewMatcher(c *Criteria, now time.Time) *Matcher {
	if c == nil {
		c = &Criteria{}
	}
	m := &Matcher{c: c, now: now, need: NeedsOf(c)}
	for _, h := range c.Header {
		m.header = append(m.header, HeaderKey{h.Name, Fold(h.Value)})
	}
	for _, s := range c.Body {
		m.body = append(m.body, Fold(s))
	}
	for _, s := range c.Text {
		m.text = append(m.text, Fold(s))
	}
	for i := range c.Not {
		m.not = append(m.not, NewMatcher(&c.Not[i], now))
	}
	for i := range c.Or {
		m.or = append(m.or, [2]*Matcher{NewMatcher(&c.Or[i][0], now), NewMatcher(&c.Or[i][1], now)})
	}
	return m
}

// Need is NeedsOf the criteria.
func (m *Matcher) Need() Need { return m.need }

// Match reports whether a message matches.
func (m *Matcher) Match(ctx context.Context, msg *Message) (bool, error) {
	x := &candidate{Message: msg}
	if m.costly() {
		if x.buffers, _ = m.buffers.Get().(*textBuffers); x.buffers == nil {
			x.buffers = &textBuffers{}
		}
		defer m.buffers.Put(x.buffers)
	}
	return m.match(ctx, x)
}

// candidate is a message with what was found out about it on the way.
type candidate struct {
	*Message
	parsed  bool
	head    message.Header
	buffers *textBuffers // for the text
}

func (m *Matcher) match(ctx context.Context, x *candidate) (bool, error) {
	if !m.plain(x.Message) {
		return false, nil
	}
	if ok, err := m.matchHeader(ctx, x); !ok || err != nil {
		return false, err
	}
	// A costly part of the tree is asked after the cheap ones.
	for _, costly := range [...]bool{false, true} {
		if costly {
			if ok, err := m.matchText(ctx, x); !ok || err != nil {
				return false, err
			}
		}
		if ok, err := m.matchTree(ctx, x, costly); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (m *Matcher) costly() bool { return m.need&NeedParts != 0 }

// matchTree asks those of NOT and OR that are costly, or those that are not.
func (m *Matcher) matchTree(ctx context.Context, x *candidate, costly bool) (bool, error) {
	for _, n := range m.not {
		if n.costly() != costly {
			continue
		}
		if ok, err := n.match(ctx, x); ok || err != nil {
			return false, err
		}
	}
	for _, o := range m.or {
		a, b := o[0], o[1]
		if (a.costly() || b.costly()) != costly {
			continue
		}
		if a.costly() {
			a, b = b, a
		}
		ok, err := a.match(ctx, x)
		if !ok && err == nil {
			ok, err = b.match(ctx, x)
		}
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// plain checks everything that needs no text.
func (m *Matcher) plain(msg *Message) bool {
	c := m.c
	for _, s := range c.UIDs {
		if !s.Contains(msg.UID) {
			return false
		}
	}
	f := msg.Flags
	if f.System&c.Flags.System != c.Flags.System || f.System&c.NotFlag.System != 0 {
		return false
	}
	for _, k := range c.Flags.Keywords {
		if !hasKeyword(f.Keywords, k) {
			return false
		}
	}
	for _, k := range c.NotFlag.Keywords {
		if hasKeyword(f.Keywords, k) {
			return false
		}
	}
	switch {
	case msg.ModSeq < c.ModSeq,
		c.Larger != nil && msg.Size <= *c.Larger,
		c.Smaller != nil && msg.Size >= *c.Smaller,
		c.EmailID != "" && msg.EmailID != c.EmailID,
		c.ThreadID != "" && msg.ThreadID != c.ThreadID,
		!inDays(msg.InternalDate, c.Since, c.Before),
		!inDays(msg.SaveDate, c.SavedSince, c.SavedBefore),
		c.Younger != 0 && m.now.Sub(msg.InternalDate) > c.Younger,
		c.Older != 0 && m.now.Sub(msg.InternalDate) < c.Older:
		return false
	}
	return true
}

// inDays compares days; time and zone do not count (RFC 9051 section 6.4.4).
func inDays(t, since, before time.Time) bool {
	if since.IsZero() && before.IsZero() {
		return true
	}
	if t.IsZero() {
		return false
	}
	y, mon, d := t.Date()
	day := time.Date(y, mon, d, 0, 0, 0, 0, time.UTC)
	return (since.IsZero() || !day.Before(utcDay(since))) && (before.IsZero() || day.Before(utcDay(before)))
}

func utcDay(t time.Time) time.Time {
	y, mon, d := t.Date()
	return time.Date(y, mon, d, 0, 0, 0, 0, time.UTC)
}

// maxHeaderOctets is how much of a header is looked through where it is not kept beside the message.
const maxHeaderOctets = 1 << 20

// header returns the header of the message with at least the fields of these names (lower case); nil: all.
func (x *candidate) header(ctx context.Context, names []string) (*message.Header, error) {
	if x.parsed {
		return &x.head, nil
	}
	if x.Header != nil && (!x.HeaderPartial || names != nil && x.keepsFields(names)) {
		h := message.ParseHeader(x.Header)
		if !x.HeaderPartial {
			x.head, x.parsed = h, true
		}
		return &h, nil
	}
	if x.Content == nil {
		return &x.head, nil
	}
	var end int64
	if x.Parts != nil {
		end = x.Parts.BodyStart
	} else {
		var err error
		if end, err = headerEnd(ctx, x.Content); err != nil {
			return nil, err
		}
	}
	raw, err := x.Content.Append(ctx, nil, 0, min(end, maxHeaderOctets))
	if err != nil {
		return nil, err
	}
	x.head, x.parsed = message.ParseHeader(raw), true
	return &x.head, nil
}

// matchHeader checks HEADER keys and the Date field.
func (m *Matcher) matchHeader(ctx context.Context, x *candidate) (bool, error) {
	sent := !m.c.SentSince.IsZero() || !m.c.SentBefore.IsZero()
	if len(m.header) == 0 && !sent {
		return true, nil
	}
	names := make([]string, 0, 8)
	if sent {
		names = append(names, "date")
	}
	for _, k := range m.header {
		names = append(names, strings.ToLower(k.Name))
	}
	h, err := x.header(ctx, names)
	if err != nil {
		return false, err
	}
	if sent {
		t, ok := message.ParseDate(h.Get("Date"))
		if !ok || !inDays(t, m.c.SentSince, m.c.SentBefore) {
			return false, nil
		}
	}
	for _, k := range m.header {
		if !fieldContains(h, k.Name, k.Value) {
			return false, nil
		}
	}
	return true, nil
}

// fieldContains reports whether a field of that name contains the folded value.
func fieldContains(h *message.Header, name, folded string) bool {
	if folded == "" {
		return h.Has(name)
	}
	for _, v := range h.Values(name) {
		if strings.Contains(Fold(message.DecodeText(v)), folded) || isAddressField(name) && addressesContain(v, folded) {
			return true
		}
	}
	return false
}

func isAddressField(name string) bool {
	for _, n := range [...]string{"From", "To", "Cc", "Bcc", "Sender", "Reply-To"} {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// addressesContain looks into the addresses as they are meant, without comments and white space in their midst.
func addressesContain(field []byte, folded string) bool {
	list := message.ParseAddressList(field)
	return strings.Contains(Fold(message.FormatAddressList(list, true)), folded)
}

// matchText checks BODY and TEXT.
func (m *Matcher) matchText(ctx context.Context, x *candidate) (bool, error) {
	if len(m.text) > 0 {
		ok, err := searchText(ctx, x, m.text, true)
		if !ok || err != nil {
			return ok, err
		}
	}
	if len(m.body) > 0 {
		return searchText(ctx, x, m.body, false)
	}
	return true, nil
}

// searchText looks for all needles in the decoded text of the message, and with head also in its header and the MIME
// headers of its parts. The header of a message inside is text of the outer one, and so are the names of attachments.
func searchText(ctx context.Context, x *candidate, needles []string, head bool) (bool, error) {
	f := newFolder(needles, x.buffers)
	f.heads = head
	if head && f.left > 0 {
		h, err := x.header(ctx, nil)
		if err != nil {
			return false, err
		}
		f.lookHeader(h)
	}
	if x.Parts == nil || x.Content == nil {
		return f.left == 0, nil
	}
	err := f.lookPart(ctx, x.Content, x.Parts)
	return f.left == 0, err
}

func (f *folder) lookHeader(h *message.Header) {
	var buf []byte
	for field := range h.Fields() {
		if f.left == 0 {
			return
		}
		buf = append(buf[:0], field.Name...)
		buf = append(buf, ": "...)
		buf = AppendFold(nil, string(buf)+message.DecodeText(message.Unfold(field.Value)))
		f.look(buf)
	}
}

// lookPart looks through a part and everything inside. Its depth is that of the parsed message, which is limited.
func (f *folder) lookPart(ctx context.Context, content Content, p *Part) error {
	if f.left == 0 {
		return nil
	}
	if p.Name != "" {
		f.look(AppendFold(nil, p.Name))
	}
	for i := range p.Children {
		if err := f.lookMIME(ctx, content, &p.Children[i]); err != nil {
			return err
		}
		if err := f.lookPart(ctx, content, &p.Children[i]); err != nil || f.left == 0 {
			return err
		}
	}
	if in := p.Message; in != nil {
		if err := f.lookRange(ctx, content, in.HeaderStart, in.BodyStart); err != nil {
			return err
		}
		return f.lookPart(ctx, content, in)
	}
	if p.Type != "text" && p.Type != "message" {
		return nil
	}
	in := f.newReader(ctx, content, p)
	body := message.DecodeBody(in, p.Encoding)
	text := body
	if p.Charset != "utf-8" { // what is no UTF-8 in it is compared as it is
		text = message.DecodeCharset(body, p.Charset)
	}
	err := f.readAll(text)
	f.textBuffers.read = in.buf
	if err != nil || p.Subtype != "html" || f.left == 0 {
		return err
	}
	body = message.DecodeBody(f.newReader(ctx, content, p), p.Encoding)
	return f.readAll(message.HTMLText(message.DecodeCharset(body, p.Charset))) // as people see it
}

// lookMIME looks through the header of a part, where that is asked for.
func (f *folder) lookMIME(ctx context.Context, content Content, p *Part) error {
	if !f.heads || f.left == 0 {
		return nil
	}
	return f.lookRange(ctx, content, p.HeaderStart, p.BodyStart)
}

// lookRange looks through the header that stands there.
func (f *folder) lookRange(ctx context.Context, content Content, start, end int64) error {
	raw, err := content.Append(ctx, nil, start, min(end-start, maxHeaderOctets))
	if err != nil {
		return err
	}
	h := message.ParseHeader(raw)
	f.lookHeader(&h)
	return nil
}

// TextWalker goes through the text of messages, one after the other. The zero value is ready.
type TextWalker struct{ buffers textBuffers }

// Walk calls fn with all the text that BODY and TEXT look through, in pieces as they are compared: folded (Fold),
// decoded, from all charsets, the headers of parts and the names of attachments too. A piece after the first of a part begins with the last
// octets of the one before, so that each run of three octets stands whole in one of them. Of m it needs Parts and
// Content. The pieces are good until fn returns; fn returns false to end the walk.
func (w *TextWalker) Walk(ctx context.Context, m *Message, fn func(folded []byte) bool) error {
	f := &folder{sink: fn, left: 1, keep: 2, heads: true, textBuffers: &w.buffers}
	h, err := (&candidate{Message: &Message{Content: m.Content, Parts: m.Parts}}).header(ctx, nil)
	if err != nil {
		return err
	}
	f.lookHeader(h)
	if m.Parts == nil || m.Content == nil {
		return nil
	}
	return f.lookPart(ctx, m.Content, m.Parts)
}
