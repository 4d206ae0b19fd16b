package mailbox

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/message"
)

// sortKeys is what SORT, THREAD and searches for the sent date look at, decoded once, at delivery: a row of its own,
// small enough that a whole mailbox of them is read or kept in memory. Strings are folded as imap.Fold does, ids are
// the first octets of their keyed hashes.
//
//	version, flags (1: has a readable Date, 2: the subject says it is a reply), seconds of Date, its zone in minutes,
//	base subject, From, To, Cc, display name of From, of To, hash of Message-ID (8 octets, 0: none), count of references,
//	hash of each
//
// A message whose keys would be too long has a row that is only the version: it is asked itself.
type sortKeys struct {
	hasDate, reply         bool
	sent                   int64
	zone                   int64
	subject, from, to, cc  []byte
	displayFrom, displayTo []byte
	msgID                  uint64
	refs                   []byte // 8 octets each
}

// textFields are the fields whose decoded text is kept at the beginning of the header row.
var textFields = [...]string{"subject", "from", "to", "cc", "bcc"}

const (
	maxKeysOctets  = 2 << 10 // of a sort row
	maxTextsOctets = 8 << 10 // of the decoded texts of textFields
)

// everyKey are the sort keys of RFC 5256 and RFC 5957 that are read out of a header.
var everyKey = []imap.SortKey{{Key: "SUBJECT"}, {Key: "FROM"}, {Key: "TO"}, {Key: "CC"}, {Key: "DISPLAYFROM"}, {Key: "DISPLAYTO"}}

// makeKeys makes the sort row of a header.
func (m *Mailbox) makeKeys(h *message.Header) []byte {
	b := append(make([]byte, 0, 256), rowVersion)
	var e imap.SortEntry
	e.Fill(h, everyKey)
	var t imap.ThreadEntry
	t.Fill(h, time.Time{})
	if 8*len(t.Refs) > maxKeysOctets {
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
	for _, s := range [...]string{e.Subject, e.From, e.To, e.Cc, e.DisplayFrom, e.DisplayTo} {
		b = appendString(b, s)
	}
	b = binary.BigEndian.AppendUint64(b, m.threadNumber(t.MessageID))
	b = binary.AppendUvarint(b, uint64(len(t.Refs)))
	for _, r := range t.Refs {
		b = binary.BigEndian.AppendUint64(b, m.threadNumber(r))
	}
	if len(b) > maxKeysOctets {
		return b[:1]
	}
	return b[:len(b):len(b)]
}

// threadNumber stands for a Message-ID in sort rows; 0 for none.
func (m *Mailbox) threadNumber(id string) uint64 {
	if id == "" {
		return 0
	}
	h := m.hashMsgID(id)
	return max(binary.BigEndian.Uint64(h[:]), 1)
}

// appendAllTexts appends the decoded texts of textFields; nothing if they are too long.
func appendAllTexts(b []byte, h *message.Header) []byte {
	start := len(b)
	for _, name := range textFields {
		b = appendSized(b, func(b []byte) []byte { return appendTexts(b, h, name) })
	}
	if len(b)-start > maxTextsOctets {
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

// decodeKeys keeps everything as parts of b; ok is false for a message without keys.
func decodeKeys(b []byte) (k sortKeys, ok bool, err error) {
	d := decoderOf(b)
	d.version()
	if len(d.B) == 0 {
		return k, false, d.err("sort keys")
	}
	flags := d.Byte()
	k.hasDate, k.reply = flags&1 != 0, flags&2 != 0
	k.sent, k.zone = d.Int(), d.Int()
	k.subject, k.from, k.to, k.cc, k.displayFrom, k.displayTo = d.Bytes(), d.Bytes(), d.Bytes(), d.Bytes(), d.Bytes(), d.Bytes()
	if id := d.Take(8); id != nil {
		k.msgID = binary.BigEndian.Uint64(id)
	}
	k.refs = d.Take(8 * uint64(d.Count(8)))
	return k, !d.Bad, d.err("sort keys")
}

// hasDate tells whether sort keys have a date.
func hasDate(b []byte) bool { return len(b) > 1 && b[1]&1 != 0 }

// sentAt is the sent date of RFC 5256 section 2.2, in seconds.
func (k *sortKeys) sentAt(internal int64) int64 {
	if k.hasDate {
		return k.sent
	}
	return internal
}

// text is the key of a SORT by a string.
func (k *sortKeys) text(key string) []byte {
	switch key {
	case "SUBJECT":
		return k.subject
	case "FROM":
		return k.from
	case "TO":
		return k.to
	case "CC":
		return k.cc
	case "DISPLAYFROM":
		return k.displayFrom
	case "DISPLAYTO":
		return k.displayTo
	}
	return nil
}

// threadLink is what THREAD needs, but the subject.
func (k *sortKeys) threadLink(u imap.UID, internal int64) imap.ThreadLink {
	l := imap.ThreadLink{UID: u, Sent: k.sentAt(internal), Reply: k.reply, ID: k.msgID}
	if n := len(k.refs) / 8; n > 0 {
		l.Refs = make([]uint64, n)
		for i := range l.Refs {
			l.Refs[i] = binary.BigEndian.Uint64(k.refs[8*i:])
		}
	}
	return l
}

// texts are the decoded texts of textFields.
type texts [len(textFields)][]byte

// decodeTexts keeps everything as parts of b.
func decodeTexts(b []byte) (t texts, err error) {
	d := decoderOf(b)
	for i := range t {
		t[i] = d.Bytes()
	}
	return t, d.err("a header")
}

// keyed is the part of criteria that is told without the message: substrings of textFields by the header row, days of
// the Date field by the sort row.
type keyed struct {
	texts         []keyedText
	since, before time.Time // zero: no bound
}

type keyedText struct {
	field int
	value []byte // folded
}

// splitKeyed parts criteria into what can be told so and the rest, which is nil if there is none.
func splitKeyed(c *imap.Criteria) (k keyed, rest *imap.Criteria) {
	if c == nil {
		return k, nil
	}
	left := *c
	k.since, k.before = c.SentSince, c.SentBefore
	left.SentSince, left.SentBefore, left.Header = time.Time{}, time.Time{}, nil
	for _, h := range c.Header {
		if i := textField(h.Name); i >= 0 && h.Value != "" {
			k.texts = append(k.texts, keyedText{i, []byte(imap.Fold(h.Value))})
		} else {
			left.Header = append(left.Header, h)
		}
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

func (c *keyed) dated() bool { return !c.since.IsZero() || !c.before.IsZero() }

// dateCriteria are those of the dates alone, for a message without keys.
func (c *keyed) dateCriteria() *imap.Criteria {
	return &imap.Criteria{SentSince: c.since, SentBefore: c.before}
}

// days are bounds of the sent date as numbers of days.
type days struct{ since, before int64 }

func (c *keyed) days() days {
	d := days{math.MinInt64, math.MaxInt64}
	if !c.since.IsZero() {
		d.since = dayOf(c.since)
	}
	if !c.before.IsZero() {
		d.before = dayOf(c.before)
	}
	return d
}

func (d days) has(k *sortKeys) bool {
	day := floorDay(k.sent + 60*k.zone)
	return k.hasDate && day >= d.since && day < d.before
}

func (c *keyed) matchTexts(t *texts) bool {
	for i := range c.texts {
		if !bytes.Contains(t[c.texts[i].field], c.texts[i].value) {
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
