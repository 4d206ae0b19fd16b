package imapmem

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/message"
)

// msg is a message in a mailbox. It is not changed but for flags and modseq, which are replaced under the lock.
type msg struct {
	uid             imap.UID
	modseq, created imap.ModSeq
	flags           imap.Flags
	date, saved     time.Time
	*content
}

// content is what the copies of a message share.
type content struct {
	raw                       []byte
	emailID, threadID         string
	envelope, body, structure []byte
	parts                     *imap.Part
	header                    []byte
	preview                   string
}

func newContent(raw []byte) (*content, error) {
	root, err := message.Parse(bytes.NewReader(raw), message.Limits{})
	if err != nil {
		return nil, err
	}
	return &content{
		raw:       raw,
		envelope:  imap.AppendEnvelope(nil, root.Header),
		body:      imap.AppendBodyStructure(nil, root, false),
		structure: imap.AppendBodyStructure(nil, root, true),
		parts:     imap.PartOf(root),
		header:    raw[:min(root.BodyStart, int64(len(raw)))],
		preview:   preview(root, raw),
	}, nil
}

// preview is the beginning of the first text, at most 200 characters (RFC 8970 section 3.3).
func preview(root *message.Part, raw []byte) string {
	for p := range root.All() {
		if p.Type != "text" {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(message.PartText(p, bytes.NewReader(raw[p.BodyStart:p.End])), 2000))
		if err != nil {
			return ""
		}
		words := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " "))
		return string(words[:min(len(words), 200)])
	}
	return ""
}

func (c *content) Size() int64 { return int64(len(c.raw)) }

func (c *content) Append(_ context.Context, dst []byte, off, n int64) ([]byte, error) {
	off = min(max(off, 0), c.Size())
	return append(dst, c.raw[off:min(off+max(n, 0), c.Size())]...), nil
}

// add puts a message at the end of the mailbox; the lock is held.
func (b *box) add(c *content, flags imap.Flags, date, saved time.Time) *msg {
	m := &msg{uid: b.uidNext, modseq: b.user.next(), flags: flags, date: date, saved: saved, content: c}
	m.created, b.modseq = m.modseq, m.modseq
	b.uidNext++
	b.msgs = append(b.msgs, m)
	b.user.emit(nil, imap.Event{Kind: imap.EventMessageNew, Mailbox: b.name})
	return m
}

// remove takes messages out; the lock is held.
func (b *box) remove(gone []*msg) (uids imap.UIDSet) {
	if len(gone) > 0 {
		b.user.emit(nil, imap.Event{Kind: imap.EventMessageExpunge, Mailbox: b.name})
	}
	for _, m := range gone {
		uids.Add(m.uid)
		b.modseq = b.user.next()
		b.gone = append(b.gone, expunged{m.uid, b.modseq})
	}
	b.msgs = slices.DeleteFunc(b.msgs, func(m *msg) bool { return uids.Contains(m.uid) })
	return uids
}

// move moves messages, keeping flags and date; the lock is held.
func (b *box) move(msgs []*msg, to *box) (src, dst imap.UIDSet) {
	dst = to.copyIn(msgs)
	src = b.remove(slices.Clone(msgs))
	b.notify()
	return src, dst
}

func (b *box) copyIn(msgs []*msg) (dst imap.UIDSet) {
	for _, m := range slices.Clone(msgs) {
		dst.Add(b.add(m.content, m.flags, m.date, time.Now()).uid)
	}
	b.notify()
	return dst
}

// appender takes the messages of one APPEND.
type appender struct {
	box  *box
	now  time.Time
	cur  *bytes.Buffer
	all  []*bytes.Buffer
	opts []imap.AppendOptions
}

func (a *appender) Next(_ context.Context, o imap.AppendOptions) (io.Writer, error) {
	a.cur = &bytes.Buffer{}
	a.all, a.opts = append(a.all, a.cur), append(a.opts, o)
	return a.cur, nil
}

func (a *appender) Abort() error { return nil }

func (a *appender) Commit(context.Context) (imap.AppendResult, error) {
	var contents []*content
	total := int64(0)
	for _, buf := range a.all {
		c, err := newContent(buf.Bytes())
		if err != nil {
			return imap.AppendResult{}, err
		}
		contents = append(contents, c)
		total += c.Size()
	}
	u := a.box.user
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.box.deleted {
		return imap.AppendResult{}, &imap.Error{Code: "TRYCREATE", Text: "mailbox is gone"}
	}
	if err := u.overQuota(len(contents), total); err != nil {
		return imap.AppendResult{}, err
	}
	res := imap.AppendResult{UIDValidity: a.box.validity}
	for i, c := range contents {
		date := a.opts[i].Date
		if date.IsZero() {
			date = a.now
		}
		c.emailID, c.threadID = u.newID("M"), u.newID("T")
		res.UIDs.Add(a.box.add(c, a.opts[i].Flags, date, a.now).uid)
	}
	a.box.notify()
	return res, nil
}

// change gives the flags after a STORE; lists of keywords are never changed in place.
func change(have imap.Flags, ch imap.StoreChange) imap.Flags {
	switch ch.Mode {
	case imap.StoreAdd:
		have.System |= ch.Flags.System
		have.Keywords = without(have.Keywords, ch.Flags.Keywords, ch.Flags.Keywords...)
	case imap.StoreRemove:
		have.System &^= ch.Flags.System
		have.Keywords = without(have.Keywords, ch.Flags.Keywords)
	default:
		have = ch.Flags
	}
	return have
}

// without leaves the keywords of drop out and adds others; those that are both stay as they were spelt first.
func without(have, drop []string, add ...string) []string {
	var out []string
	for _, k := range have {
		same := func(x string) bool { return strings.EqualFold(x, k) }
		switch i := slices.IndexFunc(add, same); {
		case i >= 0:
			out = append(out, k)
		case !slices.ContainsFunc(drop, same):
			out = append(out, k)
		}
	}
	for _, k := range add {
		if !slices.ContainsFunc(have, func(x string) bool { return strings.EqualFold(x, k) }) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func sameFlags(a, b imap.Flags) bool {
	return a.System == b.System && slices.Equal(a.Keywords, b.Keywords)
}
