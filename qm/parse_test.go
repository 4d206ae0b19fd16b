package qm

import (
	"bytes"
	"reflect"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
)

func sampleMessage() *messageRow {
	return &messageRow{arrival: time.UnixMilli(1700000000123), total: 3, size: 4711, msgID: "<1@x>", report: true, blank: true,
		sender: mail.Sender{Address: mail.Address{Local: "a b", Domain: "x.test"}, Size: 12, Body: mail.Body8Bit, UTF8: true, Ret: mail.RetHeaders,
			EnvelopeID: "env", Auth: "<>", RequireTLS: true, Priority: -9, HoldUntil: time.UnixMilli(1800000000000),
			DeliverBy: mail.DeliverBy{Deadline: time.UnixMilli(1900000000000), Return: true, Trace: true},
			Params:    []mail.Param{{Keyword: "X", Value: "v", HasValue: true}, {Keyword: "Y"}}},
		origin: origin{session: "s", service: "msa", account: "a@x.test", remoteAddr: "1.2.3.4:5", remoteName: "n", hello: "h",
			facts: []mail.Fact{{Name: "spf", Value: "pass"}}},
		trace: []mail.Field{{Name: "Received", Value: "from"}}}
}

func sampleRecipient() *recipientRow {
	return &recipientRow{rcpt: mail.Recipient{Address: mail.Address{Local: "r", Domain: "y.test"}, Notify: mail.NotifyDelay | mail.NotifyFailure,
		Original: "rfc822;r@y", RRVS: time.UnixMilli(1600000000000), Params: []mail.Param{{Keyword: "Z"}}},
		target: mail.Target{Address: mail.Address{Local: "t", Domain: "z.test"}, Folder: "Junk", Remote: true}, dest: "mx:z.test", due: 77,
		held: true, warned: true, expanded: true, final: true, attempts: 9,
		last: Attempt{Time: time.UnixMilli(1700000000999), Host: "mx", TLS: "TLS 1.3", Reply: mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 2, 0}, Text: "later"}}}
}

func TestRowsRoundTrip(t *testing.T) {
	m := sampleMessage()
	if got, err := decodeMessage(m.encode()); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v\n%+v\n%v", got, m, err)
	}
	r := sampleRecipient()
	if got, err := decodeRecipient(r.encode()); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v\n%+v\n%v", got, r, err)
	}
	for n := range m.encode() {
		if _, err := decodeMessage(m.encode()[:n]); err == nil {
			t.Errorf("the first %d octets are taken for the whole", n)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add(sampleMessage().encode())
	f.Add(sampleRecipient().encode())
	f.Add(usage{until: time.UnixMilli(1), used: true}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMessage(b); err == nil {
			if again, err := decodeMessage(m.encode()); err != nil || !reflect.DeepEqual(m, again) {
				t.Errorf("%+v\n%+v", m, again)
			}
		}
		if r, err := decodeRecipient(b); err == nil {
			if again, err := decodeRecipient(r.encode()); err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("%+v\n%+v", r, again)
			}
		}
		_, _ = decodeUsage(b)
		if s, err := decodeSuppressed(b); err == nil && len(s.why) <= maxWhyOctets {
			if again, err := decodeSuppressed(s.encode()); err != nil || !reflect.DeepEqual(s, again) {
				t.Fatalf("%+v came back as %+v, %v", s, again, err)
			}
		}
		_, _ = parsePlace(b)
	})
}

func TestKeysSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := place{due: rapid.Uint64().Draw(t, "due"), id: ID(rapid.Uint64().Draw(t, "id")), n: rapid.Uint32().Draw(t, "n"), dest: "mx:a.test",
			priority: rapid.Int8().Draw(t, "priority")}
		lane := p.id.lane()
		got, ok := parsePlace(destKey(lane, p.dest, p.priority, p.due, p.id, p.n))
		if !ok || got != p {
			t.Fatalf("%+v is read as %+v", p, got)
		}
		later := place{due: p.due + 1, id: ID(rapid.Uint64().Draw(t, "id2"))}
		if p.due+1 > p.due && bytes.Compare(dueKey(lane, p.due, p.id, p.n), dueKey(lane, later.due, later.id, 0)) >= 0 {
			t.Fatal("the due index is not in the order of time")
		}
		if id, err := ParseID(p.id.String()); err != nil || id != p.id {
			t.Fatalf("%v is read as %v, %v", p.id, id, err)
		}
	})
}

