package accounts

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store"
)

// formatVersion is what this room writes. It grows when older programs could not read it.
const formatVersion = 2 // 2 has settings of domains and accounts, lists, and rights to send as; it reads 1

// Keys of the database. A name is domain NUL local, both canonical, so that a domain is one range.
//
//	v            format version, u32          n            next account ID, u64
//	s            secret of the house, 32 octets
//	d/<domain>   domain                       m/<id>       the account is an admin (an index)
//	a/<id>       account                      p/<id>       its password
//	l/<name>     what the name is: an account's ID, an alias or a list
//	r/<name of target> NUL NUL <name of alias or list>     what leads to a target (an index)
//	x/<id><name> the account may send as that address      y/<name> NUL NUL <id>            the same by address (an index)
//	g/<id>       the gate: who may write to the account     w/<id>       when its owner sent mail last
//	e/<id><entry>    a sender who is allowed or denied; id 0: for all accounts
//	u/<id><day><hash>   a message that its owner sent, by Message-ID     t/<id><suffix>   lets one sender in for a time
//	c/<id><sender>   a contact                 q/<id><when><sender>   it waits to be decided
const (
	tagGate     = "g/"
	tagContact  = "c/"
	tagPending  = "q/"
	tagSent     = "w/"
	tagDomain   = "d/"
	tagAdmin    = "m/"
	tagAccount  = "a/"
	tagPassword = "p/"
	tagName     = "l/"
	tagReverse  = "r/"
)

var (
	keyFormat = []byte("v")
	keyNextID = []byte("n")
	keySecret = []byte("s")
)

func keyDomain(d string) []byte { return []byte(tagDomain + d) }

func keyID(tag string, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(tag), id)
}

func appendName(b []byte, a mail.Address) []byte {
	b = append(b, a.Domain...)
	b = append(b, 0)
	return append(b, a.Local...)
}

func keyName(a mail.Address) []byte { return appendName([]byte(tagName), a) }

func keyReverse(target, alias mail.Address) []byte {
	return appendName(append(appendName([]byte(tagReverse), target), 0, 0), alias)
}

// after returns the end of the range of keys that begin with prefix, which must not end in 0xff.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}

// decoder reads a row; its first error stays.
type decoder struct {
	b    []byte
	fail bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) time() time.Time { return time.UnixMilli(int64(d.uint())).UTC() }

// version reads the leading octet; rows of a later kind are refused.
func (d *decoder) version() {
	if d.byte() != 1 {
		d.fail = true
	}
}

// versionUpTo reads it where there are several.
func (d *decoder) versionUpTo(newest byte) byte {
	v := d.byte()
	d.fail = d.fail || v < 1 || v > newest
	return v
}

func (d *decoder) end(what string) error {
	if d.fail || len(d.b) != 0 {
		return fmt.Errorf("accounts: row of %s: %w", what, store.ErrCorrupt)
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(b, uint64(max(t.UnixMilli(), 0)))
}

// encodeDomain writes a domain without settings as format 1 did, so that a row read is the row that was written.
func encodeDomain(d Domain) []byte {
	if d.Separators == "" && d.AliasOf == "" && len(d.Rules) == 0 {
		return appendTime([]byte{1}, d.Created)
	}
	b := appendTime([]byte{2}, d.Created)
	b = appendString(appendString(b, d.Separators), d.AliasOf)
	b = binary.AppendUvarint(b, uint64(len(d.Rules)))
	for _, r := range d.Rules {
		b = appendString(appendString(b, r.Pattern), r.Replace)
	}
	return b
}

func decodeDomain(name string, row []byte) (Domain, error) {
	d := decoder{b: row}
	v := d.versionUpTo(2)
	out := Domain{Name: name, Unicode: UnicodeDomain(name), Created: d.time()}
	if v == 2 {
		out.Separators, out.AliasOf = d.string(), d.string()
		n := d.uint()
		d.fail = d.fail || n > MaxMapRules
		for ; n > 0 && !d.fail; n-- {
			pattern := d.string()
			out.Rules = append(out.Rules, MapRule{pattern, d.string()})
		}
	}
	if err := d.end("domain " + name); err != nil {
		return out, err
	}
	return out, out.compile()
}

const (
	flagAdmin = 1 << iota
	flagEnabled
	flagPlusFolders // from version 2 on
)

func encodeAccount(a Account) []byte {
	var flags byte
	if a.Admin {
		flags |= flagAdmin
	}
	if a.Enabled {
		flags |= flagEnabled
	}
	version := byte(1)
	if a.PlusFolders {
		version, flags = 2, flags|flagPlusFolders
	}
	if a.QuotaMessages != 0 {
		version = 2
	}
	b := []byte{version, flags}
	b = binary.AppendUvarint(b, uint64(a.Quota))
	if version == 2 {
		b = binary.AppendUvarint(b, uint64(a.QuotaMessages))
	}
	b = appendTime(b, a.Created)
	b = appendString(b, a.Address.Domain)
	return appendString(b, a.Address.Local)
}

func decodeAccount(id uint64, row []byte) (Account, error) {
	d := decoder{b: row}
	v := d.versionUpTo(2)
	flags := d.byte()
	a := Account{ID: id, Admin: flags&flagAdmin != 0, Enabled: flags&flagEnabled != 0}
	a.Quota = int64(d.uint())
	if v == 2 {
		a.PlusFolders, a.QuotaMessages = flags&flagPlusFolders != 0, int64(d.uint())
	}
	a.Created = d.time()
	a.Address.Domain = d.string()
	a.Address.Local = d.string()
	return a, d.end(fmt.Sprintf("account %d", id))
}

func decodeAccountRow(kv store.KV) (Account, error) {
	if len(kv.Key) != len(tagAccount)+8 {
		return Account{}, fmt.Errorf("accounts: key of an account: %w", store.ErrCorrupt)
	}
	return decodeAccount(binary.BigEndian.Uint64(kv.Key[len(tagAccount):]), kv.Value)
}

const (
	kindAccount = 'a'
	kindAlias   = 'l'
	kindList    = 'i'
)

func encodeNameOfAccount(id uint64) []byte {
	return binary.AppendUvarint([]byte{1, kindAccount}, id)
}

func encodeAlias(a Alias) []byte {
	return appendAddresses(appendTime([]byte{1, kindAlias}, a.Created), a.Targets)
}

func appendAddresses(b []byte, list []mail.Address) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, t := range list {
		b = appendString(appendString(b, t.Domain), t.Local)
	}
	return b
}

