package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/log"
)

// BenchmarkGrown is what must not depend on the size of a mailbox, or only by a microsecond a message, on the log engine:
// SAMOTOP_GROWN="10000 100000 1000000" says how many messages; without it 10,000. SAMOTOP_GROWN_DIR keeps the databases
// for the next run. The text index is finished and the database opened anew before it begins. Of each operation it tells
// the first and the median; what it runs with -benchtime Nx is N of them.
func BenchmarkGrown(b *testing.B) {
	sizes := os.Getenv("SAMOTOP_GROWN")
	if sizes == "" {
		sizes = "10000"
	}
	for s := range strings.FieldsSeq(sizes) {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkGrown(b, n)
	}
}

func benchmarkGrown(b *testing.B, n int) {
	ctx := context.Background()
	a, box := grown(b, n)
	fetch := func(set imap.UIDSet, need imap.Need) error {
		for _, err := range box.Fetch(ctx, set, need) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	search := func(q *imap.Query) error {
		q.Within = everything()
		_, err := box.Search(ctx, q)
		return err
	}
	other, err := a.Select(ctx, "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { other.Close() })
	snap, err := other.Snapshot(ctx)
	if err != nil {
		b.Fatal(err)
	}
	at := imap.UID(n / 2)
	page := imap.UIDSet{{Start: at, Stop: at + 99}}
	for _, x := range []struct {
		name string
		op   func(i int) error
	}{
		{"select", func(int) error {
			box, err := a.Select(ctx, "INBOX", false)
			if err != nil {
				return err
			}
			if _, err = box.Snapshot(ctx); err != nil {
				return err
			}
			return box.Close()
		}},
		{"status", func(int) error { _, err := a.Status(ctx, "INBOX"); return err }},
		{"fetch of 100, flags", func(int) error { return fetch(page, 0) }},
		{"fetch of 100, envelope", func(int) error { return fetch(page, imap.NeedEnvelope) }},
		{"fetch of all, flags", func(int) error { return fetch(everything(), 0) }},
		{"search unseen", func(int) error {
			return search(&imap.Query{Criteria: &imap.Criteria{NotFlag: imap.Flags{System: imap.FlagSeen}}})
		}},
		{"search body, one hit", func(int) error {
			return search(&imap.Query{Criteria: &imap.Criteria{Body: []string{"body of a WALRUS"}}})
		}},
		{"search body, no hit", func(int) error { return search(&imap.Query{Criteria: &imap.Criteria{Body: []string{"qqqxyzzy"}}}) }},
		{"search body, one hit of some candidates", func(i int) error { // at a million some 30 others have all of its runs of three octets
			return search(&imap.Query{Criteria: &imap.Criteria{Body: []string{fmt.Sprintf("Body number %d.", n/2+i*97)}}})
		}},
		{"sort date", func(int) error { return search(&imap.Query{Sort: []imap.SortKey{{Key: "DATE"}}}) }},
		{"sort subject", func(int) error { return search(&imap.Query{Sort: []imap.SortKey{{Key: "SUBJECT"}}}) }},
		{"thread", func(int) error { return search(&imap.Query{Thread: imap.ThreadReferences}) }},
		{"store of one", func(i int) error {
			_, err := box.Store(ctx, imap.UIDSet{{Start: at, Stop: at}}, imap.StoreChange{Mode: imap.StoreAdd + imap.StoreMode(i%2), Flags: imap.Flags{System: imap.FlagFlagged}})
			return err
		}},
		{"append, until another session knows", func(i int) error {
			ap, err := a.Append(ctx, "INBOX")
			if err != nil {
				return err
			}
			w, err := ap.Next(ctx, imap.AppendOptions{Flags: imap.Flags{System: imap.FlagSeen}})
			if err == nil {
				_, err = io.WriteString(w, letter(n+i))
			}
			if err == nil {
				_, err = ap.Commit(ctx)
			}
			if err != nil {
				return err
			}
			for {
				ch, err := other.Changes(ctx, snap.HighestModSeq)
				if err != nil {
					return err
				}
				if snap.HighestModSeq = ch.ModSeq; len(ch.New) > 0 {
					return nil
				}
				<-other.Notify()
			}
		}},
	} {
		b.Run(fmt.Sprint(n, "/", x.name), func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			took := make([]time.Duration, b.N)
			for i := range b.N {
				began := time.Now()
				if err := x.op(i); err != nil {
					b.Fatal(err)
				}
				took[i] = time.Since(began)
			}
			b.ReportMetric(float64(took[0].Nanoseconds())/1000, "first-us")
			slices.Sort(took)
			b.ReportMetric(float64(took[b.N/2].Nanoseconds())/1000, "p50-us")
		})
	}
}

// grown returns a mailbox of n messages on the log engine.
func grown(b *testing.B, n int) (imap.Account, imap.Mailbox) {
	b.Helper()
	ctx := context.Background()
	dir := os.Getenv("SAMOTOP_GROWN_DIR")
	if dir == "" || n == 0 {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, strconv.Itoa(n))
	o := log.Options{Dir: dir, SieveKinds: []byte(SieveKinds)} // as a house opens it
	once(b, o, "filled", func(m *Mailbox) error { return fillTogether(b, m, n) })
	once(b, o, "walrus", func(m *Mailbox) error {
		a := login(b, m, 1)
		put(b, a, "INBOX", imap.AppendOptions{Flags: imap.Flags{System: imap.FlagSeen}}, "Subject: one of a kind\r\n\r\nThe body of a walrus.\r\n")
		return a.Close()
	})
	index := func(m *Mailbox) error { return m.indexAccount(ctx, 1, 1, nil) }
	once(b, o, "indexed", index)
	e, err := log.Open(ctx, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	m := open(b, e, Config{Limits: noIndexer})
	m.columnWorth, m.setsWorth = defaultColumnWorth, defaultSetsWorth
	b.Cleanup(func() { m.Close() })
	if err := index(m); err != nil { // what an earlier run has appended
		b.Fatal(err)
	}
	a := login(b, m, 1)
	box, err := a.Select(ctx, "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { box.Close() })
	settle()
	return a, box
}

// settle waits until the engine has done what it does after it was opened, a minute at most.
func settle() {
	for range 120 {
		var before, after syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		time.Sleep(500 * time.Millisecond)
		syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		if after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano() < 10e6 {
			return
		}
	}
}

// once does something to a database that was not done before, as a file beside it tells, and closes it.
func once(b *testing.B, o log.Options, name string, do func(m *Mailbox) error) {
	b.Helper()
	done := filepath.Join(o.Dir, name)
	if _, err := os.Stat(done); err == nil {
		return
	}
	e, err := log.Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	m := open(b, e, Config{Limits: noIndexer})
	if err := errors.Join(do(m), m.Close(), e.Close(), os.WriteFile(done, nil, 0o600)); err != nil {
		b.Fatal(err)
	}
}

// fillTogether appends n messages in batches, several at once.
func fillTogether(b *testing.B, m *Mailbox, n int) error {
	b.Helper()
	const batch = 1000
	var next atomic.Int64
	var errs [4]error
	var wg sync.WaitGroup
	for k := range errs {
		a := login(b, m, 1)
		wg.Go(func() {
			for i := int(next.Add(batch)) - batch; i < n && errs[k] == nil; i = int(next.Add(batch)) - batch {
				errs[k] = appendLetters(a, i, min(batch, n-i))
			}
			errs[k] = errors.Join(errs[k], a.Close())
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// appendLetters appends n letters from number i on, in one batch.
func appendLetters(a imap.Account, i, n int) error {
	ctx := context.Background()
	ap, err := a.Append(ctx, "INBOX")
	if err != nil {
		return err
	}
	for k := range n {
		w, err := ap.Next(ctx, imap.AppendOptions{Flags: imap.Flags{System: imap.FlagSeen}})
		if err == nil {
			_, err = io.WriteString(w, letter(i+k))
		}
		if err != nil {
			return err
		}
	}
	_, err = ap.Commit(ctx)
	return err
}

// BenchmarkGrownDeliver is a delivery of 4 KiB, with all of its indexing, into mailboxes of the sizes of BenchmarkGrown and into
// an empty one. What it tells of the CPU holds what goes on behind: the index, flushes and compactions.
func BenchmarkGrownDeliver(b *testing.B) {
	sizes := "0 " + os.Getenv("SAMOTOP_GROWN")
	for s := range strings.FieldsSeq(sizes) {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s, func(b *testing.B) { benchmarkGrownDeliver(b, n) })
	}
}

func benchmarkGrownDeliver(b *testing.B, n int) {
	ctx := context.Background()
	a, _ := grown(b, n)
	m := a.(*view).m
	s := &mail.Session{}
	r, err := m.Door().Open(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	defer cpuPerOp(b)()
	const sessions = 10
	first := int(time.Now().UnixNano()) // so that no run sends what another one has sent to the same database
	var next atomic.Int64
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if err := deliverOne(ctx, r, s, grownLetter(first+i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "wall-us/op")
	if err := m.indexAccount(ctx, 1, 1, nil); err != nil {
		b.Fatal(err)
	}
}

// grownLetter is a letter of 4 KiB of words that nobody else has sent.
func grownLetter(n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	b := []byte(letter(n) + "\r\n")
	for len(b) < 4096 {
		for range 10 {
			b = strconv.AppendUint(append(b, ' '), rnd.Uint64()%5000, 36)
		}
		b = append(b, "\r\n"...)
	}
	return b
}

func deliverOne(ctx context.Context, r mail.Receiver, s *mail.Session, content []byte) error {
	tx, err := r.Begin(ctx, s, mail.Sender{Address: mail.Address{Local: "bob", Domain: "example.org"}})
	if err != nil {
		return err
	}
	defer tx.Abort()
	to := rcpt(1)
	if err := tx.Recipient(ctx, &to); err != nil {
		return err
	}
	if _, err := tx.Write(content); err != nil {
		return err
	}
	_, err = tx.Commit(ctx)
	return err
}
