package power_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// conn speaks a line protocol and fails the test where the other side says something unexpected.
type conn struct {
	*testing.T
	c   net.Conn
	r   *bufio.Reader
	tag int
}

func newConn(t *testing.T, c net.Conn) *conn {
	c.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // a test that hangs is worse
	return &conn{T: t, c: c, r: bufio.NewReader(c)}
}

func (c *conn) line() string {
	c.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.Fatalf("reading: %v", err)
	}
	return strings.TrimRight(s, "\r\n")
}

func (c *conn) send(s string) {
	c.Helper()
	if _, err := c.c.Write([]byte(s)); err != nil {
		c.Fatalf("writing: %v", err)
	}
}

// reply reads an SMTP reply and fails unless it begins with want.
func (c *conn) reply(want string) {
	c.Helper()
	for {
		l := c.line()
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if !strings.HasPrefix(l, want) {
			c.Fatalf("got %q, want %s", l, want)
		}
		return
	}
}

// smtp sends one message and returns at the reply to its end, before anything else happens.
func (c *conn) smtp(hello, from string, to []string, text string, each bool) {
	c.Helper()
	c.reply("220")
	c.send(hello + " client.test\r\n")
	c.reply("250")
	c.transaction(from, to, text, each)
}

func (c *conn) transaction(from string, to []string, text string, each bool) {
	c.Helper()
	c.send("MAIL FROM:<" + from + ">\r\n")
	c.reply("250")
	for _, a := range to {
		c.send("RCPT TO:<" + a + ">\r\n")
		c.reply("25")
	}
	c.send("DATA\r\n")
	c.reply("354")
	c.send(text + ".\r\n")
	n := 1
	if each {
		n = len(to)
	}
	for range n {
		c.reply("250")
	}
}

// submit logs in under TLS and sends one message.
func (c *conn) submit(user, password, to, text string) {
	c.Helper()
	c.authenticate(user, password)
	c.transaction(user, []string{to}, text, false)
}

// authenticate logs in under TLS.
func (c *conn) authenticate(user, password string) {
	c.Helper()
	c.reply("220")
	c.send("EHLO client.test\r\n")
	c.reply("250")
	c.send("STARTTLS\r\n")
	c.reply("220")
	t := tls.Client(c.c, &tls.Config{InsecureSkipVerify: true})
	if err := t.Handshake(); err != nil {
		c.Fatal(err)
	}
	c.c, c.r = t, bufio.NewReader(t)
	c.send("EHLO client.test\r\n")
	c.reply("250")
	c.send("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "\r\n")
	c.reply("235")
}

// login begins an IMAP session.
func (c *conn) login(user, password string) *conn {
	c.Helper()
	if l := c.line(); !strings.HasPrefix(l, "* OK") {
		c.Fatalf("greeting %q", l)
	}
	c.do(fmt.Sprintf("LOGIN %q %q", user, password))
	return c
}

// do sends an IMAP command, which must succeed, and returns the untagged lines. A literal is sent when it is asked for.
func (c *conn) do(command string, literal ...string) []string {
	c.Helper()
	status, lines := c.try(command, literal...)
	if status != "OK" {
		c.Fatalf("%s: %s %q", command, status, lines)
	}
	return lines
}

func (c *conn) try(command string, literal ...string) (status string, untagged []string) {
	c.Helper()
	c.tag++
	tag := fmt.Sprintf("a%d", c.tag)
	c.send(tag + " " + command + "\r\n")
	for {
		l := c.line()
		switch {
		case strings.HasPrefix(l, "+"):
			c.send(literal[0] + "\r\n")
			literal = literal[1:]
		case strings.HasPrefix(l, tag+" "):
			status, _, _ = strings.Cut(l[len(tag)+1:], " ")
			return status, untagged
		default:
			untagged = append(untagged, l)
		}
	}
}
