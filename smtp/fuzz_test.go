package smtp

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"", "EHLO a", "MAIL FROM:<a@b>", "rcpt to:<x@y> notify=never", "BDAT 1 LAST", " x", "QUIT\t", "XAMEND 0 XFOLDER=a XDROP", "XPREPARE", "MAIL FROM:<@a,@b:c@d> SIZE=1 BY=1;R HOLDFOR=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") {
			return
		}
		for _, lmtp := range []bool{false, true} {
			st := state{lmtp: lmtp, offerChunks: true, offerTLS: true, offerTrust: true, maxRcpts: 10}
			st.rules = rules{ext: ^Extension(0), trusted: true, auth: true, maxMessage: 1 << 20, maxHold: time.Hour, traceOctets: 100, now: time.Unix(0, 0)}
			c := parseCommand(line)
			for range 3 {
				var a action
				st.step(c, &a)
				if a.kind == doReply && (a.reply == nil || a.reply.Code < 200 || a.reply.Code > 599) {
					t.Fatalf("%q: no reply: %+v", line, a)
				}
				switch a.kind {
				case doHello:
					st.greeted(true)
				case doMail:
					st.began(&a.from, &a.extra)
				case doRcpt:
					st.added()
				case doDiscard, doChunk, doTrace:
					if a.size < 0 {
						t.Fatalf("%q: size %d", line, a.size)
					}
				}
				st.hello, st.extended = true, true
			}
		}
	})
}

// FuzzParams: what was understood is written by our client so that it is understood as the same.
func FuzzParams(f *testing.F) {
	f.Add("FROM:<a@b.test> SIZE=3 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2Bb AUTH=<> MT-PRIORITY=-9", "TO:<c@d.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+3Dy@z XFOLDER=a+20b XDELIVERY=1 RRVS=2020-01-01T00:00:00Z;C")
	f.Add("FROM:<> SOLICIT=a:b REQUIRETLS HOLDUNTIL=1970-01-01T00:00:01Z", "TO:<\"a b\"@[127.0.0.1]> XFAILED=550+205.1.1+20no")
	f.Fuzz(func(t *testing.T, m, r string) {
		ru := rules{ext: ^Extension(0), trusted: true, auth: true, tls: true, authed: true, utf8: true, maxMessage: 1 << 60, maxHold: time.Hour, now: time.Unix(0, 0)}
		from, _, refusal := parseMail(m, &ru)
		var rcpt mail.Recipient
		if refusal != nil || parseRcpt(r, &ru, &rcpt) != nil || !from.DeliverBy.Deadline.IsZero() || len(rcpt.Original) > 300 {
			return
		}
		c := &Client{d: Dialer{Trusted: true}, ext: Extensions{}}
		for _, k := range strings.Fields("SIZE 8BITMIME BINARYMIME CHUNKING SMTPUTF8 DSN AUTH MT-PRIORITY RRVS NO-SOLICITING XFOLDER XDELIVERY XFAILED") {
			c.ext[k] = ""
		}
		from.RequireTLS, from.HoldUntil = false, time.Time{}
		line, refusal := c.mailLine(&from, nil, from.Size, false, 0)
		if refusal != nil {
			t.Fatalf("%q cannot be passed on: %v", m, refusal)
		}
		again, _, refusal := parseMail(strings.TrimPrefix(line, "MAIL "), &ru)
		if refusal != nil || again.Address != from.Address || again.Size != from.Size || again.EnvelopeID != from.EnvelopeID || again.Body != from.Body ||
			again.Auth != from.Auth || again.Ret != from.Ret || again.Priority != from.Priority || again.UTF8 != (from.UTF8 || from.Address.UTF8()) {
			t.Fatalf("%q became %q: %v", m, line, refusal)
		}
		line, refusal = c.rcptLine(&rcpt)
		if refusal != nil {
			t.Fatalf("%q cannot be passed on: %v", r, refusal)
		}
		var twice mail.Recipient
		if refusal := parseRcpt(strings.TrimPrefix(line, "RCPT "), &ru, &twice); refusal != nil || twice.Address != rcpt.Address || twice.Notify != rcpt.Notify ||
			twice.Original != rcpt.Original || twice.Folder != rcpt.Folder || twice.DeliveryID != rcpt.DeliveryID || !twice.RRVS.Equal(rcpt.RRVS) {
			t.Fatalf("%q became %q: %v", r, line, refusal)
		}
	})
}

