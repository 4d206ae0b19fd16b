package mailbox

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store/log"
)

// BenchmarkSessions is STORE of one message and APPEND of a letter by one session and by 50 at once, on the log engine: each
// answer waits for a sync of the disk, which those that come together share. They work on mailboxes of their own, or all on one.
func BenchmarkSessions(b *testing.B) {
	ctx := context.Background()
	e, err := log.Open(ctx, log.Options{Dir: b.TempDir(), SieveKinds: []byte(SieveKinds)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	m := open(b, e, Config{Limits: noIndexer})
	const most, each = 50, 1000
	var own [most]session
	for i := range own {
		own[i] = newSession(b, m, i+1)
		for k := range each {
			put(b, own[i].account, "INBOX", imap.AppendOptions{}, letter(k))
			if k%100 == 0 && i > 0 && k >= 100 {
				break // a hundred will do for the others
			}
		}
	}
	var one [most]session
	for i := range one {
		one[i] = newSession(b, m, 1)
	}
	for _, set := range []struct {
		name     string
		sessions []session
		messages int
	}{{"own", own[:], 100}, {"one", one[:], each}} {
		for _, n := range []int{1, most} {
			b.Run(fmt.Sprint("store/", set.name, "/", n), func(b *testing.B) {
				together(b, set.sessions[:n], func(s *session, i int) error {
					u := imap.UID(1 + i/2%set.messages)
					_, err := s.box.Store(ctx, imap.UIDSet{{Start: u, Stop: u}}, imap.StoreChange{Mode: imap.StoreAdd + imap.StoreMode(i%2), Flags: imap.Flags{System: imap.FlagFlagged}})
					return err
				})
			})
			b.Run(fmt.Sprint("append/", set.name, "/", n), func(b *testing.B) {
				together(b, set.sessions[:n], func(s *session, i int) error {
					a, err := s.account.Append(ctx, "Sent")
					if err != nil {
						return err
					}
					w, err := a.Next(ctx, imap.AppendOptions{})
					if err == nil {
						_, err = io.WriteString(w, string(benchLetter(i)))
					}
					if err == nil {
						_, err = a.Commit(ctx)
					}
					return err
				})
			})
		}
	}
}

type session struct {
	account imap.Account
	box     imap.Mailbox
}

func newSession(b *testing.B, m *Mailbox, account int) session {
	a := login(b, m, account)
	box, err := a.Select(context.Background(), "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { box.Close() })
	return session{a, box}
}

// together shares b.N operations among sessions.
func together(b *testing.B, sessions []session, op func(s *session, i int) error) {
	b.ReportAllocs()
	defer cpuPerOp(b)()
	var next atomic.Int64
	var wg sync.WaitGroup
	for k := range sessions {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if err := op(&sessions[k], i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}
