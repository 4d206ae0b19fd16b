package mailbox

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/message"
)

// digest is what is kept of a message's structure beside its body, for all its recipients.
type digest struct {
	shared []byte // the end of the summary row
	header []byte // fields of the header row
	texts  []byte // of the header row
	keys   []byte // the sort row
	cut    bool   // fields are missing from header for its size
	ids    []msgIDHash

	messageID string // for the journal
}

// maxThreadIDs is how many ids of one message are looked at to find its thread: its own, that of In-Reply-To, and
// the first and the last of References.
const maxThreadIDs = 12

// octets is what the digest adds to the rows of each recipient.
func (d *digest) octets() int { return len(d.shared) + len(d.header) + len(d.texts) + len(d.keys) }

// makeDigest turns a parsed message into what is kept of it in so many places, which all must fit into one batch.
func (m *Mailbox) makeDigest(root *message.Part, head []byte, places int) digest {
	room := m.rowsOctets / max(places, 1)
	var d digest
	d.shared = appendShared(make([]byte, 0, 1024), root, head, min(m.limits.SummaryOctets, room/2))
	d.header, d.cut = appendCommon(nil, &root.Header, min(m.limits.HeaderRowOctets, room/4))
	d.cut = d.cut || root.Header.Truncated()
	d.keys = []byte{rowVersion}
	if !d.cut && len(d.header) <= room/4 {
		d.texts = appendAllTexts(make([]byte, 0, 512), &root.Header)
		d.texts = d.texts[:len(d.texts):len(d.texts)]
		d.keys = m.makeKeys(&root.Header)
	}
	d.ids = m.threadIDs(&root.Header)
	if ids := message.MessageIDs(root.Header.Get("Message-ID")); len(ids) > 0 {
		d.messageID = strings.Trim(ids[0], "<>")
	}
	return d
}

// appendShared appends preview, envelope, BODY, BODYSTRUCTURE and parts. Structure that would be larger than limit
// is kept as one part of no known type, an envelope that would be as one without anything: such mail is hostile.
func appendShared(b []byte, root *message.Part, head []byte, limit int) []byte {
	start := len(b)
	b = appendSized(b, func(b []byte) []byte { return appendPreview(b, root, head) })
	at := len(b)
	b = appendSized(b, func(b []byte) []byte { return imap.AppendEnvelope(b, root.Header) })
	if len(b)-start > limit/2 {
		b = appendSized(b[:at], func(b []byte) []byte { return imap.AppendEnvelope(b, message.Header{}) })
	}
	at = len(b)
	b = appendStructure(b, root)
	if len(b)-start > limit {
		b = appendStructure(b[:at], &message.Part{
			HeaderStart: root.HeaderStart, BodyStart: root.BodyStart, End: root.End, Lines: root.Lines,
			Type: "application", Subtype: "octet-stream", Encoding: "binary",
		})
	}
	return b
}

func appendStructure(b []byte, root *message.Part) []byte {
	b = appendSized(b, func(b []byte) []byte { return imap.AppendBodyStructure(b, root, false) })
	b = appendSized(b, func(b []byte) []byte { return imap.AppendBodyStructure(b, root, true) })
	return appendParts(b, imap.PartOf(root))
}

