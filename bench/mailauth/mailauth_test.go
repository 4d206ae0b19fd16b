// Package mailauth_test measures message authentication against its floor: what the hash and the keys alone cost. What
// is compared takes turns, some milliseconds each, and what counts is the CPU time of the process (getrusage), which
// other work on the machine moves least. Reported are medians of the turns and of their ratios.
//
//	go test -run '^$' -bench . -benchtime 1x ./bench/mailauth
package mailauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

const turns = 101

// contender does one piece of work n times.
type contender struct {
	name string
	run  func(n int)
}

// compare lets them take turns of n each, and returns the medians of microseconds of CPU, and of the ratios to the first.
func compare(b *testing.B, n int, cs ...contender) (us, ratios []float64) {
	b.Helper()
	all := make([][]float64, len(cs))
	for range b.N {
		for range turns {
			for i, c := range cs {
				start := cpuTime()
				c.run(n)
				all[i] = append(all[i], float64(cpuTime()-start)/float64(n)/1000)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, c := range cs {
		r := make([]float64, len(all[i]))
		for k := range r {
			r[k] = all[i][k] / all[0][k]
		}
		us, ratios = append(us, median(all[i])), append(ratios, median(r))
		b.ReportMetric(us[i], c.name+"-µs")
		if i > 0 {
			b.ReportMetric(ratios[i], c.name+"-x")
		}
	}
	return us, ratios
}

func cpuTime() int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// head is a header as mail has it.
const head = "Received: from out.sender.test (out.sender.test [192.0.2.1])\r\n\tby relay.sender.test (Postfix) with ESMTPS id 4XyZ1230abc\r\n" +
	"\tfor <someone@example.test>; Mon, 23 Nov 2026 05:00:00 +0000 (UTC)\r\n" +
	"From: Somebody Else <somebody@sender.test>\r\nTo: Someone <someone@example.test>\r\nCc: others@example.test\r\n" +
	"Subject: What the weather was like when we met\r\nDate: Mon, 23 Nov 2026 05:00:00 +0000\r\n" +
	"Message-ID: <20261123050000.12345@sender.test>\r\nIn-Reply-To: <20261122050000.54321@example.test>\r\n" +
	"References: <20261122050000.54321@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Content-Transfer-Encoding: 7bit\r\nUser-Agent: Some Program/1.0\r\n\r\n"

func body(octets int) string {
	const line = "The quick brown fox jumps over the lazy dog, and again, and again.\r\n"
	return strings.Repeat(line, octets/len(line))
}

func rsaKey(b *testing.B) (*rsa.PrivateKey, string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	rec, err := dkim.Record(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	return key, rec
}

func signed(b *testing.B, key crypto.Signer, c msgauth.Canonicalization, msg string) []byte {
	var out bytes.Buffer
	if err := msgauth.Sign(&out, strings.NewReader(msg), &msgauth.SignOptions{Domain: "sender.test", Selector: "s", Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: c, BodyCanonicalization: c}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

type texts map[string]string

func (z texts) TXT(_ context.Context, name string) ([]string, resolver.Answer, error) {
	v, ok := z[name]
	if !ok {
		return nil, resolver.Answer{}, resolver.ErrNoName
	}
	return []string{v}, resolver.Answer{}, nil
}

// pieces gives a message to w as a session does, in pieces of at most 32 KiB.
func pieces(w io.Writer, msg []byte) {
	for p := range slices.Chunk(msg, 32<<10) {
		_, _ = w.Write(p)
	}
}

// BenchmarkVerify: a message of 75 KiB with one RSA-2048 signature; the floor is one hash of its body and one RSA verification.
func BenchmarkVerify(b *testing.B) {
	key, rec := rsaKey(b)
	v := &dkim.Verifier{Resolver: texts{"s._domainkey.sender.test": rec}, Keys: new(dkim.Keys)}
	text := []byte(body(75 << 10))
	sum := sha256.Sum256(text)
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	cs := []contender{{"floor", func(n int) {
		for range n {
			sum := sha256.Sum256(text)
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig) != nil {
				b.Fatal("does not verify")
			}
		}
	}}}
	for _, c := range []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed} {
		msg := signed(b, key, c, head+string(text))
		cs = append(cs, contender{string(c), func(n int) {
			for range n {
				m := v.Message()
				pieces(m, msg)
				if rs := m.Close(b.Context()); rs[0].Status != dkim.Pass {
					b.Fatal(rs)
				}
			}
		}})
	}
	compare(b, 100, cs...)
}

// BenchmarkSign: both keys over 75 KiB. The floor is the two signatures and one hash of the body as it is; "pass" the two
// signatures and one pass that hashes its relaxed form.
func BenchmarkSign(b *testing.B) {
	key, _ := rsaKey(b)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	text := []byte(body(75 << 10))
	msg := []byte(head + string(text))
	sum := sha256.Sum256(text)
	signers := []dkim.Signer{{Domain: "sender.test", Selector: "r", Key: key}, {Domain: "sender.test", Selector: "e", Key: ed}}
	compare(b, 20, contender{"floor", func(n int) {
		for range n {
			sum := sha256.Sum256(text)
			if _, err := key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
			if _, err := ed.Sign(rand.Reader, sum[:], crypto.Hash(0)); err != nil {
				b.Fatal(err)
			}
		}
	}}, contender{"pass", func(n int) {
		for range n {
			s := dkim.NewSigning(time.Unix(1, 0))
			pieces(s, msg)
			if _, err := s.Close(); err != nil {
				b.Fatal(err)
			}
			if _, err := key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
			if _, err := ed.Sign(rand.Reader, sum[:], crypto.Hash(0)); err != nil {
				b.Fatal(err)
			}
		}
	}}, contender{"both", func(n int) {
		for range n {
			s := dkim.NewSigning(time.Unix(1, 0), signers...)
			pieces(s, msg)
			if _, err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}})
}

// sink takes everything.
type sink struct{}

func (sink) Open(context.Context, *mail.Session) (mail.Receiver, error) { return sink{}, nil }
func (sink) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return sink{}, nil
}
func (sink) Recipient(context.Context, *mail.Recipient) error { return nil }
func (sink) Trace(...mail.Field)                              {}
func (sink) Write(p []byte) (int, error)                      { return len(p), nil }
func (sink) Commit(context.Context) ([]mail.Reply, error)     { return []mail.Reply{mail.OK()}, nil }
func (sink) Abort() error                                     { return nil }

// BenchmarkChecks: what reverse look-up, SPF, DKIM (RSA-2048), ARC (none) and DMARC add to a delivery of 8 KiB with DNS in the
// cache of the house's own resolver: a Door that takes everything, without and with the checks in front.
func BenchmarkChecks(b *testing.B) {
	key, rec := rsaKey(b)
	zone := resolvertest.Zone(b, `sender.test TXT "v=spf1 mx -all"
		sender.test MX 10 out.sender.test
		out.sender.test A 192.0.2.1
		out.sender.test AAAA 2001:db8::1
		1.2.0.192.in-addr.arpa PTR out.sender.test
		_dmarc.sender.test TXT "v=DMARC1; p=reject; rua=mailto:dmarc@sender.test"
		s._domainkey.sender.test TXT `+record(rec))
	checked := (&mailauth.Checker{Resolver: zone.Resolver(resolver.Config{}), ID: "mx.example.test", Observe: func(_ context.Context, _ *mail.Session, r mailauth.Report) {
		if r.DMARC.Status != "pass" || r.SPF.Status != "pass" || len(r.DKIM) != 1 || r.DKIM[0].Status != "pass" || r.Reverse.Result != "pass" {
			b.Fatalf("%+v", r.Findings)
		}
	}}).Middleware()(sink{})
	msg := signed(b, key, msgauth.CanonicalizationRelaxed, head+body(8<<10))
	us, _ := compare(b, 200, contender{"unchecked", deliveries(b, sink{}, msg)}, contender{"checked", deliveries(b, checked, msg)})
	b.ReportMetric(us[1]-us[0], "added-µs")
}

func record(text string) string {
	var b strings.Builder
	for p := range slices.Chunk([]byte(text), 200) {
		b.WriteString(` "` + string(p) + `"`)
	}
	return b.String()
}

// deliveries has each message come in a session of its own.
func deliveries(b *testing.B, door mail.Door, msg []byte) func(n int) {
	from := mail.Address{Local: "somebody", Domain: "sender.test"}
	to := mail.Address{Local: "someone", Domain: "example.test"}
	ctx := b.Context()
	return func(n int) {
		for range n {
			s := &mail.Session{Hello: "out.sender.test", RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}}
			r, err := door.Open(ctx, s)
			if err != nil {
				b.Fatal(err)
			}
			tx, err := r.Begin(ctx, s, mail.Sender{Address: from})
			if err != nil {
				b.Fatal(err)
			}
			if err := tx.Recipient(ctx, &mail.Recipient{Address: to}); err != nil {
				b.Fatal(err)
			}
			pieces(tx, msg)
			if rs, err := tx.Commit(ctx); err != nil || !rs[0].Positive() {
				b.Fatal(err, rs)
			}
		}
	}
}