func FuzzFacts(f *testing.F) {
	f.Add("id:1;addr:192.0.2.1%3A25;tls:304,1301,x;f.a:b;start:2020-01-01T00+3A00+3A00Z")
	f.Fuzz(func(t *testing.T, v string) {
		var s, again mail.Session
		if applyFacts(&s, v) != nil {
			return
		}
		enc := encodeFacts(&s)
		if enc == "" {
			return
		}
		if err := applyFacts(&again, enc); err != nil {
			t.Fatalf("%q became %q: %v", v, enc, err)
		}
		if again.ID != s.ID || again.Hello != s.Hello || again.Login != s.Login {
			t.Fatalf("%q became %q", v, enc)
		}
	})
}

// memConn reads from a string and forgets what is written.
type memConn struct {
	r    io.Reader
	done bool
}

func (m *memConn) Read(p []byte) (int, error)       { return m.r.Read(p) }
func (m *memConn) Write(p []byte) (int, error)      { return len(p), nil }
func (m *memConn) Close() error                     { m.done = true; return nil }
func (m *memConn) LocalAddr() net.Addr              { return stdioAddr{} }
func (m *memConn) RemoteAddr() net.Addr             { return stdioAddr{} }
func (m *memConn) SetDeadline(time.Time) error      { return nil }
func (m *memConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }

func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "250\r\n", "550 5.1.1 no\r\n", "550-5.1.1 a\n550 5.1.1 b\n", "99 x\r\n", "250-a\r\n251 b\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w wire
		w.init(&memConn{r: bytes.NewReader(b)})
		r, err := w.readReply(10, 200)
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || strings.ContainsRune(r.Text, '\r') && !bytes.ContainsRune(b, '\r') {
			t.Fatalf("%q gave %+v", b, r)
		}
		out := appendReply(nil, r, true, true)
		var v wire
		v.init(&memConn{r: bytes.NewReader(out)})
		again, err := v.readReply(1000, maxReplyText+30)
		if err != nil || again.Code != r.Code {
			t.Fatalf("%q, written %q, gave %+v, %v", b, out, again, err)
		}
	})
}

// slowDot is the decoder as one would write it down from RFC 5321 section 4.5.2.
func slowDot(b []byte) (content []byte, rest []byte, done bool, bad bool) {
	for {
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 || i+1 == len(b) && b[i] == '\r' {
			return content, b, false, false
		}
		if b[i] != '\r' || b[i+1] != '\n' {
			return content, nil, false, true
		}
		line := b[:i]
		b = b[i+2:]
		if string(line) == "." {
			return content, b, true, false
		}
		if bytes.IndexByte(line, 0) >= 0 && string(bytes.ReplaceAll(line, []byte{0}, nil)) == "." {
			return content, nil, false, true
		}
		content = append(append(content, bytes.TrimPrefix(line, dot)...), '\r', '\n')
	}
}

