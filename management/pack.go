package management

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
)

// Events travel between processes packed: for each, one after another, its time in nanoseconds and its code as varints, its
// texts, and the number of its facts with the name and the value of each. A text is its length as an uvarint and its octets.

// PackedOctets is the most that PackEvents packs, give or take one event.
const PackedOctets = 512 << 10

var errPacked = errors.New("journal: packed events cannot be read")

// PackEvents packs the first events, as many as fit into PackedOctets, and returns how many. What is longer than the journal
// keeps is cut.
func PackEvents(events []mail.Event) (packed []byte, n int) {
	packed = make([]byte, 0, min(PackedOctets, 400*len(events)))
	for n < len(events) && len(packed) < PackedOctets {
		packed = packEvent(packed, &events[n])
		n++
	}
	return packed, n
}

// texts lists what an event has in words; the order is that of the wire.
func texts(e *mail.Event) [9]*string {
	return [...]*string{&e.Trace, &e.Room, &e.Kind, &e.ID, &e.MessageID, &e.From, &e.To, &e.Peer, &e.Text}
}

func packEvent(dst []byte, e *mail.Event) []byte {
	dst = binary.AppendVarint(dst, e.Time.UnixNano())
	dst = binary.AppendVarint(dst, int64(e.Code))
	for _, s := range texts(e) {
		dst = packText(dst, *s)
	}
	facts := e.Facts[:min(len(e.Facts), maxEventFacts)]
	dst = binary.AppendUvarint(dst, uint64(len(facts)))
	for i := range facts {
		dst = packText(packText(dst, facts[i].Name), facts[i].Value)
	}
	return dst
}

func packText(dst []byte, s string) []byte {
	s = cut(s)
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// unpacker reads what PackEvents wrote.
type unpacker struct {
	b    string // what is left
	fail bool
}

func (u *unpacker) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(u.b) && i < binary.MaxVarintLen64; i++ {
		c := u.b[i]
		if v |= uint64(c&0x7f) << (7 * i); c < 0x80 {
			u.b = u.b[i+1:]
			return v
		}
	}
	u.fail = true
	return 0
}

func (u *unpacker) varint() int64 {
	v := u.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (u *unpacker) text() string {
	n := u.uvarint()
	if u.fail || n > maxEventText || n > uint64(len(u.b)) {
		u.fail = true
		return ""
	}
	s := u.b[:n]
	u.b = u.b[n:]
	return s
}

func (u *unpacker) event() (e mail.Event) {
	e.Time = time.Unix(0, u.varint())
	e.Code = int(u.varint())
	for _, s := range texts(&e) {
		*s = u.text()
	}
	n := u.uvarint()
	if u.fail || n > maxEventFacts {
		u.fail = true
		return e
	}
	if n > 0 {
		e.Facts = make([]mail.Fact, n)
		for i := range e.Facts {
			e.Facts[i] = mail.Fact{Name: u.text(), Value: u.text()}
		}
	}
	return e
}

// unpackEvents hands each event to do, and stops at the first that cannot be read.
func unpackEvents(packed []byte, do func(mail.Event)) error {
	u := unpacker{b: string(packed)}
	for len(u.b) > 0 {
		e := u.event()
		if u.fail {
			return errPacked
		}
		do(e)
	}
	return nil
}
