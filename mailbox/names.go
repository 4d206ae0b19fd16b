package mailbox

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

const (
	inbox     = "INBOX"
	separator = "/"
)

// uses are the special uses that a mailbox row can hold, each a bit.
var uses = [...]imap.SpecialUse{imap.UseAll, imap.UseArchive, imap.UseDrafts, imap.UseFlagged, imap.UseJunk, imap.UseSent,
	imap.UseTrash, imap.UseImportant}

func useBit(u imap.SpecialUse) uint16 {
	for i, v := range uses {
		if strings.EqualFold(string(v), string(u)) {
			return 1 << i
		}
	}
	return 0
}

func usesOf(bits uint16) []imap.SpecialUse {
	var list []imap.SpecialUse
	for i, u := range uses {
		if bits&(1<<i) != 0 {
			list = append(list, u)
		}
	}
	return list
}

// firstFolders are those of a new account.
var firstFolders = [...]struct {
	name string
	use  uint16
}{
	{inbox, 0},
	{"Sent", useBit(imap.UseSent)},
	{"Drafts", useBit(imap.UseDrafts)},
	{"Trash", useBit(imap.UseTrash)},
	{"Junk", useBit(imap.UseJunk)},
	{"Archive", useBit(imap.UseArchive)},
}

// canonical returns a mailbox name as it is kept: Unicode NFC, INBOX in capitals also as the first level of a name
// (RFC 3501 section 5.1). Names that cannot be are refused.
func (m *Mailbox) canonical(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", no("CANNOT", "Mailbox name is not UTF-8")
	}
	name = norm.NFC.String(name)
	if len(name) > m.limits.NameOctets {
		return "", no("LIMIT", "Mailbox name is longer than %d octets", m.limits.NameOctets)
	}
	depth := 0
	for level := range strings.SplitSeq(name, separator) {
		if depth++; depth > m.limits.NameDepth {
			return "", no("LIMIT", "Mailbox name has more than %d levels", m.limits.NameDepth)
		}
		if level == "" {
			return "", no("CANNOT", "Mailbox name has an empty level")
		}
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' { // RFC 5198 section 2
			return "", no("CANNOT", "Mailbox name has a control character")
		}
	}
	if first, rest, sub := strings.Cut(name, separator); first == othersLevel {
		return "", no("CANNOT", "%q is where mailboxes of others are", othersLevel)
	} else if strings.EqualFold(first, inbox) {
		if !sub {
			return inbox, nil
		}
		return inbox + separator + rest, nil
	}
	return name, nil
}

// withUse returns the first mailbox that has a special use, nil if there is none.
func (p *part) withUse(ctx context.Context, r store.Reader, use string) (*box, error) {
	bit := useBit(imap.SpecialUse(use))
	if bit == 0 {
		return nil, nil
	}
	all, err := p.everyBox(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.Use&bit != 0 {
			return p.box(ctx, r, b.id)
		}
	}
	return nil, nil
}

// everyBox returns the heads of all mailboxes, in the order of their numbers. They are not to be changed.
func (p *part) everyBox(ctx context.Context, r store.Reader) ([]*box, error) {
	prefix := p.c.ar.accountKey(kindBox, p.id)
	heads := map[boxID]*box{}
	for id, b := range p.account.boxes {
		heads[id] = b
	}
	for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
		if err != nil {
			return nil, err
		}
		id := boxID(lastUint32(kv.Key))
		if heads[id] != nil {
			continue
		}
		row, err := decodeBox(kv.Value)
		if err != nil {
			return nil, err
		}
		heads[id] = &box{boxRow: row, id: id}
	}
	for _, b := range p.boxes {
		heads[b.id] = b
	}
	list := make([]*box, 0, len(heads))
	for id := boxID(1); id <= p.row.Box && len(heads) > 0; id++ {
		if b := heads[id]; b != nil {
			delete(heads, id)
			if !b.gone {
				list = append(list, b)
			}
		}
	}
	return list, nil
}

// emailName, threadName and boxName are object ids (RFC 8474): unique in the house, of its alphabet.
func emailName(a accountID, e emailID) string { return objectName('E', a, uint64(e)) }

// parseEmailName reads what emailName made for the same account.
func parseEmailName(a accountID, name string) (emailID, bool) {
	_, number, _ := strings.Cut(name, "-")
	n, err := strconv.ParseUint(number, 36, 64)
	return emailID(n), err == nil && emailName(a, emailID(n)) == name
}

func threadName(a accountID, t emailID) string { return objectName('T', a, uint64(t)) }

func boxName(a accountID, object uint64) string { return objectName('M', a, object) }

func objectName(kind byte, a accountID, n uint64) string {
	b := make([]byte, 0, 28)
	b = append(b, kind)
	b = strconv.AppendUint(b, uint64(a), 36)
	b = append(b, '-')
	return string(strconv.AppendUint(b, n, 36))
}

// parseObject reads what objectName wrote.
func parseObject(kind byte, a accountID, s string) (uint64, bool) {
	if s == "" || s[0] != kind {
		return 0, false
	}
	owner, number, _ := strings.Cut(s[1:], "-")
	id, err := strconv.ParseUint(owner, 36, 64)
	if err != nil || accountID(id) != a {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 36, 64)
	return n, err == nil
}
