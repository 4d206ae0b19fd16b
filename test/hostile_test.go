package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hostileMail is what nobody sends who means well, with lines that end in CRLF.
func hostileMail() map[string]string {
	var nested strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	return map[string]string{
		"a hundred thousand parts":     "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\nneedle\r\n", 100_000) + "--x--\r\n",
		"multiparts in each other":     nested.String(),
		"messages in each other":       strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 50_000) + "end\r\n",
		"an endless line":              "Subject: " + strings.Repeat("x", 2<<20) + "\r\n\r\ntext\r\n",
		"a hundred thousand fields":    strings.Repeat("X: y\r\n", 100_000) + "Subject: last\r\n\r\ntext\r\n",
		"a header without end":         "Subject: x\r\n" + strings.Repeat(" folded\r\n", 100_000),
		"a hundred thousand addresses": "From: " + strings.Repeat("a@b.test,\r\n ", 100_000) + "c@d.test\r\n\r\n",
		"parameters":                   "Content-Type: text/plain" + strings.Repeat(";\r\n a*0=b", 50_000) + "\r\n\r\ntext\r\n",
		"charsets that are none":       "Subject: =?x-none?b?/////w==?= =?utf-8?q?=ff=fe?= =?utf-8?b?=\r\nContent-Type: text/html; charset=\"x\\\"y\"\r\n\r\n<p>\xff\xfe<\r\n",
		"8-bit headers":                "From: \xe4\xf6 <\xff@\xfe>\r\nSubject: \xff\x80\r\n\xc0: \xc1\r\n\r\ntext\r\n",
		"NUL":                          "Subject: a\x00b\r\nFrom: \x00\r\n\r\n\x00\x00\r\n",
		"references":                   "Message-ID: <r@x>\r\nReferences:" + strings.Repeat("\r\n <a@b>", 50_000) + "\r\n\r\n",
		"a long boundary":              "Content-Type: multipart/mixed; boundary=" + strings.Repeat("y", 1<<18) + "\r\n\r\n--" + strings.Repeat("y", 1<<18) + "\r\n",
		"encoded words":                "Subject: " + strings.Repeat("=?utf-8?q?=C3=A4?=\r\n ", 50_000) + "x\r\n\r\n",
	}
}

// hostileMemory is how much memory the server may ever take while it handles all of it, in KiB.
const hostileMemory = 700 << 10

// TestHostileMail: what comes by LMTP is kept octet for octet, whatever it is, and each command that must look into it is
// answered, in memory that is bounded.
func TestHostileMail(t *testing.T) {
	h := newHouse(t, "h.test", "alice")
	h.start()
	mails := hostileMail()
	var names []string
	for name, text := range mails {
		if h.lmtp("alice@h.test", text) {
			names = append(names, name)
		} else {
			t.Errorf("%s was not taken", name)
		}
	}
	c := h.rawIMAP("alice@h.test")
	c.command("SELECT INBOX")
	for i, name := range names {
		got := c.literal(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1))
		// Behind what delivery puts in front. NUL cannot be in a literal; BINARY has it (RFC 3516).
		if !bytes.HasSuffix(got, []byte(strings.ReplaceAll(mails[name], "\x00", "\x80"))) {
			t.Errorf("%s: %d octets came back, which are not the %d that were sent", name, len(got), len(mails[name]))
		}
		if name == "NUL" && string(c.literal(fmt.Sprintf("FETCH %d BINARY.PEEK[1]", i+1))) != "\x00\x00\r\n" {
			t.Error("NUL was not kept")
		}
		for _, items := range []string{"(ENVELOPE)", "(BODYSTRUCTURE)", "(PREVIEW RFC822.SIZE)", "BODY.PEEK[1.1.1.1.MIME]", "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]", "BINARY.SIZE[1]"} {
			c.command(fmt.Sprintf("FETCH %d %s", i+1, items))
		}
	}
	for _, cmd := range []string{"SEARCH TEXT needle", "SEARCH BODY qqq", "SEARCH HEADER SUBJECT last FROM c@d.test", "SORT (SUBJECT FROM DATE) UTF-8 ALL",
		"THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 TEXT end", "SEARCH RETURN (COUNT) SENTSINCE 1-Jan-2020"} {
		c.command(cmd)
	}
	hwm := peakMemory(t, h.cmd.Process.Pid)
	t.Logf("at most %d MiB", hwm>>10)
	if hwm > hostileMemory {
		t.Errorf("the server took %d MiB", hwm>>10)
	}
	h.drain()
	if out, err := h.try("", "verify"); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// lmtp delivers a message of lines by LMTP and reports whether it was taken.
func (h *house) lmtp(to, text string) bool {
	h.t.Helper()
	c := h.talk(24)
	c.hear("220 ")
	c.say("LHLO x.example")
	c.hear("250 ")
	c.say("MAIL FROM:<x@x.example>")
	c.hear("250 ")
	c.say("RCPT TO:<" + to + ">")
	c.hear("250 ")
	c.say(fmt.Sprintf("BDAT %d LAST", len(text)))
	if _, err := io.WriteString(c.c, text); err != nil {
		h.t.Fatal(err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.HasPrefix(line, "250 ")
}

// rawIMAP is a session in which nothing is parsed but literals.
type rawIMAP struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (h *house) rawIMAP(user string) *rawIMAP {
	h.t.Helper()
	nc, err := tls.Dial("tcp", h.addr(993), insecure)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	c := &rawIMAP{h.t, nc, bufio.NewReaderSize(nc, 64<<10)}
	if _, err := c.r.ReadString('\n'); err != nil {
		h.t.Fatal(err)
	}
	c.command("LOGIN " + user + " " + password)
	return c
}

var literalAtEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// command sends a command, which must be answered and not be refused, but that a part cannot be decoded (RFC 3516).
func (c *rawIMAP) command(text string) { c.literal(text) }

// literal is command that returns the last literal of the answer.
func (c *rawIMAP) literal(text string) (lit []byte) {
	c.t.Helper()
	_ = c.c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.c, "x "+text+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	for {
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", text, err)
		}
		if m := literalAtEnd.FindSubmatch(line); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			lit = make([]byte, n)
			if _, err := io.ReadFull(c.r, lit); err != nil {
				c.t.Fatal(err)
			}
			continue
		}
		if bytes.HasPrefix(line, []byte("x ")) {
			if !bytes.HasPrefix(line, []byte("x OK")) && !bytes.HasPrefix(line, []byte("x NO [UNKNOWN-CTE]")) {
				c.t.Errorf("%s: %s", text, line)
			}
			return lit
		}
	}
}

// peakMemory is the most that a process ever had in memory, in KiB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("there is no /proc to ask: %v", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatal("/proc does not tell VmHWM")
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
