package smtp_test

import (
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// TestClientRecodes: what the server does not take is re-encoded if the caller allows it, and refused before anything is
// sent if that cannot be.
func TestClientRecodes(t *testing.T) {
	const all = smtp.ExtPipelining | smtp.ExtSize
	for _, c := range []struct {
		name     string
		ext      smtp.Extension
		body     mail.Body
		in, want string
		code     int
		allowed  bool
	}{
		{"8BITMIME is there", all | smtp.Ext8BitMIME, mail.Body8Bit, "A: b\r\n\r\nü\r\n", "A: b\r\n\r\nü\r\n", 250, true},
		{"8-bit", all, mail.Body8Bit, "MIME-Version: 1.0\r\nContent-Type: a/b\r\n\r\nü\r\n", "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nw7wNCg==\r\n", 250, true},
		{"8-bit, not allowed", all, mail.Body8Bit, "A: b\r\n\r\nü\r\n", "", 554, false},
		{"binary", all | smtp.Ext8BitMIME | smtp.ExtChunking, mail.BodyBinary, "MIME-Version: 1.0\r\nContent-Type: a/b\r\n\r\n\n\xff", "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nCv8=\r\n", 250, true},
		{"binary is taken", all | smtp.Ext8BitMIME | smtp.ExtChunking | smtp.ExtBinaryMIME, mail.BodyBinary, "A: b\r\n\r\n\n\xff", "A: b\r\n\r\n\n\xff", 250, true},
		{"signed", all, mail.Body8Bit, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nü\r\n--b--\r\n", "", 554, true},
		{"header", all, mail.Body8Bit, "A: ü\r\n\r\nü\r\n", "", 554, true},
	} {
		rec := recorder()
		cl, err := (&smtp.Dialer{Hello: "me.test"}).Client(t.Context(), connect(t, &smtp.Server{Door: rec, Extensions: c.ext}), "")
		if err != nil {
			t.Fatal(err)
		}
		env := envelope("c@d.test")
		env.Sender.Body = c.body
		for range 2 { // the connection can be used again
			res, err := cl.Send(t.Context(), &smtp.Message{Envelope: env, Body: strings.NewReader(c.in), Size: int64(len(c.in)), Recode: c.allowed})
			if err != nil || res.Recipients[0].Reply.Code != c.code {
				t.Errorf("%s: %v, %v", c.name, res.Recipients[0].Reply, err)
			}
		}
		if got := rec.Messages(); c.code == 250 && (len(got) != 2 || string(got[1].Content) != c.want) || c.code != 250 && len(got) > 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
		if err := cl.Quit(t.Context()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
