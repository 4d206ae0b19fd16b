package guard

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func openHistory(t testing.TB, c HistoryConfig) *History {
	t.Helper()
	h, err := OpenHistory(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHistory(t, HistoryConfig{})
		defer h.Close()
		alice, bob := address(t, "alice@example.test"), address(t, "bob@example.test")
		delay := func(sender, ip string, to mail.Address, score float64) bool {
			return h.Grey.Delay(from(t, sender, ip), to, to, score)
		}
		if delay("x@far.test", "192.0.2.1", alice, 2) {
			t.Error("who is not suspicious is put off")
		}
		for i, want := range []bool{true, true, false, false} {
			if got := delay("x@far.test", "192.0.2.1", alice, 3); got != want {
				t.Errorf("try %d: %v", i, got)
			}
			time.Sleep(35 * time.Second)
		}
		if delay("y@Far.test", "192.0.2.200", bob, 3) {
			t.Error("another sender of the domain, from the same network, is put off")
		}
		if !delay("x@far.test", "198.51.100.1", alice, 3) || !delay("x@other.test", "192.0.2.1", alice, 3) {
			t.Error("who is new is let in")
		}
		for range 100 { // who tries all the time passes too: he comes again
			delay("z@zeal.test", "203.0.113.1", alice, 3)
			time.Sleep(time.Second)
		}
		if delay("z@zeal.test", "203.0.113.1", alice, 3) {
			t.Error("put off for ever")
		}
		time.Sleep(greyLife + time.Hour)
		if !delay("x@far.test", "192.0.2.1", alice, 3) {
			t.Error("never forgotten")
		}
		// An authenticated sender with a good history.
		known := from(t, "x@known.test", "203.0.113.9")
		known.Proven = true
		for range 5 {
			h.Reputation.Learn(known.sender(), alice, Delivered)
		}
		if h.Grey.Delay(known, alice, alice, 3) {
			t.Error("who is known is put off")
		}
		if known.Proven = false; !h.Grey.Delay(known, alice, alice, 3) {
			t.Error("who uses a known name is let in")
		}
		all := openHistory(t, HistoryConfig{GreyLeast: -1})
		defer all.Close()
		if !all.Grey.Delay(from(t, "x@far.test", "192.0.2.1"), alice, alice, -3) {
			t.Error("not everybody is put off")
		}
	})
}

func TestReputation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHistory(t, HistoryConfig{Own: []netip.Prefix{pre("10.0.0.0/8")}})
		defer h.Close()
		r := h.Reputation
		alice, bob, nobody := address(t, "alice@example.test"), address(t, "bob@example.test"), mail.Address{}
		judge := func(sender, ip string, proven bool, to mail.Address) float64 {
			m := from(t, sender, ip)
			m.Proven = proven
			return r.Judge(t.Context(), m, to).Score
		}
		learn := func(n int, sender, ip string, proven bool, to mail.Address, v Verdict) {
			for range n {
				r.Learn(Sender{address(t, sender), ip_(ip), proven}, to, v)
			}
		}
		if s := judge("x@far.test", "192.0.2.1", true, alice); s != 0 {
			t.Error("nothing is known", s)
		}
		learn(20, "news@far.test", "192.0.2.1", true, alice, Delivered)
		if s := judge("news@far.test", "203.0.113.1", true, nobody); s >= 0 || s < -reputationWeight {
			t.Error("wanted mail", s)
		}
		if s := judge("news@far.test", "203.0.113.1", false, nobody); s != 0 {
			t.Error("who uses the name has its repute", s)
		}
		learn(5, "bad@bulk.test", "198.51.100.1", true, alice, Junked)
		if s := judge("bad@bulk.test", "203.0.113.1", true, alice); s < 4 {
			t.Error("what alice threw away five times", s)
		}
		if s := judge("bad@bulk.test", "203.0.113.1", true, bob); s != 0 {
			t.Error("bob's own", s)
		}
		if s := judge("other@bulk.test", "198.51.100.9", true, nobody); s <= 1 {
			t.Error("the domain and network, for all", s)
		}
		if s := judge("x@far.test", "203.0.113.200", true, bob); s != 0 {
			t.Error(s)
		}
		// One account cannot ruin somebody for all.
		learn(2000, "ceo@rival.test", "203.0.113.77", true, bob, Junked)
		if v := r.Show(Sender{Address: address(t, "ceo@rival.test")}, nobody); len(v) != 2 || v[0].Bad > maxTold+1 {
			t.Errorf("%+v", v)
		}
		learn(30, "x@y.test", "10.0.0.1", false, alice, Junked)
		if s := judge("x@y.test", "10.0.0.1", false, alice); s != 0 {
			t.Error("a network of our own has a repute", s)
		}
		before := judge("bad@bulk.test", "203.0.113.1", true, alice)
		time.Sleep(4 * DefaultReputationHalfLife)
		if after := judge("bad@bulk.test", "203.0.113.1", true, alice); after >= before {
			t.Error("it does not fade", before, after)
		}
		learn(2, "bad@bulk.test", "198.51.100.1", true, alice, Wanted)
		if s := judge("bad@bulk.test", "203.0.113.1", true, alice); s >= 0 {
			t.Error("what she wants now", s)
		}
		time.Sleep(reputationLife + time.Hour)
		if v := r.Show(Sender{Address: address(t, "bad@bulk.test")}, alice); len(v) != 0 {
			t.Error("never forgotten", v)
		}
	})
}

