package accounts

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"
)

func contactKey(id uint64, sender string) []byte { return append(keyID(tagContact, id), sender...) }

func pendingKey(id uint64, since time.Time, sender string) []byte {
	return append(binary.BigEndian.AppendUint64(keyID(tagPending, id), uint64(max(since.UnixMilli(), 0))), sender...)
}

func senderOfPending(key []byte) string { return string(key[len(tagPending)+16:]) }

func encodeGate(g gate) []byte {
	b := []byte{1, byte(g.policy), 0}
	if g.some {
		b[2] = 1
	}
	if g.lists {
		b[2] |= 2
	}
	return b
}

func decodeGate(row []byte) (gate, error) {
	d := decoder{b: row}
	d.version()
	g := gate{policy: Policy(d.byte())}
	flags := d.byte()
	g.some, g.lists = flags&1 != 0, flags&2 != 0
	if int(g.policy) >= len(policyNames) {
		d.fail = true
	}
	return g, d.end("gate")
}

const (
	flagProven = 1 << iota
	flagNetwork
	flagExpires
	flagSeen
	flagFacts
	flagRead
)

func encodeContact(c Contact) []byte {
	var flags byte
	if c.Proven {
		flags |= flagProven
	}
	if c.Network.IsValid() {
		flags |= flagNetwork
	}
	if !c.Expires.IsZero() {
		flags |= flagExpires
	}
	if !c.LastSeen.IsZero() {
		flags |= flagSeen
	}
	if c.Tries != 0 || c.Subject != "" || c.Signed != "" || c.List != "" {
		flags |= flagFacts
	}
	if c.Read {
		flags |= flagRead
	}
	b := appendTime([]byte{1, byte(c.State), flags}, c.FirstSeen)
	if flags&flagSeen != 0 {
		b = appendTime(b, c.LastSeen)
	}
	if flags&flagExpires != 0 {
		b = appendTime(b, c.Expires)
	}
	if flags&flagNetwork != 0 {
		b = appendString(b, c.Network.String())
	}
	if flags&flagFacts != 0 {
		b = binary.AppendUvarint(b, uint64(c.Tries))
		b = appendString(appendString(appendString(b, c.Subject), c.Signed), c.List)
	}
	return b
}

func decodeContact(sender string, row []byte) (Contact, error) {
	d := decoder{b: row}
	d.version()
	c := Contact{Sender: sender, State: ContactState(d.byte())}
	flags := d.byte()
	c.Proven, c.Read = flags&flagProven != 0, flags&flagRead != 0
	c.FirstSeen = d.time()
	if flags&flagSeen != 0 {
		c.LastSeen = d.time()
	}
	if flags&flagExpires != 0 {
		c.Expires = d.time()
	}
	if flags&flagNetwork != 0 {
		p, err := netip.ParsePrefix(d.string())
		d.fail = d.fail || err != nil
		c.Network = p
	}
	if flags&flagFacts != 0 {
		c.Tries = uint32(d.uint())
		c.Subject, c.Signed, c.List = d.string(), d.string(), d.string()
	}
	if int(c.State) >= len(stateNames) {
		d.fail = true
	}
	return c, d.end("contact " + sender)
}

// sent is when the owner sent mail last.
func (a *Accounts) sent(ctx context.Context, id uint64) (time.Time, error) {
	row, err := a.get(ctx, keyID(tagSent, id))
	if err != nil || row == nil {
		return time.Time{}, err
	}
	d := decoder{b: row}
	d.version()
	t := d.time()
	return t, d.end("sent mail")
}
