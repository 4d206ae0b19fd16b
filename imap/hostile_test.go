package imap_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// hostileMail is what nobody sends who means well.
func hostileMail() map[string]string {
	much := 1
	if raceEnabled { // the detector makes it ten times slower
		much = 10
	}
	nested := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String()
	}
	return map[string]string{
		"a million parts":     "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\n\r\n", 1_000_000/much) + "--x--\r\n",
		"deep multiparts":     nested(20_000),
		"messages in it":      strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 50_000) + "end\r\n",
		"endless header":      "Subject: " + strings.Repeat("x", 4<<20/much) + "\r\n\r\ntext\r\n",
		"a million fields":    strings.Repeat("X: y\r\n", 1_000_000/much) + "\r\ntext\r\n",
		"header without end":  "Subject: x\r\n" + strings.Repeat(" folded\r\n", 300_000/much),
		"a million addresses": "From: " + strings.Repeat("a@b.test,\r\n ", 300_000/much) + "c@d.test\r\n\r\n",
		"parameters":          "Content-Type: text/plain" + strings.Repeat("; a*0=b", 200_000) + "\r\n\r\ntext\r\n",
		"bad charset":         "Subject: =?x-none?b?/////w==?= =?utf-8?q?=ff=fe?=\r\nContent-Type: text/plain; charset=\"x\\\"y\"\r\n\r\n\xff\xfe\r\n",
		"8-bit header":        "From: \xe4\xf6 <\xff@\xfe>\r\nSubject: \xff\x80\r\n\xc0: \xc1\r\n\r\ntext\r\n",
		"NUL everywhere":      "Sub\x00ject: a\x00b\r\n\x00\r\nFrom: \x00\r\n\r\n\x00\x00\r\n",
		"nothing":             "\r\n",
		"bare line feeds":     strings.Repeat("a\n\r\r\n", 100_000),
		"references":          "References: " + strings.Repeat("<a@b>", 400_000/much) + "\r\n\r\n",
		"a long boundary":     "Content-Type: multipart/mixed; boundary=" + strings.Repeat("y", 1<<20) + "\r\n\r\n--" + strings.Repeat("y", 1<<20) + "\r\n",
	}
}

// TestHostileMail: whatever is in a message, each command on it is answered, the octets come back as they are but for NUL,
// and what is made of it stays in proportion to its size.
func TestHostileMail(t *testing.T) {
	commands := []string{
		"FETCH 1 (ENVELOPE BODY BODYSTRUCTURE PREVIEW RFC822.SIZE)", "FETCH 1 BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]",
		"FETCH 1 (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[1.1.1.1.1.HEADER] BODY.PEEK[TEXT]<3.100>)",
		"FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])", "SEARCH TEXT needle", "SEARCH SUBJECT needle FROM x SENTSINCE 1-Jan-2020",
		"SORT (SUBJECT FROM DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL",
	}
	for name, mail := range hostileMail() {
		t.Run(name, func(t *testing.T) {
			var in bytes.Buffer
			fmt.Fprintf(&in, "l LOGIN alice secret\r\nm APPEND INBOX {%d+}\r\n%s\r\ns SELECT INBOX\r\n", len(mail), mail)
			for i, c := range commands {
				fmt.Fprintf(&in, "c%d %s\r\n", i, c)
			}
			in.WriteString("f FETCH 1 BODY.PEEK[]\r\nz LOGOUT\r\n")
			srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true}
			conn := &scriptConn{in: bytes.NewReader(in.Bytes())}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			srv.ServeConn(context.Background(), conn)
			runtime.ReadMemStats(&after)
			out := conn.out.Bytes()
			for i := range commands {
				if !bytes.Contains(out, fmt.Appendf(nil, "\r\nc%d OK", i)) && !bytes.Contains(out, fmt.Appendf(nil, "\r\nc%d NO [UNKNOWN-CTE]", i)) {
					t.Errorf("%s is not answered", commands[i])
				}
			}
			whole := strings.ReplaceAll(mail, "\x00", "\x80")
			if !bytes.Contains(out, fmt.Appendf(nil, "BODY[] {%d}\r\n%s)\r\nf OK", len(mail), whole)) || !bytes.Contains(out, []byte("\r\nz OK")) {
				t.Error("the message does not come back as it was")
			}
			// all that was ever allocated, garbage included: some dozen copies (the answers themselves among them), and what is fixed
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(200*len(mail)+64<<20); got > most {
				t.Errorf("%d octets were allocated for a message of %d", got, len(mail))
			}
		})
	}
}
