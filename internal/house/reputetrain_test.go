package house

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/mail"
)

const delivered = "Return-Path: <news@far.test>\r\nDelivered-To: alice@our.test\r\n" +
	"Authentication-Results: mx.our.test;\r\n\tspf=pass smtp.mailfrom=news@far.test;\r\n\tdkim=none\r\n" +
	"Received: from mail.far.test (mail.far.test [192.0.2.7])\r\n\tby mx.our.test with ESMTPS id 1;\r\n\tSun, 22 Nov 2026 09:05:00 +0100\r\n" +
	"Received: from evil (x [203.0.113.1])\r\n\tby mx.our.test with ESMTP id 2;\r\n\tSun, 22 Nov 2026 09:05:00 +0100\r\n" +
	"From: x@y.test\r\nSubject: hello\r\n\r\nReturn-Path: <body@body.test>\r\n"

func TestOrigin(t *testing.T) {
	for _, x := range []struct {
		name, change, into string
		from, ip           string
		proven, known      bool
	}{
		{"as it is", "", "", "news@far.test", "192.0.2.7", true, true},
		{"failed", "spf=pass", "spf=fail", "news@far.test", "192.0.2.7", false, true},
		{"signed", "spf=pass smtp.mailfrom=news@far.test;\r\n\tdkim=none", "dkim=pass header.d=FAR.test", "news@far.test", "192.0.2.7", true, true},
		{"signed above", "<news@far.test>", "<news@sub.far.test>", "news@sub.far.test", "192.0.2.7", false, true},
		{"somebody else's results", "Results: mx.our.test", "Results: mx.far.test", "news@far.test", "192.0.2.7", false, true},
		{"a report", "<news@far.test>", "<>", "", "192.0.2.7", false, true},
		{"IPv6", "[192.0.2.7]", "[IPv6:2001:db8::1]", "news@far.test", "2001:db8::1", true, true},
		{"local", "mail.far.test [192.0.2.7]", "local", "news@far.test", "", true, true},
		{"appended", "Delivered-To: alice@our.test\r\n", "", "news@far.test", "192.0.2.7", true, false},
	} {
		s, account, known := origin(strings.Replace(delivered, x.change, x.into, 1), "mx.our.test")
		want, _ := netip.ParseAddr(x.ip)
		if known != x.known || known && (s.Address.String() != x.from || s.IP != want || s.Proven != x.proven || account.String() != "alice@our.test") {
			t.Errorf("%s: %+v %s %v", x.name, s, account, known)
		}
	}
}

// heard is a teacher that reads everything.
type heard struct {
	changed bool
	text    *string
}

func (h heard) Learn(_ context.Context, _ uint64, _ string, _ filter.Kind, content io.Reader) (bool, error) {
	b, err := io.ReadAll(content)
	*h.text = string(b)
	return h.changed, err
}

func TestReputing(t *testing.T) {
	history, err := guard.OpenHistory(t.Context(), guard.HistoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	alice := mail.Address{Local: "alice", Domain: "our.test"}
	who := guard.Sender{Address: mail.Address{Local: "news", Domain: "far.test"}, IP: netip.MustParseAddr("192.0.2.7")}
	for _, changed := range []bool{false, true} {
		text := ""
		r := reputing{heard{changed, &text}, history.Reputation, "mx.our.test"}
		long := delivered + strings.Repeat("x", 3*headOctets)
		if got, err := r.Learn(t.Context(), 1, "e", filter.Spam, strings.NewReader(long)); got != changed || err != nil || text != long {
			t.Error(got, err, len(text))
		}
		if known := history.Reputation.Show(who, alice); (len(known) == 4) != changed || changed && (known[3].Bad < 2 || known[3].Good != 0) {
			t.Errorf("%v: %+v", changed, known)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add(delivered, "mx.our.test")
	f.Add("Return-Path:\r\n", "")
	f.Fuzz(func(t *testing.T, head, host string) {
		s, account, known := origin(head, host)
		if known && account.IsNull() || s.Proven && s.Address.Domain == "" {
			t.Fatal(s, account, known)
		}
	})
}
