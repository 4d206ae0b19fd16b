package management

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// FuzzPacked: packed events are read or refused, and what was read is the same when it is packed again.
func FuzzPacked(f *testing.F) {
	events := []mail.Event{{}, {Time: time.Unix(1, 2), Trace: "t", Room: "mta", Kind: "accepted", ID: "i", MessageID: "m@x", From: "a@b", To: "c@d", Peer: "p", Code: 250,
		Text: strings.Repeat("x", 2*maxEventText), Facts: []mail.Fact{{Name: "spf", Value: "pass"}, {}}}}
	packed, n := PackEvents(events)
	f.Add(packed)
	f.Add(packed[:len(packed)-1])
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	if n != 2 {
		f.Fatal(n)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, again []mail.Event
		if err := unpackEvents(b, func(e mail.Event) { first = append(first, e) }); err != nil {
			return
		}
		for rest := first; len(rest) > 0; {
			packed, n := PackEvents(rest)
			if err := unpackEvents(packed, func(e mail.Event) { again = append(again, e) }); err != nil || n == 0 {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
		if !reflect.DeepEqual(first, again) {
			t.Errorf("%+v, then %+v", first, again)
		}
	})
}

// FuzzEvent: a row of the journal is read or refused; what was read comes back the same when it is written again.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		`{"time":"2026-11-23T00:00:00Z","trace":"A","room":"mta","kind":"accepted","to":["a@b.test"],"facts":[["spf","pass"]],"code":250}`,
		`{}`, `{"facts":[["a"]]}`, `{"facts":[["a","b","c"]]}`, `{"to":null}`, `[]`, ``, `{"time":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeEvent(b)
		if err != nil {
			return
		}
		again, err := decodeEvent(b)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%+v, then %+v, %v", s, again, err)
		}
	})
}