func FuzzDot(f *testing.F) {
	for _, s := range []string{".\r\n", "x\r\n.\r\ny", "..\r\n.\r\n", "\n.\n", "\r.\r", "\r\n.\n", "\n.\r\n", "\r.\n", "\x00.\r\n", ".\x00\r\n", "a\r\n.\r\x00\n"} {
		for n := range byte(3) {
			f.Add([]byte(s), n)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, piece byte) {
		want, rest, wantDone, bad := slowDot(b)
		var d dotDecoder
		var got []byte
		p, done := b, false
		var err error
		for len(p) > 0 && !done && err == nil {
			q := p[:min(len(p), int(piece)+1)]
			var used int
			var out []byte
			used, out, done, err = d.next(q)
			if used == 0 && !done && err == nil {
				t.Fatalf("%q: stands still at %q", b, p)
			}
			got = append(got, out...)
			p = p[used:]
		}
		switch {
		case (err != nil) != bad && !wantDone && !(err != nil && len(rest) > 0):
			t.Fatalf("%q: error %v, want %v", b, err, bad)
		case done != wantDone:
			t.Fatalf("%q: done %v, want %v", b, done, wantDone)
		case done && (!bytes.Equal(got, want) || !bytes.Equal(p, rest)):
			t.Fatalf("%q: got %q and %q, want %q and %q", b, got, p, want, rest)
		case err == nil && !bytes.HasPrefix(got, want):
			t.Fatalf("%q: got %q, want %q first", b, got, want)
		}
		if !done {
			return
		}
		var enc bytes.Buffer
		e := &dotEncoder{w: &enc}
		if _, err := e.Write(got); err != nil {
			// A dot in front may have hidden a line that would be an end of data where NULs are dropped.
			if !bytes.Contains(bytes.ReplaceAll(append([]byte{'\n'}, got...), []byte{0}, nil), []byte("\n.\r\n")) || !bytes.Contains(got, []byte{0}) {
				t.Fatal(err)
			}
			return
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if back, rest, done, _ := slowDot(enc.Bytes()); !done || len(rest) > 0 || !bytes.Equal(back, got) {
			t.Fatalf("%q, encoded %q, gave %q", got, enc.Bytes(), back)
		}
	})
}

// tally is a Door that checks the contract: every transaction ends once, nothing comes after its end, and what it was
// given is what one message holds.
type tally struct {
	t    *testing.T
	open int
	got  []string
}

func (d *tally) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }
func (d *tally) Begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	if d.open++; d.open != 1 {
		d.t.Fatal("two transactions at the same time")
	}
	return &tallyTx{d: d, binary: from.Body == mail.BodyBinary}, nil
}

type tallyTx struct {
	d      *tally
	buf    []byte
	rcpts  int
	ended  bool
	binary bool
	ready  bool // prepared
}

func (x *tallyTx) Amend(i int, _ string, _ bool) error {
	if x.ended || x.ready || i < 0 || i >= x.rcpts {
		x.d.t.Fatalf("amendment of recipient %d of %d, or after the end", i, x.rcpts)
	}
	return nil
}

func (x *tallyTx) Prepare(context.Context) ([]mail.Reply, error) {
	if x.ended || x.ready || x.rcpts == 0 {
		x.d.t.Fatal("prepared twice, after the end or for nobody")
	}
	x.ready = true
	return make([]mail.Reply, x.rcpts), nil
}

func (x *tallyTx) Recipient(_ context.Context, r *mail.Recipient) error {
	if x.ended || r.Address.IsNull() {
		x.d.t.Fatal("recipient after the end, or without an address")
	}
	x.rcpts++
	return nil
}
func (x *tallyTx) Trace(...mail.Field) {}
func (x *tallyTx) Write(p []byte) (int, error) {
	if x.ended || x.ready || x.rcpts == 0 {
		x.d.t.Fatal("content after the end, or for nobody")
	}
	x.buf = append(x.buf, p...)
	return len(p), nil
}
func (x *tallyTx) Commit(context.Context) ([]mail.Reply, error) {
	if x.ended || x.rcpts == 0 {
		x.d.t.Fatal("commit after the end, or for nobody")
	}
	x.end()
	var l lineChecker
	if !x.binary && (l.check(x.buf) != nil || l.end() != nil) {
		x.d.t.Fatalf("bare CR or LF was taken: %q", x.buf)
	}
	x.d.got = append(x.d.got, string(x.buf))
	return make([]mail.Reply, x.rcpts), nil
}
func (x *tallyTx) Abort() error { x.end(); return nil }
func (x *tallyTx) end() {
	if !x.ended {
		x.ended = true
		x.d.open--
	}
}