func ip_(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestReputationScore: whatever is learned in whatever order, the score stays in its bounds, and more of the same never turns
// it round.
func TestReputationScore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := day0
		h, err := OpenHistory(context.Background(), HistoryConfig{Entries: 2000, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		who := Sender{mail.Address{Local: "x", Domain: "far.test"}, netip.MustParseAddr("192.0.2.1"), true}
		m := &Message{Session: &mail.Session{}, From: mail.Sender{Address: who.Address}, IP: who.IP, Proven: true}
		to := mail.Address{Local: "a", Domain: "example.test"}
		for range rapid.IntRange(0, 40).Draw(t, "n") {
			v := Verdict(rapid.IntRange(0, len(weights)-1).Draw(t, "v"))
			now = now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "hours")) * time.Hour)
			before := h.Reputation.Judge(context.Background(), m, to).Score
			h.Reputation.Learn(who, to, v)
			after := h.Reputation.Judge(context.Background(), m, to).Score
			all := h.Reputation.Judge(context.Background(), m, mail.Address{}).Score
			if after > ownWeight || after < -ownWeight || all > reputationWeight || all < -reputationWeight {
				t.Fatalf("out of bounds: %v %v", after, all)
			}
			good := weights[v][0] > 0
			if good && after > before+0.5 || !good && after < before-0.5 {
				t.Fatalf("verdict %d turned %v into %v", v, before, after)
			}
		}
	})
}

// TestKept: what is known is known after a restart, with another size too; rows stay bounded.
func TestKept(t *testing.T) {
	e, now := mem.New(mem.Options{}), day0
	clock := func() time.Time { return now }
	if err := OpenEvidence(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	rows := func() (n int) {
		if err := e.View(t.Context(), func(r store.Reader) error {
			for _, err := range r.Scan(t.Context(), nil, nil, false) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for round, entries := range []int{4000, 4000, 16_000, 3000, 3000} {
		h := openHistory(t, HistoryConfig{Engine: e, Entries: entries, Clock: clock})
		for _, x := range h.keeper.tables { // they are read in the background
			for !x.loaded.Load() {
				time.Sleep(time.Millisecond)
			}
		}
		for i := range 200 {
			s := Sender{Address: mail.Address{Local: "x", Domain: fmt.Sprintf("%d.test", i)}, Proven: true}
			v, want := h.Reputation.Show(s, mail.Address{}), float64(round)*0.3
			if round > 0 && (len(v) != 2 || v[1].Bad < 0.9*want || v[1].Bad > want) {
				t.Fatalf("round %d, %d: %+v, want %v", round, i, v, want)
			}
			h.Reputation.Learn(s, mail.Address{}, Refused)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if n := rows(); n > 400+10 {
			t.Errorf("round %d: %d rows", round, n)
		}
		if faults, err := VerifyEvidence(t.Context(), e); err != nil || len(faults) > 0 {
			t.Error(faults, err)
		}
		now = now.Add(time.Hour)
	}
	if err := store.Commit(t.Context(), e, &store.Batch{Ops: []store.Op{store.Put(setKey(KeyReputation, 1), []byte("?")), store.Put([]byte("b?"), nil), store.Put([]byte("gx"), nil)}}); err != nil {
		t.Fatal(err)
	}
	if faults, err := VerifyEvidence(t.Context(), e); err != nil || len(faults) != 3 {
		t.Error(faults, err)
	}
	h := openHistory(t, HistoryConfig{Engine: e, Entries: 3000, Clock: clock}) // a row that cannot be read costs that row
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestOutgoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHistory(t, HistoryConfig{Sent: OutgoingConfig{MessagesPerHour: 10, RecipientsPerHour: 40, MessagesPerDay: 60, RecipientsPerDay: -1}})
		defer h.Close()
		send := func(recipients int, ip string) (code int, alarms string) {
			for i := range recipients {
				a := h.Outgoing.Send(Sending{Account: "alice@example.test", IP: ip_(ip), First: i == 0})
				if a.Alarm != "" {
					alarms += a.Alarm + ";"
				}
				if a.Reply != nil {
					return a.Reply.Code, alarms
				}
			}
			return 0, alarms
		}
		for i := range 10 {
			if code, alarm := send(1, "192.0.2.1"); code != 0 || alarm != "" {
				t.Error(i, code, alarm)
			}
		}
		if code, alarm := send(1, "192.0.2.1"); code != 450 || !strings.HasPrefix(alarm, "the account has sent as much as it may: 10 messages in an hour") {
			t.Error(code, alarm)
		}
		if code, alarm := send(1, "192.0.2.1"); code != 450 || alarm != "" {
			t.Error("told twice", code, alarm)
		}
		if a := h.Outgoing.Send(Sending{Account: "bob@example.test", First: true}); a.Reply != nil {
			t.Error("bob may not either")
		}
		time.Sleep(7 * time.Minute)
		if code, _ := send(1, "192.0.2.1"); code != 0 {
			t.Error("it does not fade")
		}
		time.Sleep(5 * time.Hour)
		if code, _ := send(60, "192.0.2.1"); code != 452 {
			t.Error("recipients", code)
		}
		refused := 0
		for range 100 {
			time.Sleep(10 * time.Minute)
			if code, _ := send(1, "192.0.2.1"); code != 0 {
				refused++
			}
		}
		if refused < 5 || refused > 60 {
			t.Error("a day", refused)
		}
	})
}

// TestUnusual: the owner is told of a burst and of a new network, when it is known what is usual, once a day.
func TestUnusual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHistory(t, HistoryConfig{})
		defer h.Close()
		send := func(n int, ip string, pause time.Duration) (alarms []string) {
			for range n {
				if a := h.Outgoing.Send(Sending{Account: "alice@example.test", IP: ip_(ip), First: true}); a.Alarm != "" || a.Reply != nil {
					alarms = append(alarms, a.Alarm)
				}
				time.Sleep(pause)
			}
			return alarms
		}
		if a := send(100, "192.0.2.1", time.Minute); len(a) != 0 {
			t.Error("who is new is unusual", a)
		}
		if a := send(100, "192.0.2.1", 3*time.Hour); len(a) != 0 {
			t.Error("the usual", a)
		}
		if a := send(19, "192.0.2.200", time.Second); len(a) != 0 {
			t.Error(a)
		}
		if a := send(40, "198.51.100.1", time.Second); len(a) != 1 || !strings.Contains(a[0], "from the network 198.51.100.0/24, from which it was not used before") {
			t.Error("a new network", a)
		}
		time.Sleep(48 * time.Hour)
		if a := send(200, "192.0.2.1", time.Minute); len(a) != 1 || !strings.HasPrefix(a[0], "the account has sent ") {
			t.Error("a burst", a)
		}
	})
}

