package test

import (
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRecipientValidSince: mail for who had the address before (RFC 7293) is not given to who has it now.
func TestRecipientValidSince(t *testing.T) {
	before := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	h := newHouse(t, "a.test", "bob")
	h.run("", "alias", "add", "sales@a.test", "bob@a.test")
	h.start()
	raw, err := net.Dial("tcp", h.addr(25))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := textproto.NewConn(raw)
	say := func(code int, line string, args ...any) {
		t.Helper()
		if line != "" {
			if err := c.PrintfLine(line, args...); err != nil {
				t.Fatal(err)
			}
		}
		if got, text, err := c.ReadResponse(0); got != code {
			t.Errorf("%s: %d %s %v, want %d", fmt.Sprintf(line, args...), got, text, err, code)
		}
	}
	say(220, "")
	if err := c.PrintfLine("EHLO x.example"); err != nil {
		t.Fatal(err)
	}
	_, offered, err := c.ReadResponse(250)
	if err != nil || !slices.Contains(strings.Split(offered, "\n"), "RRVS") {
		t.Errorf("%q, %v", offered, err)
	}
	after := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	say(250, "MAIL FROM:<x@x.example>")
	for _, to := range []string{"bob@a.test", "bob+detail@a.test", "sales@a.test"} {
		say(550, "RCPT TO:<%s> RRVS=%s", to, before)
		say(250, "RCPT TO:<%s> RRVS=%s", to, after)
	}
	say(250, "RCPT TO:<postmaster@a.test> RRVS=%s", before) // a role is whoever has it
	say(250, "RCPT TO:<bob@a.test>")
	h.drain()
}
