package imap_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
)

var update = flag.Bool("update", false, "write the dialogues of testdata/dialogue anew")

// TestDialogues replays the recorded dialogues of testdata/dialogue. In them a line "C: ..." is sent ("D: ..." too, if no answer is due yet), what the
// server says follows as "S: ..."; "C2:" and "S2:" are a second connection. "W2: n" waits for n lines that come
// unasked. Tokens of URLAUTH are recorded as TOKEN1, TOKEN2 ... and sent as what they stand for; "C3:" is another user.
// "X{n}" in what is sent stands for n times the letter. "M: mailbox [flags]" appends the lines up to a "." as a message. The first line may be "nologin".
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("dialogue differs:\n%s", firstDifference(string(want), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			have := "the end"
			if i < len(g) {
				have = g[i]
			}
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], have)
		}
	}
	return "more than wanted: " + g[len(w)]
}

// player holds the connections of a dialogue.
type player struct {
	t     *testing.T
	addr  string
	login bool
	conns map[string]*bufio.ReadWriter
	out   bytes.Buffer

	tokens []string // of URLAUTH, as they came up
}

func replay(t *testing.T, script string) string {
	p := &player{t: t, login: true, conns: map[string]*bufio.ReadWriter{}}
	lines := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
	p.addr = newServer(t, func(s *imap.Server) {
		s.LiteralMinus = lines[0] == "literal-"
		if strings.HasPrefix(lines[0], "small") {
			s.Limits = imap.Limits{
				MessageOctets: 100, CommandOctets: 400, LoginOctets: 200, SkipOctets: 300, Depth: 3, ListItems: 5, Errors: 50, LoginDelay: -1,
				NameOctets: 50, KeywordOctets: 10, AppendMessages: 2,
			}
		}
		if strings.HasPrefix(lines[0], "few") {
			s.Limits = imap.Limits{CommandMessages: 3, Contexts: 2, NotifyGroups: 2, LoginDelay: -1}
		}
	})
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		kind, text, _ := strings.Cut(line, ": ")
		conn := strings.TrimLeft(kind, "CSWM")
		switch {
		case line == "nologin":
			p.login = false
			p.out.WriteString(line + "\n")
		case strings.HasPrefix(line, "S") && (len(kind) <= 2 || strings.HasPrefix(line, "S| ") || strings.HasPrefix(line, "S2| ") || strings.HasPrefix(line, "S3| ")):
			// what was recorded
		case strings.HasPrefix(line, "C") && len(kind) <= 2:
			p.out.WriteString(line + "\n")
			p.send(conn, text)
		case strings.HasPrefix(line, "D") && len(kind) <= 2:
			p.out.WriteString(line + "\n")
			p.put(strings.TrimLeft(kind, "D"), text)
		case strings.HasPrefix(line, "W") && len(kind) <= 2:
			p.out.WriteString(line + "\n")
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				p.read(conn)
			}
		case kind == "M":
			end := i + 1
			for lines[end] != "." {
				end++
			}
			p.append(text, lines[i+1:end])
			p.out.WriteString(strings.Join(lines[i:end+1], "\n") + "\n")
			i = end
		default:
			p.out.WriteString(line + "\n")
		}
	}
	return p.out.String()
}

func (p *player) conn(name string) *bufio.ReadWriter {
	if c := p.conns[name]; c != nil {
		return c
	}
	nc, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc))
	p.conns[name] = c
	if _, err := c.ReadString('\n'); err != nil {
		p.t.Fatal(err)
	}
	if p.login {
		who := "alice@example.test secret"
		if name == "3" {
			who = "bob@example.test hidden"
		}
		fmt.Fprintf(c, "login LOGIN %s\r\n", who)
		_ = c.Flush()
		if l, err := c.ReadString('\n'); err != nil || !strings.HasPrefix(l, "login OK") {
			p.t.Fatal(l, err)
		}
	}
	return c
}

func (p *player) append(args string, lines []string) {
	c := p.conn("")
	msg := strings.Join(lines, "\r\n") + "\r\n"
	fmt.Fprintf(c, "append APPEND %s \"22-Feb-2008 17:06:23 +0000\" {%d+}\r\n%s\r\n", args, len(msg), msg)
	_ = c.Flush()
	for {
		l, err := c.ReadString('\n')
		if err != nil || strings.HasPrefix(l, "append ") && !strings.HasPrefix(l, "append OK") {
			p.t.Fatal(l, err)
		}
		if strings.HasPrefix(l, "append OK") {
			return
		}
	}
}

var (
	many       = regexp.MustCompile(`X\{\d+\}`)
	waitsFor   = regexp.MustCompile(`\{\d+\+\}$`)
	unstable   = regexp.MustCompile(`SAVEDATE "[^"]*"`)
	unstableOf = `SAVEDATE "(now)"`
)

// send sends a line and records what comes up to a tagged answer or a continuation.
func (p *player) send(conn, text string) {
	p.put(conn, text)
	if waitsFor.MatchString(text) {
		return
	}
	for {
		line, ok := p.read(conn)
		if !ok || strings.HasPrefix(line, "+") || strings.HasPrefix(line, "* BAD") || isTagged(line) {
			return
		}
	}
}

// put sends a line.
func (p *player) put(conn, text string) {
	c := p.conn(conn)
	text = many.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.Atoi(s[2 : len(s)-1])
		return strings.Repeat("X", n)
	})
	for i, token := range p.tokens {
		text = strings.ReplaceAll(text, fmt.Sprintf("TOKEN%d", i+1), token)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, `\0`, "\x00"), `\377`, "\xff")
	fmt.Fprintf(c, "%s\r\n", text)
	if err := c.Flush(); err != nil {
		p.t.Fatalf("%v after\n%s", err, p.out.Bytes()[max(0, p.out.Len()-1000):])
	}
}

// tokenOf is a token of URLAUTH.
var tokenOf = regexp.MustCompile(`[0-9a-f]{64}`)

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

var literalEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// read records one reply with its literals.
func (p *player) read(conn string) (string, bool) {
	c := p.conn(conn)
	first := ""
	for {
		line, err := c.ReadString('\n')
		if err != nil {
			fmt.Fprintf(&p.out, "S%s: (closed)\n", conn)
			return "", false
		}
		if first == "" {
			first = line
		}
		text := unstable.ReplaceAllString(strings.TrimRight(line, "\r\n"), unstableOf)
		text = tokenOf.ReplaceAllStringFunc(text, p.token)
		fmt.Fprintf(&p.out, "S%s: %s\n", conn, text)
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return first, true
		}
		n, _ := strconv.Atoi(m[1])
		lit := make([]byte, n)
		if _, err := readFull(c, lit); err != nil {
			p.t.Fatal(err)
		}
		for l := range bytes.Lines(lit) {
			fmt.Fprintf(&p.out, "S%s| %s\n", conn, strings.Trim(strconv.QuoteToASCII(string(bytes.TrimSuffix(l, []byte("\r\n")))), `"`))
		}
	}
}

func readFull(r *bufio.ReadWriter, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