// To whom one writes is welcome when he answers, and nobody who uses his name.
func TestWrittenTo(t *testing.T) {
	h := openHistory(t, HistoryConfig{})
	defer h.Close()
	if a := h.Send(Sending{Account: "alice@example.test", First: true, To: address(t, "Friend@far.test")}); a.Reply != nil {
		t.Fatal(a.Reply)
	}
	m := from(t, "friend@far.test", "192.0.2.1")
	if s := h.Reputation.Judge(t.Context(), m, address(t, "alice@example.test")).Score; s != 0 {
		t.Error("not proven", s)
	}
	m.Proven = true
	if s := h.Reputation.Judge(t.Context(), m, address(t, "alice@example.test")).Score; s > -2 {
		t.Error("proven", s)
	}
}

func BenchmarkReputation(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		h := openHistory(b, HistoryConfig{Entries: 2 << 20})
		senders := make([]Sender, n)
		for i := range senders {
			senders[i] = Sender{mail.Address{Local: "somebody", Domain: fmt.Sprintf("%d.test", i)}, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i+1<<28)))), true}
			h.Reputation.Learn(senders[i], mail.Address{}, Delivered)
		}
		to := mail.Address{Local: "alice", Domain: "example.test"}
		m := &Message{Session: &mail.Session{}}
		b.Run(fmt.Sprintf("judge/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := &senders[(i*7919)%n]
				m.From.Address, m.IP, m.Proven = s.Address, s.IP, true
				h.Reputation.Judge(b.Context(), m, to)
			}
		})
		b.Run(fmt.Sprintf("learn/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				h.Reputation.Learn(senders[(i*7919)%n], to, Delivered)
			}
		})
		h.Close()
	}
}

func BenchmarkOutgoing(b *testing.B) {
	h := openHistory(b, HistoryConfig{Sent: OutgoingConfig{MessagesPerHour: -1, MessagesPerDay: -1, RecipientsPerHour: -1, RecipientsPerDay: -1}})
	defer h.Close()
	b.ReportAllocs()
	for b.Loop() {
		h.Outgoing.Send(Sending{Account: "alice@example.test", IP: ip_("192.0.2.1"), First: true})
	}
}

func BenchmarkGreylist(b *testing.B) {
	h := openHistory(b, HistoryConfig{})
	defer h.Close()
	m := from(b, "x@far.test", "192.0.2.1")
	to := address(b, "alice@example.test")
	b.ReportAllocs()
	for b.Loop() {
		h.Grey.Delay(m, to, to, 5)
	}
}