// appendSized appends what f appends, with its length before it, as appendBytes would.
func appendSized(b []byte, f func([]byte) []byte) []byte {
	const room = 3 // lengths below 2 MiB, which is more than the limit; others are moved
	at := len(b)
	b = f(append(b, 0, 0, 0))
	n := uint64(len(b) - at - room)
	var length [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(length[:], n)
	if k > room {
		b = append(b, length[:k-room]...)
		copy(b[at+k:], b[at+room:])
	} else {
		copy(b[at+k:], b[at+room:])
		b = b[:len(b)-room+k]
	}
	copy(b[at:], length[:k])
	return b
}

// shared is the end of a summary row, decoded.
type shared struct {
	Preview, Envelope, Body, Structure []byte
	parts                              []byte
}

func decodeShared(b []byte) (s shared, err error) {
	d := decoderOf(b)
	s.Preview, s.Envelope, s.Body, s.Structure = d.Bytes(), d.Bytes(), d.Bytes(), d.Bytes()
	s.parts = d.B
	return s, d.err("a summary")
}

// Forms of what is inside a part.
const (
	partLeaf = iota
	partChildren
	partMessage
)

// appendParts appends a part and what is inside it.
func appendParts(b []byte, p *imap.Part) []byte {
	b = binary.AppendUvarint(b, uint64(p.HeaderStart))
	b = binary.AppendUvarint(b, uint64(p.BodyStart-p.HeaderStart))
	b = binary.AppendUvarint(b, uint64(p.End-p.BodyStart))
	b = binary.AppendUvarint(b, uint64(p.Lines))
	for _, s := range [...]string{p.Type, p.Subtype, p.Charset, p.Encoding, p.Name} {
		b = appendString(b, s)
	}
	switch {
	case p.Message != nil:
		return appendParts(append(b, partMessage), p.Message)
	case len(p.Children) > 0:
		b = binary.AppendUvarint(append(b, partChildren), uint64(len(p.Children)))
		for i := range p.Children {
			b = appendParts(b, &p.Children[i])
		}
		return b
	}
	return append(b, partLeaf)
}

// maxPartDepth is more than the parser opens.
const maxPartDepth = 1000

// decodeParts reads what appendParts wrote, moved by the length of the trace prefix; the root begins with that.
func decodeParts(b []byte, prefix int64) (*imap.Part, error) {
	d := decoderOf(b)
	p := new(imap.Part)
	d.part(p, prefix, 0)
	p.HeaderStart = 0
	return p, d.err("the parts of a message")
}

func (d *decoder) part(p *imap.Part, shift int64, depth int) {
	p.HeaderStart = int64(d.Uint()) + shift
	p.BodyStart = p.HeaderStart + int64(d.Uint())
	p.End = p.BodyStart + int64(d.Uint())
	p.Lines = int64(d.Uint())
	for _, s := range [...]*string{&p.Type, &p.Subtype, &p.Charset, &p.Encoding, &p.Name} {
		*s = d.Text()
	}
	form := d.Byte()
	if depth > maxPartDepth {
		d.Fail()
	}
	switch {
	case d.Bad:
	case form == partMessage:
		p.Message = new(imap.Part)
		d.part(p.Message, shift, depth+1)
	case form == partChildren:
		p.Children = make([]imap.Part, d.Count(10))
		for i := range p.Children {
			d.part(&p.Children[i], shift, depth+1)
		}
	}
}

// bulky tells whether a field is one of those that are long, many, and hardly ever asked for alone: they are left to
// the body and the trace prefix, and not kept in the header row.
func bulky(name string) bool {
	switch len(name) {
	case 8:
		return equalFold(name, "received")
	case 10:
		return equalFold(name, "x-received")
	case 11:
		return equalFold(name, "return-path")
	case 12:
		return equalFold(name, "delivered-to") || equalFold(name, "received-spf")
	case 14:
		return equalFold(name, "dkim-signature")
	case 18:
		return equalFold(name, "x-gm-message-state")
	case 19:
		return equalFold(name, "domainkey-signature")
	case 20:
		return equalFold(name, "x-google-smtp-source")
	case 22:
		return equalFold(name, "authentication-results")
	case 23:
		return equalFold(name, "x-google-dkim-signature")
	}
	return hasPrefixFold(name, "arc-") || hasPrefixFold(name, "x-ms-exchange-") ||
		hasPrefixFold(name, "x-microsoft-") || hasPrefixFold(name, "x-forefront-")
}

func equalFold(s, lower string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func hasPrefixFold(s, lower string) bool {
	return len(s) >= len(lower) && equalFold(s[:len(lower)], lower)
}

// appendCommon appends the fields of a header that are not bulky, as they came. If they would be more than limit
// octets, the rest is left out, and cut is true.
func appendCommon(b []byte, h *message.Header, limit int) (_ []byte, cut bool) {
	start := len(b)
	for f := range h.Fields() {
		if len(f.Name) == 0 || bulky(string(f.Name)) {
			continue
		}
		if len(b)-start+len(f.Raw) > limit {
			cut = true
			continue
		}
		if b == nil {
			b = make([]byte, 0, min(limit, len(h.Raw())))
		}
		b = endField(append(b, f.Raw...))
	}
	return b, cut
}

// threadIDs returns the hashes of the ids that tell the thread of a message, its own first if it has one.
func (m *Mailbox) threadIDs(h *message.Header) []msgIDHash {
	var ids []msgIDHash
	add := func(list []string) {
		for _, id := range list {
			if len(ids) < maxThreadIDs {
				ids = append(ids, m.hashMsgID(id))
			}
		}
	}
	own := message.MessageIDs(h.Get("Message-ID"))
	add(own[:min(1, len(own))])
	parents := message.MessageIDs(h.Get("In-Reply-To"))
	add(parents[:min(1, len(parents))])
	refs := message.MessageIDs(h.Get("References"))
	if len(refs) > maxThreadIDs-2 {
		add(refs[:1])
		refs = refs[len(refs)-(maxThreadIDs-3):]
	}
	add(refs)
	return distinct(ids)
}

func distinct(ids []msgIDHash) []msgIDHash {
	out := ids[:0]
	for _, id := range ids {
		known := false
		for _, o := range out {
			known = known || o == id
		}
		if !known {
			out = append(out, id)
		}
	}
	return out
}

// hashMsgID hashes a Message-ID with the key of the house, so that nobody outside can make two of them collide.
func (m *Mailbox) hashMsgID(id string) (h msgIDHash) {
	sum := m.keyed('i', id)
	copy(h[:], sum[:])
	return h
}

// keyed is HMAC-SHA256 of a purpose and a string.
func (m *Mailbox) keyed(purpose byte, s string) (sum [32]byte) {
	mac := m.mac(purpose)
	mac.Write([]byte(s))
	mac.Sum(sum[:0])
	m.macs.Put(mac)
	return sum
}

// headerRow flags.
const (
	headerCut = 1 << iota // any field may be missing, not only the bulky ones
)

// appendHeaderRow makes a header row of the prefix's fields that are not bulky and the message's common fields.
func appendHeaderRow(b []byte, extra []byte, d *digest) []byte {
	flags := byte(0)
	if d.cut {
		flags |= headerCut
	}
	b = append(b, rowVersion, flags)
	b = appendBytes(b, d.texts)
	return append(append(b, extra...), d.header...)
}

func decodeHeaderRow(b []byte) (fields, texts []byte, cut bool, err error) {
	d := decoderOf(b)
	d.version()
	cut = d.Byte()&headerCut != 0
	texts = d.Bytes()
	return d.B, texts, cut, d.err("a header")
}

// crlf ends a header.
var crlf = []byte("\r\n")

// endField makes sure that a field ends in a line end, so that another can follow it.
func endField(b []byte) []byte {
	if len(b) == 0 || bytes.HasSuffix(b, crlf[1:]) {
		return b
	}
	return append(b, crlf...)
}
