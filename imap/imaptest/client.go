package imaptest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// maxReplyOctets is the longest reply that is read, with its literals.
const maxReplyOctets = 64 << 20

// client is one connection.
type client struct {
	nc      net.Conn
	r       *bufio.Reader
	timeout time.Duration
	tags    int
	gone    []int // messages, numbered as at the start of the command, that were expunged since, ascending
	caps    []string
}

// reply is one line that came, with its literals.
type reply struct {
	tag  string // "*", "+" or a tag
	args []node
	text string
}

func dial(ctx context.Context, cfg *Config) (*client, error) {
	nc, err := cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &client{nc: nc, r: bufio.NewReader(nc), timeout: cfg.Timeout}
	greeting, err := c.read()
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if greeting.tag != "*" || replyName(greeting.args) != "ok" {
		_ = nc.Close()
		return nil, fmt.Errorf("greeting is %s", greeting.text)
	}
	return c, nil
}

// read reads one reply.
func (c *client) read() (*reply, error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	var text strings.Builder
	var shown strings.Builder
	var lits [][]byte
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		n, binary, rest, ok := literalAt(line)
		if text.Len()+len(line) > maxReplyOctets || n > maxReplyOctets {
			return nil, fmt.Errorf("reply is longer than %d octets", maxReplyOctets)
		}
		shown.WriteString(line)
		if !ok {
			text.WriteString(strings.ReplaceAll(line, string(literalMark), "?"))
			break
		}
		lit := make([]byte, n+1)
		lit[0] = ' '
		if binary {
			lit[0] = '~'
		}
		if _, err := io.ReadFull(c.r, lit[1:]); err != nil {
			return nil, err
		}
		lits = append(lits, lit)
		fmt.Fprintf(&shown, "%q", lit[1:])
		text.WriteString(strings.ReplaceAll(rest, string(literalMark), "?"))
		text.WriteByte(literalMark)
	}
	tag, rest, _ := strings.Cut(text.String(), " ")
	args, err := parseReply(rest, lits)
	if err != nil {
		return nil, fmt.Errorf("reply %q: %w", shown.String(), err)
	}
	return &reply{tag: tag, args: args, text: shown.String()}, nil
}

// parseReply reads the arguments of a reply. The text of a status reply is free and need not make sense.
func parseReply(rest string, lits [][]byte) ([]node, error) {
	st, text, _ := strings.Cut(rest, " ")
	switch strings.ToLower(st) {
	case "ok", "no", "bad", "bye", "preauth":
		out := []node{{text: st}}
		if strings.HasPrefix(text, "[") {
			if end := strings.Index(text, "]"); end > 0 {
				if cd, err := parseNodes(text[:end+1], nil); err == nil {
					out = append(out, cd...)
					text = strings.TrimPrefix(text[end+1:], " ")
				}
			}
		}
		for _, w := range strings.Fields(text) {
			out = append(out, node{text: w})
		}
		return out, nil
	}
	return parseNodes(rest, lits)
}

// literalAt finds the announcement of a literal at the end of a line.
func literalAt(line string) (n int, binary bool, rest string, ok bool) {
	i := strings.LastIndexByte(line, '{')
	if i < 0 || !strings.HasSuffix(line, "}") {
		return 0, false, line, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(line[i+1:], "}"))
	if err != nil || n < 0 {
		return 0, false, line, false
	}
	rest = line[:i]
	if strings.HasSuffix(rest, "~") {
		return n, true, rest[:len(rest)-1], true
	}
	return n, false, rest, true
}

func (c *client) nextTag() string {
	c.tags++
	return "t" + strconv.Itoa(c.tags)
}

// send writes a command. Literals are synchronizing: each waits for its "+". Replies that come meanwhile go to
// other; one with the command's tag ends the sending.
func (c *client) send(tag string, words []node, e *env, other func(*reply) error) error {
	var b strings.Builder
	b.WriteString(tag)
	for i := range words {
		b.WriteByte(' ')
		if err := c.write(&b, tag, &words[i], e, other); err != nil {
			return err
		}
	}
	b.WriteString("\r\n")
	return c.push(&b)
}

func (c *client) push(b *strings.Builder) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := io.WriteString(c.nc, b.String())
	b.Reset()
	return err
}

// errEnded: the server answered before the command was sent whole.
var errEnded = fmt.Errorf("command was answered before it was sent")

func (c *client) write(b *strings.Builder, tag string, n *node, e *env, other func(*reply) error) error {
	switch n.kind {
	case list, code:
		open, end := "(", ")"
		if n.kind == code {
			open, end = "[", "]"
		}
		b.WriteString(open)
		for i := range n.items {
			if i > 0 {
				b.WriteByte(' ')
			}
			if err := c.write(b, tag, &n.items[i], e, other); err != nil {
				return err
			}
		}
		b.WriteString(end)
		return nil
	case literal:
		if n.binary {
			b.WriteByte('~')
		}
		fmt.Fprintf(b, "{%d}\r\n", len(n.text))
		if err := c.push(b); err != nil {
			return err
		}
		for {
			r, err := c.read()
			if err != nil {
				return err
			}
			if r.tag == "+" {
				break
			}
			if err := other(r); err != nil {
				return err
			}
			if r.tag == tag {
				return errEnded
			}
		}
		b.WriteString(n.text)
		return nil
	}
	text := e.expand(n.text)
	if n.quoted {
		text = `"` + strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`) + `"`
	}
	b.WriteString(text)
	return nil
}

// expand puts the values of variables into a word of a command.
func (e *env) expand(s string) string {
	var b strings.Builder
	for _, p := range splitVars(s) {
		if !p.isVar {
			b.WriteString(p.text)
			continue
		}
		v, ok := e.value(p.text)
		if !ok {
			b.WriteString("$" + p.text)
			continue
		}
		b.WriteString(v.text)
	}
	return b.String()
}

// seq is the sequence number that message n of the start of the command has now.
func (c *client) seq(n int) (int, bool) {
	now := n
	for _, g := range c.gone {
		if g == n {
			return 0, false
		}
		if g < n {
			now--
		}
	}
	return now, true
}

// expunged takes note of EXPUNGE k.
func (c *client) expunged(k int) {
	n := k
	at := 0
	for at < len(c.gone) && c.gone[at] <= n {
		n++
		at++
	}
	c.gone = append(c.gone, 0)
	copy(c.gone[at+1:], c.gone[at:])
	c.gone[at] = n
}
