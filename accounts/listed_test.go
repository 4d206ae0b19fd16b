package accounts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func TestListed(t *testing.T) {
	e := mem.New(mem.Options{})
	a := open(t, config(e))
	ctx := t.Context()
	if _, err := a.AddDomain(ctx, "our.test"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice@our.test", "bob@our.test"} {
		if _, err := a.AddAccount(ctx, name, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []ListedSender{
		{Entry: "@spam.test"}, {Entry: "@.spam.test", Allow: true}, {Entry: "boss@spam.test", Allow: true},
		{Entry: "192.0.2.0/24"}, {Entry: "192.0.2.64/26", Allow: true}, {Entry: "2001:db8::1"},
		{Account: "alice@our.test", Entry: "@.deep.spam.test"}, {Account: "alice@our.test", Entry: "192.0.2.70", Allow: false},
		{Account: "Bob@our.test", Entry: "@spam.test", Allow: true, Note: " so\nit is "},
	} {
		if _, err := a.ListSender(ctx, x); err != nil {
			t.Fatal(x, err)
		}
	}
	check := func(a *Accounts) {
		t.Helper()
		for _, c := range []struct{ to, from, ip, want string }{
			{"alice", "x@far.test", "203.0.113.1", ""},
			{"alice", "<>", "203.0.113.1", ""},
			{"alice", "X@Spam.TEST", "203.0.113.1", "deny @spam.test"},
			{"alice", "Boss@spam.test", "203.0.113.1", "allow boss@spam.test"},
			{"alice", "prvs=1234abcdef=boss@spam.test", "203.0.113.1", "allow boss@spam.test"},
			{"alice", "x@a.spam.test", "203.0.113.1", "allow @.spam.test"},
			{"alice", "x@b.deep.spam.test", "203.0.113.1", "deny @.deep.spam.test"},
			{"alice", "x@deep.spam.test", "203.0.113.1", "allow @.spam.test"},
			{"bob", "x@b.deep.spam.test", "203.0.113.1", "allow @.spam.test"},
			{"bob", "x@spam.test", "203.0.113.1", "allow @spam.test"},
			{"alice", "x@far.test", "192.0.2.1", "deny 192.0.2.0/24"},
			{"alice", "x@far.test", "::ffff:192.0.2.65", "allow 192.0.2.64/26"},
			{"alice", "x@far.test", "192.0.2.70", "deny 192.0.2.70/32"},
			{"bob", "x@far.test", "192.0.2.70", "allow 192.0.2.64/26"},
			{"bob", "boss@spam.test", "192.0.2.1", "allow @spam.test"}, // his own list first
			{"alice", "boss@spam.test", "192.0.2.1", "allow boss@spam.test"},
			{"alice", "x@far.test", "2001:db8::1", "deny 2001:db8::1/128"},
		} {
			r, err := a.Listed(ctx, ListedQuestion{To: parsed(t, c.to+"@our.test"), From: parsed(t, c.from), IP: netip.MustParseAddr(c.ip)})
			got := ""
			if r.Found {
				got = map[bool]string{true: "allow ", false: "deny "}[r.Allow] + r.Entry
			}
			if err != nil || got != c.want || r.ByName != strings.Contains(got, "@") {
				t.Errorf("%+v: %q %v", c, got, err)
			}
		}
	}
	check(a)
	if faults, err := a.Verify(ctx); err != nil || len(faults) > 0 {
		t.Error(faults, err)
	}
	check(open(t, config(e)))

	list := func(a *Accounts, account string, every bool) (out []string) {
		for x, err := range a.ListedSenders(ctx, account, every) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, x.Account+" "+x.Entry+" "+x.Note)
		}
		return out
	}
	if got := list(a, "bob@our.test", false); len(got) != 1 || got[0] != "bob@our.test @spam.test so it is" {
		t.Error(got)
	}
	if got := list(a, "", false); len(got) != 6 {
		t.Error(got)
	}
	for _, c := range []struct {
		account, entry string
		want           error
	}{{"alice@our.test", "192.0.2.70", nil}, {"alice@our.test", "192.0.2.70", ErrUnknown}, {"nobody@our.test", "192.0.2.70", ErrUnknown}, {"", "@", ErrInvalid}, {"", "2001:DB8::1", nil}} {
		if err := a.UnlistSender(ctx, c.account, c.entry); !errors.Is(err, c.want) {
			t.Errorf("unlist %v: %v", c, err)
		}
	}
	if _, err := a.RemoveAccount(ctx, "bob@our.test"); err != nil {
		t.Fatal(err)
	}
	if got := list(a, "", true); len(got) != 6 || a.listed.count != 6 {
		t.Error(got, a.listed.count)
	}
	again := open(t, config(e))
	if again.listed.count != 6 {
		t.Error(again.listed.count)
	}
	// A list of nobody is found.
	row := store.Put(listedKey(99, "@x.test"), encodeListed(ListedSender{}))
	if err := store.Commit(ctx, e, &store.Batch{Ops: []store.Op{row}}); err != nil {
		t.Fatal(err)
	}
	if faults, err := a.Verify(ctx); err != nil || len(faults) != 1 {
		t.Error(faults, err)
	}
}

