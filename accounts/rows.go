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
const formatVersion = 1

// Keys of the database. A name is domain NUL local, both canonical, so that a domain is one range.
//
//	v            format version, u32          n            next account ID, u64
//	s            secret of the house, 32 octets
//	d/<domain>   domain                       m/<id>       the account is an admin (an index)
//	a/<id>       account                      p/<id>       its password
//	l/<name>     what the name is: an account's ID, or an alias
//	r/<name of target> NUL NUL <name of alias>             aliases by target (an index)
//	g/<id>       the gate: who may write to the account     w/<id>       when its owner sent mail last
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

func encodeDomain(d Domain) []byte { return appendTime([]byte{1}, d.Created) }

func decodeDomain(name string, row []byte) (Domain, error) {
	d := decoder{b: row}
	d.version()
	out := Domain{Name: name, Unicode: UnicodeDomain(name), Created: d.time()}
	return out, d.end("domain " + name)
}

const (
	flagAdmin = 1 << iota
	flagEnabled
)

func encodeAccount(a Account) []byte {
	var flags byte
	if a.Admin {
		flags |= flagAdmin
	}
	if a.Enabled {
		flags |= flagEnabled
	}
	b := []byte{1, flags}
	b = binary.AppendUvarint(b, uint64(a.Quota))
	b = appendTime(b, a.Created)
	b = appendString(b, a.Address.Domain)
	return appendString(b, a.Address.Local)
}

func decodeAccount(id uint64, row []byte) (Account, error) {
	d := decoder{b: row}
	d.version()
	flags := d.byte()
	a := Account{ID: id, Admin: flags&flagAdmin != 0, Enabled: flags&flagEnabled != 0}
	a.Quota = int64(d.uint())
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
)

func encodeNameOfAccount(id uint64) []byte {
	return binary.AppendUvarint([]byte{1, kindAccount}, id)
}

func encodeAlias(a Alias) []byte {
	b := appendTime([]byte{1, kindAlias}, a.Created)
	b = binary.AppendUvarint(b, uint64(len(a.Targets)))
	for _, t := range a.Targets {
		b = appendString(appendString(b, t.Domain), t.Local)
	}
	return b
}

// decodeName returns an account's ID, or an alias if that is 0.
func decodeName(name mail.Address, row []byte) (uint64, Alias, error) {
	d := decoder{b: row}
	d.version()
	switch d.byte() {
	case kindAccount:
		id := d.uint()
		d.fail = d.fail || id == 0
		return id, Alias{}, d.end("name " + name.String())
	case kindAlias:
	default:
		d.fail = true
	}
	al := Alias{Address: name, Created: d.time()}
	n := d.uint()
	if n == 0 || n > MaxTargets {
		d.fail, n = true, 0
	}
	for range n {
		if d.fail {
			break
		}
		dom := d.string()
		al.Targets = append(al.Targets, mail.Address{Domain: dom, Local: d.string()})
	}
	return 0, al, d.end("name " + name.String())
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
