package mailbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/message"
)

// sortKeys is what SORT, THREAD and the commonest header searches look at, decoded once, at delivery. It stands at
// the beginning of a header row. Strings are folded as imap.Fold does; in Texts several fields of one name are lines.
//
//	flags (1: has a readable Date, 2: the subject says it is a reply), seconds of Date, its zone in minutes,
//	base subject, From, To, Cc, display name of From, of To, Message-ID, texts of textFields, count of references and
//	each
type sortKeys struct {
	hasDate, reply                bool
	sent                          int64
	zone                          int64
	subject, from, to, cc         []byte
	displayFrom, displayTo, msgID []byte
	texts                         [len(textFields)][]byte
	refs                          decoder // count and references
}

// textFields are the fields whose decoded text is kept.
var textFields = [...]string{"subject", "from", "to", "cc", "bcc"}

// maxKeysOctets is how long the keys of a message may be; those that would be longer are not kept.
const maxKeysOctets = 8 << 10

// everyKey are the sort keys of RFC 5256 and RFC 5957 that are read out of a header.
var everyKey = []imap.SortKey{{Key: "SUBJECT"}, {Key: "FROM"}, {Key: "TO"}, {Key: "CC"}, {Key: "DISPLAYFROM"}, {Key: "DISPLAYTO"}}

// appendKeys appends the keys of a header; nothing if they are too long.
func appendKeys(b []byte, h *message.Header, common []byte) []byte {
	start := len(b)
	msg := &imap.Message{Header: common}
	ctx := context.Background() // nothing is read but the header at hand
	e, err := imap.SortEntryOf(ctx, msg, everyKey)
	if err != nil {
		return b
	}
	t, err := imap.ThreadEntryOf(ctx, msg)
	if err != nil {
		return b
	}
	flags := byte(0)
	date, ok := message.ParseDate(h.Get("Date"))
	zone := 0
	if ok {
		flags |= 1
		_, zone = date.Zone()
	}
	if t.Reply {
		flags |= 2
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, date.Unix())
	b = binary.AppendVarint(b, int64(zone/60))
	for _, s := range [...]string{e.Subject, e.From, e.To, e.Cc, e.DisplayFrom, e.DisplayTo, t.MessageID} {
		b = appendString(b, s)
	}
	for _, name := range textFields {
		b = appendSized(b, func(b []byte) []byte { return appendTexts(b, h, name) })
	}
	b = binary.AppendUvarint(b, uint64(len(t.Refs)))
	for _, r := range t.Refs {
		b = appendString(b, r)
	}
	if len(b)-start > maxKeysOctets {
		return b[:start]
	}
	return b
}

func appendTexts(b []byte, h *message.Header, name string) []byte {
	for i, v := range h.Values(name) {
		if i > 0 {
			b = append(b, '\n')
		}
		at := len(b)
		b = imap.AppendFold(b, message.DecodeText(v))
		if name == "subject" {
			continue
		}
		// The addresses also as they are meant, without comments and white space in their midst, where that differs.
		meant := imap.AppendFold(nil, message.FormatAddressList(message.ParseAddressList(v), true))
		if !bytes.Contains(b[at:], meant) {
			b = append(append(b, '\n'), meant...)
		}
	}
	return b
}

// decodeKeys keeps everything as parts of b.
func decodeKeys(b []byte) (k sortKeys, err error) {
	d := decoder{b: b}
	flags := d.octet()
	k.hasDate, k.reply = flags&1 != 0, flags&2 != 0
	k.sent, k.zone = d.varint(), d.varint()
	for _, s := range [...]*[]byte{&k.subject, &k.from, &k.to, &k.cc, &k.displayFrom, &k.displayTo, &k.msgID} {
		*s = d.bytes()
	}
	for i := range k.texts {
		k.texts[i] = d.bytes()
	}
	k.refs = decoder{b: d.b}
	return k, d.err("a header")
}

// sentDate is the sent date of RFC 5256 section 2.2.
func (k *sortKeys) sentDate(internal time.Time) time.Time {
	if k.hasDate {
		return time.Unix(k.sent, 0).UTC()
	}
	return internal.UTC()
}

// sortEntry fills in what the keys of a SORT compare.
func (k *sortKeys) sortEntry(m *imap.Message, keys []imap.SortKey) imap.SortEntry {
	e := imap.SortEntry{UID: m.UID, Arrival: m.InternalDate, Sent: k.sentDate(m.InternalDate), Size: m.Size}
	for i := range keys {
		switch keys[i].Key {
		case "SUBJECT":
			e.Subject = string(k.subject)
		case "FROM":
			e.From = string(k.from)
		case "TO":
			e.To = string(k.to)
		case "CC":
			e.Cc = string(k.cc)
		case "DISPLAYFROM":
			e.DisplayFrom = string(k.displayFrom)
		case "DISPLAYTO":
			e.DisplayTo = string(k.displayTo)
		}
	}
	return e
}

func (k *sortKeys) threadEntry(m *imap.Message) imap.ThreadEntry {
	e := imap.ThreadEntry{UID: m.UID, Sent: k.sentDate(m.InternalDate), Subject: string(k.subject), Reply: k.reply, MessageID: string(k.msgID)}
	d := k.refs
	if n := d.count(1); n > 0 {
		e.Refs = make([]string, n)
		for i := range e.Refs {
			e.Refs[i] = string(d.bytes())
		}
	}
	return e
}

// keyed is the part of criteria that sortKeys can tell: substrings of textFields, and days of the Date field.
type keyed struct {
	texts         []keyedText
	since, before time.Time // zero: no bound
}

type keyedText struct {
	field int
	value []byte // folded
}

// splitKeyed parts criteria into what sortKeys can tell and the rest, which is nil if there is none.
func splitKeyed(c *imap.Criteria) (k *keyed, rest *imap.Criteria) {
	if c == nil {
		return nil, nil
	}
	left := *c
	k = &keyed{since: c.SentSince, before: c.SentBefore}
	left.SentSince, left.SentBefore, left.Header = time.Time{}, time.Time{}, nil
	for _, h := range c.Header {
		if i := textField(h.Name); i >= 0 && h.Value != "" {
			k.texts = append(k.texts, keyedText{i, []byte(imap.Fold(h.Value))})
		} else {
			left.Header = append(left.Header, h)
		}
	}
	if len(k.texts) == 0 && k.since.IsZero() && k.before.IsZero() {
		return nil, c
	}
	if isEmpty(&left) {
		return k, nil
	}
	return k, &left
}

func textField(name string) int {
	for i, f := range textFields {
		if strings.EqualFold(f, name) {
			return i
		}
	}
	return -1
}

func (c *keyed) matches(k *sortKeys) bool {
	if !c.since.IsZero() || !c.before.IsZero() {
		day := floorDay(k.sent + 60*k.zone)
		if !k.hasDate || !c.since.IsZero() && day < dayOf(c.since) || !c.before.IsZero() && day >= dayOf(c.before) {
			return false
		}
	}
	for i := range c.texts {
		if !bytes.Contains(k.texts[c.texts[i].field], c.texts[i].value) {
			return false
		}
	}
	return true
}

const daySeconds = 24 * 60 * 60

func floorDay(seconds int64) int64 {
	day := seconds / daySeconds
	if seconds%daySeconds < 0 {
		day--
	}
	return day
}

// dayOf is the number of the day that a time has in its own zone (RFC 9051 section 6.4.4).
func dayOf(t time.Time) int64 {
	y, m, d := t.Date()
	return floorDay(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix())
}