// The limit of an account's list.
func TestListedLimit(t *testing.T) {
	l := listed{of: map[uint64]*listedOf{}}
	for i := range MaxListedOfAccount {
		l.put(1, fmt.Sprintf("@%d.test", i), true)
	}
	if err := l.room(1, "@new.test"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := l.room(1, "@7.test"); err != nil {
		t.Error("a known entry cannot be changed:", err)
	}
	if err := l.room(2, "@new.test"); err != nil {
		t.Error(err)
	}
	for i := range MaxListed - MaxListedOfAccount {
		l.put(uint64(i+2), "192.0.2.1/32", true)
	}
	if err := l.room(0, "@new.test"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// FuzzParseListed: what is taken is in its normal form, and found again.
func FuzzParseListed(f *testing.F) {
	for _, s := range []string{"user@example.org", "@example.org", "@.example.org", "192.0.2.1", "192.0.2.0/24", "[2001:db8::1]", "::ffff:1.2.3.4", "@[192.0.2.1]", "@bücher.example", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		entry, err := ParseListed(s)
		if err != nil {
			return
		}
		again, err := ParseListed(entry)
		if err != nil || again != entry {
			t.Fatalf("%q gave %q, which gives %q, %v", s, entry, again, err)
		}
		if len(listedKey(1, entry)) > store.MaxKeyOctets {
			return // the store refuses it
		}
		l := &listedOf{names: map[string]bool{}, nets: map[netip.Prefix]bool{}}
		l.put(entry, true)
		if l.len() != 1 {
			t.Fatal(entry)
		}
		if p, err := netip.ParsePrefix(entry); err == nil {
			if r := l.find("", p.Addr()); !r.Found || r.ByName {
				t.Fatalf("%q is not found", entry)
			}
		}
		l.drop(entry)
		if l.len() != 0 || l.bits != (listedOf{}).bits {
			t.Fatalf("%q is not dropped", entry)
		}
	})
}

func FuzzListedRow(f *testing.F) {
	f.Add(listedKey(1, "@x.test"), encodeListed(ListedSender{Allow: true, Note: "n"}))
	f.Fuzz(func(t *testing.T, k, v []byte) {
		id, x, err := decodeListed(store.KV{Key: k, Value: v})
		if err == nil && (id != binary.BigEndian.Uint64(k[2:]) || x.Entry == "") {
			t.Fatal(id, x)
		}
	})
}

func BenchmarkListed(b *testing.B) {
	a := open(b, config(mem.New(mem.Options{})))
	ctx := context.Background()
	if _, err := a.AddDomain(ctx, "our.test"); err != nil {
		b.Fatal(err)
	}
	if _, err := a.AddAccount(ctx, "alice@our.test", Options{}); err != nil {
		b.Fatal(err)
	}
	for i := range 50_000 {
		a.listed.put(0, fmt.Sprintf("@%d.test", i), false)
		a.listed.put(0, netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 24+i%9).Masked().String(), false)
	}
	q := ListedQuestion{To: mail.Address{Local: "alice", Domain: "our.test"}, From: mail.Address{Local: "x", Domain: "sub.far.test"}, IP: netip.MustParseAddr("192.0.2.1")}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := a.Listed(ctx, q); err != nil || r.Found {
			b.Fatal(r, err)
		}
	}
}
