package imaptest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dialogue plays recorded dialogues: scripts of what clients send and what the server answers, to the letter. In them
//
//	C: ...   is sent; what the server says up to an answer follows as "S: ..." and, in literals, "S| ..."
//	D: ...   is sent, and no answer is due yet
//	W: n     waits for n replies that come unasked
//	M: mailbox [flags]   appends the lines that follow, up to a ".", as a message
//
// C2, D2, S2 and W2 are a second connection, C3 and so on others. Tags have one letter. Tokens of URLAUTH are recorded as
// TOKEN1, TOKEN2 ... and sent as what they stand for; "X{n}" in what is sent stands for n times the letter, \0 and \377 for
// these octets. The line "nologin" says that the dialogue itself logs in. All other lines are for the reader.
type Dialogue struct {
	Dial  func(ctx context.Context) (net.Conn, error)
	Login func(conn string) (user, password string) // of a connection: "" is the first, then "2" ...
	// Timeout is that of a whole connection; default 20 seconds.
	Timeout time.Duration
}

// Play plays a script and returns it with what the server says now: the script itself where that is the same. With an error it
// returns how far it came.
func (d Dialogue) Play(ctx context.Context, script string) (string, error) {
	p := &player{Dialogue: d, ctx: ctx, login: true, conns: map[string]*speaker{}}
	defer p.close()
	lines := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
	for len(lines) > 0 {
		n, err := p.step(lines)
		if err != nil {
			return p.out.String(), err
		}
		lines = lines[n:]
	}
	return p.out.String(), nil
}

// FirstDifference tells the first line in which two dialogues differ, "" if none does.
func FirstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			return "more than wanted: " + g[i]
		case i >= len(g):
			return fmt.Sprintf("line %d\nwant %s\ngot  the end", i+1, w[i])
		case w[i] != g[i]:
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return ""
}

// speaker is one connection of a dialogue.
type speaker struct {
	nc net.Conn
	*bufio.Reader
}

// player holds the connections of a dialogue.
type player struct {
	Dialogue
	ctx   context.Context
	login bool
	conns map[string]*speaker
	out   bytes.Buffer

	tokens []string // of URLAUTH, as they came up
}

func (p *player) close() {
	for _, c := range p.conns {
		_ = c.nc.Close()
	}
}

var (
	spokenLine = regexp.MustCompile(`^([CDW])(\d?): ?(.*)$`)
	saidLine   = regexp.MustCompile(`^S\d?[:|]`)
	many       = regexp.MustCompile(`X\{\d+\}`)
	waitsFor   = regexp.MustCompile(`\{\d+\+\}$`)
	unstable   = regexp.MustCompile(`SAVEDATE "[^"]*"`)
	tokenOf    = regexp.MustCompile(`[0-9a-f]{64}`) // of URLAUTH
	literalEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)
)

// step plays the first line, and tells how many lines that were.
func (p *player) step(lines []string) (int, error) {
	line := lines[0]
	if saidLine.MatchString(line) { // what was recorded
		return 1, nil
	}
	if args, ok := strings.CutPrefix(line, "M: "); ok {
		end := slices.Index(lines, ".")
		if end < 0 {
			return 0, fmt.Errorf("%s: the message has no end", line)
		}
		p.out.WriteString(strings.Join(lines[:end+1], "\n") + "\n")
		return end + 1, p.append(args, lines[1:end])
	}
	p.out.WriteString(line + "\n")
	p.login = p.login && line != "nologin"
	m := spokenLine.FindStringSubmatch(line)
	if m == nil {
		return 1, nil
	}
	switch conn, text := m[2], m[3]; m[1] {
	case "C":
		return 1, p.send(conn, text)
	case "D":
		return 1, p.put(conn, text)
	default:
		n, err := strconv.Atoi(text)
		for ; n > 0 && err == nil; n-- {
			_, _, err = p.read(conn)
		}
		return 1, err
	}
}

