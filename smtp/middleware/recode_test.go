package middleware_test

import (
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/middleware"
)

func TestRecode(t *testing.T) {
	long := strings.Repeat("a", 999)
	for _, c := range []struct {
		name     string
		m        middleware.Recode
		from     mail.Sender
		in, want string
		body     mail.Body
		code     int
	}{
		{"clean", middleware.Recode{}, mail.Sender{Body: mail.Body8Bit}, "A: b\r\n\r\nü\r\n", "A: b\r\n\r\nü\r\n", mail.Body8Bit, 250},
		{"7-bit wanted", middleware.Recode{SevenBit: true}, mail.Sender{Body: mail.Body8Bit}, "MIME-Version: 1.0\r\nContent-Type: a/b\r\n\r\nü", "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nw7w=\r\n", mail.Body7Bit, 250},
		{"long line", middleware.Recode{}, mail.Sender{}, "MIME-Version: 1.0\r\nContent-Type: a/b\r\n\r\n" + long, "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("YWFh", 19)+"\r\n", 17) + strings.Repeat("YWFh", 10) + "\r\n", mail.Body7Bit, 250},
		{"binary", middleware.Recode{}, mail.Sender{Body: mail.BodyBinary, Size: 9}, "Content-Type: a/b\r\n\r\n\n", "Content-Type: a/b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nCg==\r\n", mail.Body7Bit, 250},
		{"binary with SMTPUTF8", middleware.Recode{SevenBit: true}, mail.Sender{Body: mail.BodyBinary, UTF8: true}, "Subject: ü\r\nContent-Type: a/b\r\n\r\n\n", "Subject: ü\r\nContent-Type: a/b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nCg==\r\n", mail.Body8Bit, 250},
		{"binary only", middleware.Recode{BinaryOnly: true}, mail.Sender{}, long + "\r\n", long + "\r\n", mail.Body7Bit, 250},
		{"binary text only", middleware.Recode{BinaryOnly: true}, mail.Sender{Body: mail.BodyBinary}, "MIME-Version: 1.0\r\n\r\nü\r\n", "MIME-Version: 1.0\r\n\r\nü\r\n", mail.Body8Bit, 250},
		{"signed", middleware.Recode{}, mail.Sender{Body: mail.BodyBinary}, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nü\r\n--b--\r\n", "", 0, 554},
		{"header", middleware.Recode{}, mail.Sender{Body: mail.BodyBinary}, "A: b\nC: d\r\n\r\n\x00", "", 0, 554},
	} {
		for _, prepares := range []bool{false, true} {
			for _, memory := range []int{0, 10} {
				c.m.SpoolMemoryOctets, c.m.SpoolDir = memory, t.TempDir()
				rec := &mailtest.Recorder{Prepares: prepares, Amends: true}
				d := c.m.Wrap(rec)
				r, err := d.Open(t.Context(), &mail.Session{})
				if err != nil {
					t.Fatal(err)
				}
				tx, err := r.Begin(t.Context(), &mail.Session{}, c.from)
				if err != nil {
					t.Fatal(err)
				}
				if err := tx.Recipient(t.Context(), &mail.Recipient{Address: alice}); err != nil {
					t.Fatal(err)
				}
				for in := c.in; in != ""; in = in[min(len(in), 7):] {
					if _, err := tx.Write([]byte(in[:min(len(in), 7)])); err != nil {
						t.Fatal(err)
					}
				}
				tx.Trace(mail.Field{Name: "Signature", Value: "1"})
				p, can := tx.(mail.Preparer)
				if _, amends := tx.(mail.Amender); !amends || can != prepares {
					t.Errorf("%s: cannot do what the next one can", c.name)
				}
				if can {
					_, err = p.Prepare(t.Context())
				}
				if err == nil {
					_, err = tx.Commit(t.Context())
				}
				if err := tx.Abort(); err != nil {
					t.Error(err)
				}
				code := 250
				if err != nil {
					code = mail.AsReply(err).Code
				}
				if code != c.code {
					t.Errorf("%s: %v, want %d", c.name, err, c.code)
				}
				if got := rec.Messages(); code == 250 && (len(got) != 1 || string(got[0].Content) != "Signature: 1\r\n"+c.want || got[0].From.Body != c.body) {
					t.Errorf("%s: %+v", c.name, got)
				}
			}
		}
	}
}
