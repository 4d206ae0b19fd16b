package imap_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestAnswersBeforeLiteral: what was answered is sent before the server waits for the octets of a literal that comes
// without waiting: the peer may want to see the answers first.
func TestAnswersBeforeLiteral(t *testing.T) {
	nc, err := net.Dial("tcp", newServer(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(nc)
	want := func(prefix string) {
		t.Helper()
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, prefix) {
			t.Fatalf("got %q, %v, want %s", line, err, prefix)
		}
	}
	want("* OK")
	fmt.Fprint(nc, "a LOGIN alice@example.test secret\r\nb NOOP\r\nc (((\r\nd CREATE {3+}\r\n")
	want("a OK")
	want("b OK")
	want("c BAD")
	fmt.Fprint(nc, "box\r\ne NOOP\r\nf APPEND INBOX {6+}\r\na: ")
	want("d OK")
	want("e OK")
	fmt.Fprint(nc, "b\r\n\r\ng NOO")
	want("f OK")
	fmt.Fprint(nc, "P\r\n")
	want("g OK")
}

// TestLiteralKeepsItsEnd: a CR at the end of a literal belongs to it, also where the line goes on with a bare LF.
func TestLiteralKeepsItsEnd(t *testing.T) {
	out := say(t, fuzzStates[2]+"a REPLACE 1 ~{4}\n000\r\nb STATUS INBOX (MESSAGES)\r\nc SETMETADATA INBOX (/private/comment {2+}\nx\r)\nd GETMETADATA INBOX /private/comment\r\n")
	for _, want := range []string{"\r\na NO ", "\r\nb OK ", "\r\nc OK ", "{2}\r\nx\r)\r\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in %q", want, out)
		}
	}
}