func (d *decoder) addresses(most uint64) (list []mail.Address) {
	n := d.uint()
	if n > most {
		d.fail = true
	}
	for ; n > 0 && !d.fail; n-- {
		dom := d.string()
		list = append(list, mail.Address{Domain: dom, Local: d.string()})
	}
	return list
}

// encode writes the row of a name.
func (n *name) encode() []byte {
	switch {
	case n.account != nil:
		return encodeNameOfAccount(n.account.ID)
	case n.list != nil:
		return encodeList(*n.list)
	}
	return encodeAlias(*n.alias)
}

func encodeList(l List) []byte {
	b := appendTime([]byte{1, kindList}, l.Created)
	b = appendString(append(b, byte(l.Posting)), l.Title)
	return appendAddresses(appendAddresses(appendAddresses(b, l.Owners), l.Posters), l.Members)
}

// decodeName returns an account's ID, or else an alias or a list.
func decodeName(addr mail.Address, row []byte) (id uint64, n *name, err error) {
	d := decoder{b: row}
	d.version()
	n = &name{}
	switch d.byte() {
	case kindAccount:
		id = d.uint()
		d.fail = d.fail || id == 0
		n = nil
	case kindAlias:
		n.alias = &Alias{Address: addr, Created: d.time(), Targets: d.addresses(MaxTargets)}
		d.fail = d.fail || len(n.alias.Targets) == 0
	case kindList:
		l := &List{Address: addr, Created: d.time(), Posting: Posting(d.byte()), Title: d.string()}
		l.Owners, l.Posters, l.Members = d.addresses(MaxListOwners), d.addresses(MaxListPosters), d.addresses(MaxListMembers)
		d.fail = d.fail || len(l.Owners) == 0 || int(l.Posting) >= len(postingNames)
		n.list = l
	default:
		d.fail = true
	}
	return id, n, d.end("name " + addr.String())
}

// secrets is the row of a password: nothing in it can be used to log in.
type secrets struct {
	phc   string
	scram map[sasl.Hash]sasl.ScramKeys
}

func encodeSecrets(s secrets) []byte {
	b := appendString([]byte{1}, s.phc)
	b = binary.AppendUvarint(b, uint64(len(s.scram)))
	for _, h := range []sasl.Hash{sasl.SHA256, sasl.SHA1} {
		if k, ok := s.scram[h]; ok {
			b = append(b, byte(h))
			b = binary.AppendUvarint(b, uint64(k.Iterations))
			b = appendString(b, string(k.Salt))
			b = appendString(b, string(k.StoredKey))
			b = appendString(b, string(k.ServerKey))
		}
	}
	return b
}

func decodeSecrets(id uint64, row []byte) (secrets, error) {
	d := decoder{b: row}
	d.version()
	s := secrets{phc: d.string(), scram: map[sasl.Hash]sasl.ScramKeys{}}
	for n := min(d.uint(), 16); n > 0 && !d.fail; n-- {
		h := sasl.Hash(d.byte())
		s.scram[h] = sasl.ScramKeys{Iterations: int(d.uint()), Salt: []byte(d.string()), StoredKey: []byte(d.string()), ServerKey: []byte(d.string())}
	}
	return s, d.end(fmt.Sprintf("password %d", id))
}
