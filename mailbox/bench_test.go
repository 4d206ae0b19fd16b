package mailbox

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/log"
	"github.com/samotop/samotop/store/mem"
)

// cpuPerOp reports the process's CPU time for each operation, which other work on the machine disturbs least.
func cpuPerOp(b *testing.B) func() {
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	return func() {
		syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		ns := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(float64(ns)/1000/float64(b.N), "cpu-us/op")
	}
}

func benchLetter(n int) []byte {
	s := letter(n)
	return []byte(s + strings.Repeat(strings.Repeat("x", 70)+"\r\n", (4096-len(s))/72))
}

func benchmarkDeliver(b *testing.B, accounts, each int) {
	ctx := context.Background()
	m := newBox(b, Config{})
	s := &mail.Session{}
	r, err := m.Door().Open(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	body := benchLetter(0)
	trace := mail.Field{Name: "Received", Value: "from client.example.org (client.example.org [192.0.2.1])\r\n\tby mx.example.test with ESMTPS id 0123456789;\r\n\tMon, 2 Jan 2006 15:04:05 +0000"}
	b.ReportAllocs()
	b.ResetTimer()
	defer cpuPerOp(b)()
	for i := range b.N {
		tx, err := r.Begin(ctx, s, mail.Sender{Address: mail.Address{Local: "bob", Domain: "example.org"}})
		if err != nil {
			b.Fatal(err)
		}
		for k := range each {
			to := rcpt(1 + (i*each+k)%accounts)
			if err := tx.Recipient(ctx, &to); err != nil {
				b.Fatal(err)
			}
		}
		tx.Trace(trace)
		copy(body, fmt.Sprintf("From: Bob%08d", i))
		if _, err := tx.Write(body); err != nil {
			b.Fatal(err)
		}
		if _, err := tx.Commit(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeliver1(b *testing.B)      { benchmarkDeliver(b, 1, 1) }
func BenchmarkDeliver1of100(b *testing.B) { benchmarkDeliver(b, 100, 1) }
func BenchmarkDeliver100(b *testing.B)    { benchmarkDeliver(b, 100, 100) }

// filled returns a selected mailbox of n small messages.
func filled(b *testing.B, n int) (imap.Account, imap.Mailbox) {
	b.Helper()
	return fill(b, open(b, mem.New(mem.Options{}), Config{}), n)
}

func fill(b *testing.B, m *Mailbox, n int) (imap.Account, imap.Mailbox) {
	b.Helper()
	ctx := context.Background()
	a := login(b, m, 1)
	for i := 0; i < n; i += 1000 {
		ap, err := a.Append(ctx, "INBOX")
		if err != nil {
			b.Fatal(err)
		}
		for k := range 1000 {
			w, err := ap.Next(ctx, imap.AppendOptions{Flags: imap.Flags{System: imap.FlagSeen}})
			if err != nil {
				b.Fatal(err)
			}
			io.WriteString(w, letter(i+k))
		}
		if _, err := ap.Commit(ctx); err != nil {
			b.Fatal(err)
		}
	}
	box, err := a.Select(ctx, "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { box.Close() })
	return a, box
}

func BenchmarkFetch(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		_, box := filled(b, n)
		for _, c := range []struct {
			name string
			need imap.Need
		}{{"flags", 0}, {"dates", imap.NeedDates | imap.NeedSize}, {"envelope", imap.NeedEnvelope}, {"structure", imap.NeedStructure}, {"header", imap.NeedHeader}} {
			b.Run(fmt.Sprint(n, "/", c.name), func(b *testing.B) {
				b.ReportAllocs()
				defer cpuPerOp(b)()
				for range b.N {
					k := 0
					for _, err := range box.Fetch(context.Background(), everything(), c.need) {
						if err != nil {
							b.Fatal(err)
						}
						k++
					}
					if k != n {
						b.Fatal(k)
					}
				}
			})
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		a, _ := filled(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				box, err := a.Select(context.Background(), "INBOX", false)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := box.Snapshot(context.Background()); err != nil {
					b.Fatal(err)
				}
				box.Close()
			}
		})
	}
}

func BenchmarkStore(b *testing.B) {
	_, box := filled(b, 10_000)
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				set := imap.UIDSet{{Start: 1, Stop: imap.UID(n)}}
				mode := imap.StoreAdd + imap.StoreMode(i%2)
				if _, err := box.Store(context.Background(), set, imap.StoreChange{Mode: mode, Flags: imap.Flags{System: imap.FlagFlagged}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCopyExpunge(b *testing.B) {
	a, box := filled(b, 10_000)
	trash, err := a.Select(context.Background(), "Trash", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { trash.Close() })
	set := imap.UIDSet{{Start: 1, Stop: 1000}}
	b.Run("copy", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := box.Copy(context.Background(), set, "Trash", false); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("move and back", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			there, err := box.Copy(context.Background(), set, "Trash", true)
			if err != nil || there.Dest.Len() != 1000 {
				b.Fatal(there, err)
			}
			back, err := trash.Copy(context.Background(), there.Dest, "INBOX", true)
			if err != nil {
				b.Fatal(err)
			}
			set = back.Dest
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	_, box := filled(b, 10_000)
	for name, c := range map[string]*imap.Criteria{
		"unseen":  {NotFlag: imap.Flags{System: imap.FlagSeen}},
		"flagged": {Flags: imap.Flags{System: imap.FlagFlagged}},
		"subject": {Header: []imap.HeaderKey{{Name: "Subject", Value: "letter 77"}}},
		"body":    {Body: []string{"number 77"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := box.Search(context.Background(), &imap.Query{Within: everything(), Criteria: c}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDeliverLog delivers 4 KiB in 64 sessions at once to the log engine on a real disk.
func BenchmarkDeliverLog(b *testing.B) {
	for _, accounts := range []int{1, 100} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			ctx := context.Background()
			e, err := log.Open(ctx, log.Options{Dir: b.TempDir() + "/db", SieveKinds: []byte(SieveKinds)})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			m := open(b, e, Config{})
			defer m.Close()
			for n := range accounts {
				deliver(b, m, letter(n), rcpt(1+n))
			}
			var serial atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(32)
			b.ResetTimer()
			defer cpuPerOp(b)()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(serial.Add(1))
					if err := tryDeliver(ctx, m, string(benchLetter(i)), 1+i%accounts); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkLog reads and searches 10,000 messages in the log engine on a real disk.
func BenchmarkLog(b *testing.B) {
	const n = 10_000
	ctx := context.Background()
	e, err := log.Open(ctx, log.Options{Dir: b.TempDir() + "/db"})
	if err != nil {
		b.Fatal(err)
	}
	m := open(b, e, Config{})
	b.Cleanup(func() { m.Close(); e.Close() })
	_, box := fill(b, m, n)
	fetch := func(set imap.UIDSet, need imap.Need, use func(*imap.Message)) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			for range b.N {
				for msg, err := range box.Fetch(ctx, set, need) {
					if err != nil {
						b.Fatal(err)
					}
					use(msg)
				}
			}
		}
	}
	none := func(*imap.Message) {}
	b.Run("flags", fetch(everything(), 0, none))
	b.Run("envelope", fetch(everything(), imap.NeedEnvelope, none))
	b.Run("structure", fetch(everything(), imap.NeedStructure, none))
	b.Run("header", fetch(everything(), imap.NeedHeader, none))
	var buf []byte
	b.Run("body1000", fetch(imap.UIDSet{{Start: 1, Stop: 1000}}, imap.NeedContent, func(msg *imap.Message) {
		var err error
		if buf, err = msg.Content.Append(ctx, buf[:0], 0, msg.Content.Size()); err != nil {
			b.Fatal(err)
		}
	}))
	b.Run("store", func(b *testing.B) {
		defer cpuPerOp(b)()
		for i := range b.N {
			set := imap.UIDSet{{Start: 5, Stop: 5}}
			if _, err := box.Store(ctx, set, imap.StoreChange{Mode: imap.StoreAdd + imap.StoreMode(i%2), Flags: imap.Flags{System: imap.FlagFlagged}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, q := range map[string]*imap.Query{
		"sort subject":   {Sort: []imap.SortKey{{Key: "SUBJECT"}}},
		"thread":         {Thread: "REFERENCES"},
		"search subject": {Criteria: &imap.Criteria{Header: []imap.HeaderKey{{Name: "Subject", Value: "letter 77"}}}},
		"search body":    {Criteria: &imap.Criteria{Body: []string{"number 77"}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			q.Within = everything()
			for range b.N {
				if _, err := box.Search(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// onLog is a mailbox of n messages on the engine that the house uses.
func onLog(b *testing.B, n int) imap.Mailbox {
	b.Helper()
	e, err := log.Open(context.Background(), log.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	_, box := fill(b, open(b, e, Config{Limits: noIndexer}), n)
	return box
}

// BenchmarkStoreLog is STORE of one message and of a thousand, durable.
func BenchmarkStoreLog(b *testing.B) {
	box := onLog(b, 10_000)
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			for i := range b.N {
				set := imap.UIDSet{{Start: imap.UID(1 + i%9000), Stop: imap.UID(n + i%9000)}}
				mode := imap.StoreAdd + imap.StoreMode(i/9000%2)
				if n > 1 { // always others: rows that were written a hundred times since the last flush are slow to read
					at := imap.UID(i * n % 9000)
					set, mode = imap.UIDSet{{Start: at + 1, Stop: at + imap.UID(n)}}, imap.StoreAdd+imap.StoreMode(i*n/9000%2)
				}
				if _, err := box.Store(context.Background(), set, imap.StoreChange{Mode: mode, Flags: imap.Flags{System: imap.FlagFlagged}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkExpungeLog is EXPUNGE of 500 messages, durable.
func BenchmarkExpungeLog(b *testing.B) {
	ctx := context.Background()
	box := onLog(b, 20_000)
	if _, err := box.Store(ctx, everything(), imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	defer cpuPerOp(b)()
	b.ResetTimer()
	for i := range b.N {
		at := imap.UID(i*500%20_000 + 1)
		if _, err := box.Expunge(ctx, imap.UIDSet{{Start: at, Stop: at + 499}}); err != nil {
			b.Fatal(err)
		}
	}
}
