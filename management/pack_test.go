package management

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// TestPackEvents: events come out as they went in, cut to what the journal keeps, in packets of a bounded size.
func TestPackEvents(t *testing.T) {
	var in, want, out []mail.Event
	for i := range 1000 {
		e := mail.Event{Time: time.Unix(1_790_000_000, int64(i)), Trace: fmt.Sprint("trace ", i), Room: "mta", Kind: "accepted", ID: "id", MessageID: "1@x.test",
			From: "<>", To: "ü@x.test", Peer: "192.0.2.1", Code: 250 - i, Text: strings.Repeat("x", 3*i)}
		for j := range i % 50 {
			e.Facts = append(e.Facts, mail.Fact{Name: fmt.Sprint("fact ", j), Value: "pass"})
		}
		in = append(in, e)
		e.Text = e.Text[:min(len(e.Text), maxEventText)]
		if len(e.Facts) > maxEventFacts {
			e.Facts = e.Facts[:maxEventFacts]
		}
		want = append(want, e)
	}
	packets := 0
	for rest := in; len(rest) > 0; packets++ {
		packed, n := PackEvents(rest)
		if len(packed) > PackedOctets+64<<10 {
			t.Errorf("a packet of %d octets", len(packed))
		}
		if err := unpackEvents(packed, func(e mail.Event) { out = append(out, e) }); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if packets < 2 || !reflect.DeepEqual(out, want) {
		t.Errorf("%d events in %d packets came out as %d", len(in), packets, len(out))
	}
}

func BenchmarkPackEvents(b *testing.B) {
	events := make([]mail.Event, 500)
	for i := range events {
		events[i] = mail.Event{Time: time.Now(), Trace: "7RWZB3HRJDMXO7VACAAIGGWQUV", Room: "mta", Kind: "accepted", ID: "2GNXNDS6RPCUGCJNLDZI6PYXH6",
			MessageID: "r18eaa02480ed5843.8950@mailbench.test", From: "bench@sender.test", To: "u20@example.test", Peer: "127.2.32.1", Code: 250,
			Text: "250 2.0.0 Delivered as Em-2v; 4352 octets; to the mailbox of u20@example.test", Facts: []mail.Fact{{Name: "spf", Value: "pass"}}}
	}
	b.ReportAllocs()
	for b.Loop() {
		packed, _ := PackEvents(events)
		if err := unpackEvents(packed, func(mail.Event) {}); err != nil {
			b.Fatal(err)
		}
	}
}
