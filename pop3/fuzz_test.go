package pop3

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// unstuff is what a client does to a multi-line response: the content, false if it does not end.
func unstuff(b []byte) (string, bool) {
	var out strings.Builder
	for {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		if !ok {
			return "", false
		}
		if string(line) == "." {
			return out.String(), len(rest) == 0
		}
		out.Write(bytes.TrimPrefix(line, []byte(".")))
		out.WriteString("\r\n")
		b = rest
	}
}

// canonical ends each line in CRLF.
func canonical(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s = strings.TrimSuffix(s, "\r") + "\r\n"
	}
	return s
}

// TestStuffer: whatever the pieces, the client gets the lines of the content, and no line but the last is a dot alone,
// also for a client who takes a bare LF for the end of a line.
func TestStuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", ".", "\r\n", "\n", "..", "\r\n.\r\n", "\n.\n", "\r", "bc"})).Draw(t, "text"), "")
		lines := rapid.IntRange(-1, 3).Draw(t, "lines")
		s := &stuffer{top: lines >= 0, left: lines}
		var out []byte
		for rest := []byte(text); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			out = s.append(out, rest[:n])
			rest = rest[n:]
		}
		out = s.end(out)
		got, ok := unstuff(out)
		want := canonical(text)
		if lines >= 0 {
			want = topOf(want, lines)
		}
		if !ok || got != want {
			t.Fatalf("%q: got %q %v, want %q", text, got, ok, want)
		}
		if i := bytes.Index(out, []byte("\n.\r\n")); i >= 0 && i+4 != len(out) || bytes.Contains(out, []byte("\n.\n")) {
			t.Fatalf("%q: %q seems to end early", text, out)
		}
	})
}

// topOf is the header and so many lines of the body of a text in canonical form.
func topOf(s string, n int) string {
	out, body := "", false
	for line := range strings.SplitAfterSeq(s, "\r\n") {
		if body {
			if n == 0 {
				break
			}
			n--
		}
		out += line
		body = body || line == "\r\n"
	}
	return out
}

func TestDowngrade(t *testing.T) {
	for in, want := range map[string]string{
		"Subject: plain\r\n":                                "Subject: plain\r\n",
		"Subject: grün\r\n und\r\n blau\r\nX: y\r\n\r\n":    "Subject: =?utf-8?q?gr=C3=BCn_und_blau?=\r\nX: y\r\n\r\n",
		"X-Ü: y\r\nX-A: ü\r\nÜ\r\nA: b\r\n":                 "A: b\r\n",
		"To: ü\r\n":                                         "",
		"From: g: ü@ü.example, a@b.example;\r\n":            "From: =?utf-8?q?=C3=BC@=C3=BC.example?=\r\n <invalid@internationalized-address.invalid>,\r\n <a@b.example>\r\n",
		"Content-Disposition: attachment; filename=\"ü\"\n": "Content-Disposition: attachment;\r\n filename*=utf-8''%C3%BC\r\n",
	} {
		if got := string(downgrade([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzDowngrade(f *testing.F) {
	f.Add([]byte("From: Bü <bü@example.org>, \"A, B\" <ab@example.org>\r\nSubject: Grüße\r\n aus Köln\r\nContent-Type: text/plain; name=\"ü\"\r\n\r\n"))
	f.Add([]byte("To: ü:;\nCc: \"\\ü\"@x\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !international(b) {
			return
		}
		out := downgrade(b)
		if international(out) {
			t.Fatalf("%q: not ASCII: %q", b, out)
		}
		if headerEnd(b, 0) < 0 && headerEnd(out, 0) >= 0 && !bytes.Contains(b, []byte("\n\n")) {
			t.Fatalf("%q: the header ends early: %q", b, out)
		}
	})
}

// FuzzSession: whatever a client says, in each state, every answer is a line that begins with +OK, "+ " or -ERR or a
// part of a multi-line response, the session ends, and nothing is deleted but by QUIT.
func FuzzSession(f *testing.F) {
	f.Add(uint8(0), []byte("CAPA\r\nUSER alice@example.test\r\nPASS secret\r\nLIST\r\nQUIT\r\n"))
	f.Add(uint8(1), []byte("STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nDELE 1\r\nRSET\r\nDELE 3\r\nQUIT\r\n"))
	f.Add(uint8(1), []byte("RETR 4\r\nTOP 4 0\r\nLANG\r\nLANG *\r\nDELE 99\r\nFROB\r\n\r\nDELE 1\nDELE 2"))
	f.Add(uint8(2), []byte("AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=\r\nQUIT\r\n"))
	f.Add(uint8(2), []byte("*\r\nAUTH LOGIN =\r\n\r\nAUTH SCRAM-SHA-1\r\nbixh\r\nUTF8\r\nSTLS\r\n"))
	prefix := []string{"", "USER " + who + "\r\nPASS secret\r\n", "AUTH PLAIN\r\n"}
	f.Fuzz(func(t *testing.T, state uint8, in []byte) {
		mem := newMemory(who, append(example, "Subject: ü\r\n\r\nx")...)
		srv := &Server{Backend: mem, Auth: serveAuth(), Limits: Limits{FailureDelay: -1, Commands: 200, Errors: 5}}
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			srv.ServeConn(context.Background(), loopback{b})
		}()
		var out bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = out.ReadFrom(a)
		}()
		_, _ = a.Write(append([]byte(prefix[int(state)%len(prefix)]), in...))
		_, _ = a.Write([]byte("\r\n"))
		_ = a.SetReadDeadline(past) // what is still to come does not matter
		<-read
		_ = a.Close()
		<-done
		if out.Len() > 0 && !strings.HasPrefix(out.String(), "+OK") {
			t.Fatalf("%q", out.String())
		}
		upperIn := strings.ToUpper(string(in))
		if len(mem.drops[who]) != 4 && (!strings.Contains(upperIn, "QUIT") || !strings.Contains(upperIn, "DELE")) {
			t.Fatalf("%q: something was deleted", in)
		}
		if mem.locked[who] {
			t.Fatal("the lock stays")
		}
	})
}

// FuzzStep: the state stays consistent whatever is said.
func FuzzStep(f *testing.F) {
	f.Add("DELE 1\nDELE 2\nRSET\nTOP 3 4\nQUIT\nUSER x\nPASS y\nUTF8\nSTLS\nLANG en\nDELE 1\nDELE 1")
	f.Fuzz(func(t *testing.T, lines string) {
		for _, opened := range []bool{false, true} {
			st := state{offerUser: true, offerTLS: true}
			if opened {
				st.opened(70)
			}
			for line := range strings.SplitSeq(lines, "\n") {
				a := st.step(line)
				if (a.kind == doReply || a.kind == doUnknown) && !strings.HasPrefix(a.reply, "+OK") && !strings.HasPrefix(a.reply, "-ERR") {
					t.Fatalf("%q: reply %q", line, a.reply)
				}
				if st.marks != len(st.markedList()) || a.num < 0 || st.n > 0 && a.num >= st.n {
					t.Fatalf("%q: %d marks, %d listed, message %d", line, st.marks, len(st.markedList()), a.num)
				}
				if strings.ContainsAny(a.reply, "\r\n") {
					t.Fatalf("%q: reply of several lines", line)
				}
			}
		}
	})
}