// FuzzSession: any octets at all. Nothing may panic or hang, and the messages are the same in whatever pieces the
// octets arrive.
func FuzzSession(f *testing.F) {
	head := "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n"
	for _, s := range []string{
		"EHLO a\r\nQUIT\r\n", head + "DATA\r\nx\r\n.\r\nMAIL FROM:<>\r\n", head + "BDAT 3\r\nx\r\nBDAT 0 LAST\r\n", head + "DATA\r\n\n.\nQUIT\r\n",
		"LHLO a\r\n" + head, head + "XTRACE 6\r\nA: b\r\nDATA\r\n.\r\n", "XCLIENT ADDR=1.2.3.4\r\n" + head, head + "BDAT 99999999999 LAST\r\n",
		head + "BDAT 3\r\nx\r\nXAMEND 0 XDROP\r\nXPREPARE\r\nBDAT 0 LAST\r\n", head + "XPREPARE\r\nXAMEND 0\r\nDATA\r\n.\r\n",
		"EHLO a\r\nMAIL FROM:<> XTRACE=6 BODY=BINARYMIME XFACTS=id:1\r\nRCPT TO:<a@b>\r\nBDAT 8 LAST\r\nA: b\r\n\n\n", "AUTH PLAIN =\r\n", "\r\n\r\n\n",
	} {
		f.Add([]byte(s), true, byte(0))
		f.Add([]byte(s), false, byte(200))
	}
	f.Fuzz(func(t *testing.T, b []byte, lmtp bool, piece byte) {
		if lmtp {
			b = bytes.Replace(b, []byte("EHLO"), []byte("LHLO"), 1)
		}
		whole := fuzzSession(t, bytes.NewReader(b), lmtp)
		pieces := fuzzSession(t, &inPieces{b, int(piece) + 1}, lmtp)
		if strings.Join(whole, "\x00|") != strings.Join(pieces, "\x00|") {
			t.Fatalf("%q in whole, %q in pieces", whole, pieces)
		}
	})
}

type inPieces struct {
	b []byte
	n int
}

func (r *inPieces) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(r.n, len(r.b))])
	r.b = r.b[n:]
	return n, nil
}

func fuzzSession(t *testing.T, r io.Reader, lmtp bool) []string {
	d := &tally{t: t}
	srv := &Server{Door: d, LMTP: lmtp, Hostname: "h", Extensions: ^Extension(0), Trusted: func(net.Addr) bool { return true }, MaxMessageOctets: 1 << 16}
	conn := &memConn{r: r}
	var stats Stats
	srv.Ended = func(_ *mail.Session, s Stats) { stats = s }
	srv.ServeConn(context.Background(), conn)
	if !conn.done || d.open != 0 {
		t.Fatal("connection or transaction was left open")
	}
	if stats.Err != nil && strings.HasPrefix(stats.Err.Error(), "panic") {
		t.Fatal(stats.Err)
	}
	return d.got
}

// FuzzChunks: the checker of BDAT's lines finds what a look at the whole finds, in pieces of any size.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"a\r\n", "a\n", "\r", "\r\r\n", "\r\n\r", "\n\r"} {
		f.Add([]byte(s), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece byte) {
		bad := bytes.ContainsAny(bytes.ReplaceAll(b, []byte("\r\n"), nil), "\r\n") || bytes.Contains(b, []byte("\r\r\n")) || bytes.Contains(b, []byte("\r\n\n"))
		var l lineChecker
		var err error
		for p := b; len(p) > 0 && err == nil; {
			n := min(len(p), int(piece)+1)
			err = l.check(p[:n])
			p = p[n:]
		}
		if err == nil {
			err = l.end()
		}
		if (err != nil) != bad {
			t.Fatalf("%q: %v, want %v", b, err, bad)
		}
	})
}