func TestIDsGrow(t *testing.T) {
	g := ids{lane: 7}
	now := time.UnixMilli(1700000000000)
	var all []string
	seen := map[ID]bool{}
	for i := range 20000 {
		if i == 10000 {
			now = now.Add(-time.Hour) // the clock goes back
		}
		id := g.next(now, uint64(i)*0x9e3779b97f4a7c15)
		if seen[id] || id.lane() != 7 {
			t.Fatalf("%v: twice, or lane %d", id, id.lane())
		}
		seen[id] = true
		all = append(all, id.String())
	}
	if !sort.StringsAreSorted(all) {
		t.Error("ids do not grow")
	}
	for _, s := range []string{"", "x", "zzzzzzzzzzzzz", "0123456789abi", "0123456789abcd"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is taken for an id", s)
		}
	}
}

func TestHeaderScan(t *testing.T) {
	text := "Received: a\r\n b\r\nRECEIVED:c\r\nX: Received: no\r\nMessage-Id:\r\n <m@x> \r\nmessage-id: <second@x>\r\n\r\nReceived: body\r\n"
	for n := 1; n < len(text); n++ {
		var h headerScan
		for i := 0; i < len(text); i += n {
			h.write([]byte(text[i:min(i+n, len(text))]))
		}
		if h.received != 2 || h.messageID() != "<m@x>" {
			t.Fatalf("in pieces of %d: %d, %q", n, h.received, h.messageID())
		}
	}
}

func TestRoutes(t *testing.T) {
	rs, err := parseRoutes([]Route{
		{Domain: "special.example.org", To: "mx"}, {Domain: "Example.ORG", To: "smtp://Relay.example.net"}, {Domain: "*.example.org", To: "smtps://relay.example.net"},
		{Domain: "bücher.test", To: "lmtp://127.0.0.1:24"}, {Domain: ".below.test", To: "unix:/run/x.sock"}, {Domain: "six.test", To: "smtp://[::1]:2525"}, {Domain: "sock.test", To: "unix:///run/y.sock"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]string{
		"special.example.org": "mx:special.example.org", "example.org": "smtp://relay.example.net:25", "EXAMPLE.org": "smtp://relay.example.net:25",
		"a.example.org": "smtps://relay.example.net:465", "notexample.org": "mx:notexample.org", "Bücher.test": "lmtp://127.0.0.1:24",
		"xn--bcher-kva.test": "lmtp://127.0.0.1:24", "a.below.test": "unix:/run/x.sock", "below.test": "mx:below.test",
		"six.test": "smtp://[::1]:2525", "sock.test": "unix:/run/y.sock", "[192.0.2.1]": "mx:[192.0.2.1]",
	} {
		if got := rs.line(mail.Target{Address: mail.Address{Local: "x", Domain: domain}, Remote: true}, &messageRow{}); got != want {
			t.Errorf("%s goes by %s, want %s", domain, got, want)
		}
	}
	if rs.line(mail.Target{Address: mail.Address{Local: "x", Domain: "example.org"}}, &messageRow{}) != localLine {
		t.Error("what is local goes by a route")
	}
	for _, r := range []Route{{Domain: "", To: "mx"}, {Domain: "a b", To: "mx"}, {Domain: "*", To: ""}, {Domain: "*", To: "relay"}, {Domain: "*", To: "http://x"}, {Domain: "*", To: "smtp://"}, {Domain: "*", To: "smtp://u:p@x"},
		{Domain: "*", To: "smtp://x/y"}, {Domain: "*", To: "unix:"}, {Domain: "*", To: "unix:/"}, {Domain: "*", To: "smtp://x?y"}, {Domain: "*.*", To: "mx"}, {Domain: "*", To: "smtp:x"}} {
		if h, err := parseRoute(r); err == nil {
			t.Errorf("%v is taken: %+v", r, h)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("*.example.org", "smtp://x:25", "a.example.org")
	f.Add("*", "unix:/run/x", "b")
	f.Fuzz(func(t *testing.T, domain, to, rcpt string) {
		rs, err := parseRoutes([]Route{{Domain: domain, To: to}})
		if err != nil {
			return
		}
		name := rs.line(mail.Target{Address: mail.Address{Local: "x", Domain: rcpt}, Remote: true}, &messageRow{})
		if name == localLine {
			t.Error("a route leads home")
		}
		if h, ok := rs.byName(name); !ok && rs[0].via != viaMX && rs[0].matches(asciiDomain(rcpt), &messageRow{}) {
			t.Errorf("%q is not found again: %+v", name, h)
		}
	})
}
