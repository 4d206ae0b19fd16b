package accounts

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

const many = 100_000

// crowd is a house with 100,000 accounts and as many aliases, written row by row.
func crowd(b *testing.B) *Accounts {
	b.Helper()
	e := mem.New(mem.Options{})
	a := open(b, config(e))
	ctx := context.Background()
	must(b)(a.AddDomain(ctx, "example.test"))
	ok(b, a.Close())
	for i := uint64(1); i <= many; {
		batch := &store.Batch{}
		for range 1000 {
			who := mail.Address{Local: fmt.Sprintf("user%d", i), Domain: "example.test"}
			al := Alias{Address: mail.Address{Local: fmt.Sprintf("alias%d", i), Domain: "example.test"}, Targets: []mail.Address{who}}
			batch.Ops = append(batch.Ops, store.Put(keyName(who), encodeNameOfAccount(i)),
				store.Put(keyID(tagAccount, i), encodeAccount(Account{ID: i, Address: who, Enabled: true, Created: time.Unix(1_700_000_000, 0)})),
				store.Put(keyName(al.Address), encodeAlias(al)), store.Put(keyReverse(who, al.Address), nil))
			i++
		}
		batch.Ops = append(batch.Ops, store.Put(keyNextID, binary.BigEndian.AppendUint64(nil, i)))
		ok(b, store.Commit(ctx, e, batch))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := config(e)
	c.CacheOctets = 128 << 20
	a = open(b, c)
	waitLoaded(b, a)
	for i := range many {
		for _, kind := range []string{"user", "alias"} {
			must(b)(a.Resolve(ctx, mail.Address{Local: fmt.Sprint(kind, i+1), Domain: "example.test"}))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("%d accounts and %d aliases take %d MiB when all are remembered", many, many, (after.HeapAlloc-before.HeapAlloc)>>20)
	return a
}

func BenchmarkResolve(b *testing.B) {
	a := crowd(b)
	ctx := context.Background()
	for _, c := range []struct{ name, local string }{
		{"account", "user%d"}, {"upper case", "USER%d"}, {"detail", "user%d+lists"}, {"alias", "alias%d"}, {"unknown", "nobody%d"},
	} {
		addresses := make([]mail.Address, 4096)
		for i := range addresses {
			addresses[i] = mail.Address{Local: fmt.Sprintf(c.local, i*23%many+1), Domain: "example.test"}
		}
		b.Run(c.name, func(b *testing.B) {
			before := a.reads.Load()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := a.Resolve(ctx, addresses[i%len(addresses)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(a.reads.Load()-before)/float64(b.N), "reads/op")
		})
	}
}
