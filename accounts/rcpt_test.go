package accounts

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
)

// Sizes of BenchmarkRCPT.
const (
	benchAccounts = 100_000
	benchContacts = 1_000_000 // of all accounts together
)

func benchUser(i int) mail.Address {
	return mail.Address{Local: "user" + strconv.Itoa(i), Domain: "example.test"}
}

func benchSender(i int) mail.Address {
	return mail.Address{Local: "friend" + strconv.Itoa(i), Domain: "d" + strconv.Itoa(i%5000) + ".test"}
}

// fill writes 100,000 accounts whose mail is gated, as many aliases, and 1,000,000 approved contacts: friend i writes to
// user i modulo 100,000.
func fill(b *testing.B, e store.Engine) {
	ctx := context.Background()
	batch := &store.Batch{}
	flush := func(always bool) {
		if len(batch.Ops) > 20_000 || always {
			ok(b, store.Commit(ctx, e, batch))
			batch = &store.Batch{}
		}
	}
	when := time.Unix(1_700_000_000, 0)
	for i := range benchAccounts {
		id, who := uint64(i+1), benchUser(i)
		al := Alias{Address: mail.Address{Local: "alias" + strconv.Itoa(i), Domain: who.Domain}, Targets: []mail.Address{who}}
		batch.Ops = append(batch.Ops, store.Put(keyName(who), encodeNameOfAccount(id)),
			store.Put(keyID(tagAccount, id), encodeAccount(Account{ID: id, Address: who, Enabled: true, Created: when})),
			store.Put(keyName(al.Address), encodeAlias(al)), store.Put(keyReverse(who, al.Address), nil),
			store.Put(keyID(tagGate, id), encodeGate(gate{policy: PolicyClosed, some: true})))
		flush(false)
	}
	for i := range benchContacts {
		c := Contact{Sender: NormalSender(benchSender(i), mail.Address{}), State: Approved, FirstSeen: when, LastSeen: when, Proven: true}
		batch.Ops = append(batch.Ops, store.Put(contactKey(uint64(i%benchAccounts+1), c.Sender), encodeContact(c)))
		flush(false)
	}
	batch.Ops = append(batch.Ops, store.Put(keyNextID, binary.BigEndian.AppendUint64(nil, benchAccounts+1)))
	flush(true)
}

// BenchmarkRCPT is what the guard asks at RCPT: where the address leads, and whether its owner lets the sender write, with the
// engine and the limits of a house. The machine's other work shows in the p99 of what is answered from memory.
func BenchmarkRCPT(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	// As internal/house opens it.
	engine := func() store.Engine {
		e, err := log.Open(ctx, log.Options{Dir: dir, MemtableOctets: 4 << 20, CacheOctets: 8 << 20})
		ok(b, err)
		return e
	}
	e := engine()
	a := open(b, config(e))
	must(b)(a.AddDomain(ctx, "example.test"))
	ok(b, a.Close())
	fill(b, e)
	ok(b, e.Close())
	debug.FreeOSMemory()
	before := resident(b)
	e = engine()
	defer e.Close()
	a = open(b, config(e))
	waitLoaded(b, a)

	ip := netip.MustParseAddr("192.0.2.1")
	decide := func(b *testing.B, to, from mail.Address) (Resolution, Decision) {
		res, err := a.Resolve(ctx, to)
		ok(b, err)
		d := Accept
		for i, gated := range res.Gated {
			if gated {
				d, err = a.Decide(ctx, Question{To: res.Targets[i].Address, Sender: from, IP: ip, Proven: true})
				ok(b, err)
			}
		}
		return res, d
	}
	alias := func(i int) mail.Address {
		return mail.Address{Local: "alias" + strconv.Itoa(i%benchAccounts), Domain: "example.test"}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		of   int // so many different questions
		ask  func(i int) (to, from mail.Address)
		want Decision
	}{
		{"known, 20,000 pairs", 20_000, func(i int) (mail.Address, mail.Address) { return benchUser(i % benchAccounts), benchSender(i) }, Known},
		{"alias, 10,000 pairs", 10_000, func(i int) (mail.Address, mail.Address) { return alias(i), benchSender(i) }, Known},
		{"stranger", benchAccounts, func(i int) (mail.Address, mail.Address) {
			return benchUser(i % 20_000), mail.Address{Local: "spam" + strconv.Itoa(i), Domain: "x" + strconv.Itoa(i) + ".test"}
		}, Refuse},
		{"nobody", benchAccounts, func(i int) (mail.Address, mail.Address) {
			return mail.Address{Local: "nobody" + strconv.Itoa(i), Domain: "example.test"}, benchSender(i)
		}, Accept},
		{"known, all pairs", benchContacts, func(i int) (mail.Address, mail.Address) { return benchUser(i % benchAccounts), benchSender(i) }, Known},
	} {
		b.Run(c.name, func(b *testing.B) {
			type pair struct{ to, from mail.Address }
			asked := make([]pair, 1<<16)
			for i := range asked {
				n := i % c.of
				if c.of > len(asked) {
					n = r.IntN(c.of)
				}
				asked[i].to, asked[i].from = c.ask(n)
			}
			if c.of < len(asked) { // the common case: they have written before
				for _, q := range asked[:c.of] {
					decide(b, q.to, q.from)
				}
			}
			took := make([]time.Duration, 0, 1<<20)
			reads := a.reads.Load()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				q := &asked[i%len(asked)]
				start := time.Now()
				res, d := decide(b, q.to, q.from)
				if len(took) < cap(took) {
					took = append(took, time.Since(start))
				}
				if d != c.want || len(res.Targets) == 0 != strings.HasPrefix(c.name, "nobody") {
					b.Fatal(q, res, d)
				}
				i++
			}
			slices.Sort(took)
			b.ReportMetric(float64(a.reads.Load()-reads)/float64(i), "reads/op")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	debug.FreeOSMemory()
	b.Logf("%d accounts, %d aliases, %d contacts: heap %d MiB, the process grew by %d MiB", benchAccounts, benchAccounts, benchContacts, m.HeapAlloc>>20, (resident(b)-before)>>20)
}

// resident is the memory of this process.
func resident(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