// conn returns a connection, made and logged in where it is not there yet.
func (p *player) conn(name string) (*speaker, error) {
	if c := p.conns[name]; c != nil {
		return c, nil
	}
	nc, err := p.Dial(p.ctx)
	if err != nil {
		return nil, err
	}
	c := &speaker{nc, bufio.NewReader(nc)}
	p.conns[name] = c
	timeout := p.Timeout
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	if err := nc.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := c.ReadString('\n'); err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if !p.login {
		return c, nil
	}
	user, password := p.Login(name)
	return c, c.command(fmt.Sprintf("LOGIN %s %s", user, password))
}

// command sends a command of which only the success is recorded.
func (c *speaker) command(text string) error {
	if _, err := fmt.Fprintf(c.nc, "play %s\r\n", text); err != nil {
		return err
	}
	for {
		switch line, err := c.ReadString('\n'); {
		case err != nil:
			return err
		case strings.HasPrefix(line, "play OK"):
			return nil
		case strings.HasPrefix(line, "play "):
			return fmt.Errorf("%.60s: %s", text, line)
		}
	}
}

func (p *player) append(args string, lines []string) error {
	c, err := p.conn("")
	if err != nil {
		return err
	}
	msg := strings.Join(lines, "\r\n") + "\r\n"
	return c.command(fmt.Sprintf("APPEND %s \"22-Feb-2008 17:06:23 +0000\" {%d+}\r\n%s", args, len(msg), msg))
}

// send sends a line and records what comes up to a tagged answer or a continuation.
func (p *player) send(conn, text string) error {
	if err := p.put(conn, text); err != nil || waitsFor.MatchString(text) {
		return err
	}
	for {
		line, open, err := p.read(conn)
		if err != nil || !open || strings.HasPrefix(line, "+") || strings.HasPrefix(line, "* BAD") || isTagged(line) {
			return err
		}
	}
}

// put sends a line.
func (p *player) put(conn, text string) error {
	c, err := p.conn(conn)
	if err != nil {
		return err
	}
	text = many.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.Atoi(s[2 : len(s)-1])
		return strings.Repeat("X", n)
	})
	for i, token := range p.tokens {
		text = strings.ReplaceAll(text, fmt.Sprintf("TOKEN%d", i+1), token)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, `\0`, "\x00"), `\377`, "\xff")
	_, err = fmt.Fprintf(c.nc, "%s\r\n", text)
	return err
}

// token gives a token the name that stands for it in dialogues.
func (p *player) token(s string) string {
	at := slices.Index(p.tokens, s)
	if at < 0 {
		at, p.tokens = len(p.tokens), append(p.tokens, s)
	}
	return fmt.Sprintf("TOKEN%d", at+1)
}

// isTagged: the dialogues use tags of one letter.
func isTagged(line string) bool {
	return len(line) > 2 && line[1] == ' ' && line[0] >= 'a' && line[0] <= 'z'
}

// read records one reply with its literals, or that the connection is closed.
func (p *player) read(conn string) (first string, open bool, err error) {
	c, err := p.conn(conn)
	if err != nil {
		return "", false, err
	}
	for {
		line, err := c.ReadString('\n')
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return first, false, err
		}
		if err != nil {
			fmt.Fprintf(&p.out, "S%s: (closed)\n", conn)
			return first, false, nil
		}
		if first == "" {
			first = line
		}
		text := unstable.ReplaceAllString(strings.TrimRight(line, "\r\n"), `SAVEDATE "(now)"`)
		fmt.Fprintf(&p.out, "S%s: %s\n", conn, tokenOf.ReplaceAllStringFunc(text, p.token))
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return first, true, nil
		}
		n, _ := strconv.Atoi(m[1])
		lit := make([]byte, n)
		if _, err := io.ReadFull(c, lit); err != nil {
			return first, false, err
		}
		for l := range bytes.Lines(lit) {
			fmt.Fprintf(&p.out, "S%s| %s\n", conn, strings.Trim(strconv.QuoteToASCII(string(bytes.TrimSuffix(l, []byte("\r\n")))), `"`))
		}
	}
}
