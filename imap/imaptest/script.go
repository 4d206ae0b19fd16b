package imaptest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// script is a parsed script.
type script struct {
	caps        []string
	connections int
	messages    int // -1: all
	state       string
	strict      bool // ignore_extra_untagged: no
	groups      []group
	mbox        []mboxMessage
}

// group is commands and what is expected of them.
type group struct {
	line     int
	conn     int
	commands []command
	expect   []expectation
}

type command struct {
	tag    string // of the script, in a pipeline
	words  []node // to be sent
	text   string // for reports
	status string // "ok", "no", "bad", "" for any
	prefix []node // of the tagged answer
}

type expectation struct {
	text    string
	args    []node
	absent  bool // "!"
	maybe   bool // "?"
	line    int
	matched bool
}

// mboxMessage is one message of an mbox file.
type mboxMessage struct {
	date string // as date-time of APPEND; "" if the separator has none
	body []byte
}

// logicalLine is a line of the script with its literals.
type logicalLine struct {
	no   int
	text string
	lits [][]byte // in the places of the NUL octets in text
}

// literalMark stands in a logical line where a literal was: an octet that no script line has.
const literalMark = '\x00'

func readScript(path string) (*script, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &script{connections: 1, messages: -1, state: "selected"}
	lines, err := logicalLines(raw)
	if err != nil {
		return nil, err
	}
	i, err := s.header(lines)
	if err != nil {
		return nil, err
	}
	if err := s.body(lines[i:]); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	mbox, err := os.ReadFile(path + ".mbox")
	if os.IsNotExist(err) {
		mbox, err = os.ReadFile(filepath.Join(filepath.Dir(path), "default.mbox"))
	}
	if err != nil {
		return nil, err
	}
	s.mbox = readMbox(mbox)
	return s, nil
}

// logicalLines joins lines with the literals that follow them, and leaves comments out.
func logicalLines(raw []byte) ([]logicalLine, error) {
	var out []logicalLine
	lines := bytes.Split(raw, []byte("\n"))
	for i := 0; i < len(lines); i++ {
		l := logicalLine{no: i + 1, text: string(lines[i])}
		if strings.HasPrefix(l.text, "#") {
			continue
		}
		for strings.HasSuffix(l.text, "{{{") {
			end := i + 1
			for end < len(lines) && !bytes.HasPrefix(lines[end], []byte("}}}")) {
				end++
			}
			if end == len(lines) {
				return nil, fmt.Errorf("line %d: literal has no end", i+1)
			}
			binary := strings.HasSuffix(l.text, "~{{{")
			sep := "\r\n"
			l.text = strings.TrimSuffix(l.text, "{{{")
			if binary {
				l.text, sep = strings.TrimSuffix(l.text, "~"), "\n"
			}
			lit := bytes.Join(lines[i+1:end], []byte(sep))
			if binary {
				lit = append([]byte("~"), lit...)
			} else {
				lit = append([]byte(" "), lit...)
			}
			l.lits = append(l.lits, lit)
			l.text += string(literalMark) + string(lines[end][3:])
			i = end
		}
		out = append(out, l)
	}
	return out, nil
}

// header reads "key: value" lines up to an empty line.
func (s *script) header(lines []logicalLine) (int, error) {
	for i, l := range lines {
		if strings.TrimSpace(l.text) == "" {
			return i + 1, nil
		}
		key, value, ok := strings.Cut(l.text, ":")
		if !ok {
			return 0, fmt.Errorf("line %d: not a header line: %q", l.no, l.text)
		}
		value = strings.TrimSpace(value)
		var err error
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "capabilities":
			s.caps = strings.Fields(value)
		case "connections":
			s.connections, err = strconv.Atoi(value)
		case "messages":
			if value != "all" {
				s.messages, err = strconv.Atoi(value)
			}
		case "state":
			s.state = value
		case "ignore_extra_untagged":
			s.strict = value == "no"
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", l.no, err)
		}
	}
	return len(lines), nil
}

// status reads the word that begins an expected status; "" for `""`.
func status(text string) (st, rest string, ok bool) {
	word, rest, _ := strings.Cut(text, " ")
	switch w := strings.ToLower(word); w {
	case "ok", "no", "bad":
		return w, rest, true
	case `""`:
		return "", rest, true
	}
	return "", text, false
}

func (s *script) body(lines []logicalLine) error {
	var cur *group
	open := false // cur waits for its status lines
	for _, l := range lines {
		text := strings.TrimLeft(l.text, " \t")
		if text == "" {
			continue
		}
		conn := 1
		if s.connections > 1 {
			no, rest, _ := strings.Cut(text, " ")
			if n, err := strconv.Atoi(no); err == nil && !strings.ContainsAny(no, "*!?") {
				conn, text = n, rest
			}
		}
		if conn < 1 || conn > s.connections {
			return fmt.Errorf("line %d: there is no connection %d", l.no, conn)
		}
		switch text[0] {
		case '*', '!', '?':
			if cur == nil {
				return fmt.Errorf("line %d: reply without a command", l.no)
			}
			args, err := parseNodes(strings.TrimSpace(text[1:]), l.lits)
			if err != nil {
				return fmt.Errorf("line %d: %w", l.no, err)
			}
			cur.expect = append(cur.expect, expectation{text: text, args: args, absent: text[0] == '!', maybe: text[0] == '?', line: l.no})
			continue
		}
		if open && cur.conn == conn {
			done, err := cur.close(text, l)
			if err != nil {
				return err
			}
			if done {
				open = cur.unanswered()
				continue
			}
		}
		if open && cur.pipeline() && cur.conn == conn { // one more command of a pipeline
			tag, rest, _ := strings.Cut(text, " ")
			cmd, err := newCommand(rest, l)
			cmd.tag, cmd.status = tag, "?"
			if err != nil {
				return err
			}
			cur.commands = append(cur.commands, cmd)
			continue
		}
		if open {
			return fmt.Errorf("line %d: command before the status of the one in line %d", l.no, cur.line)
		}
		g, isOpen, err := newGroup(text, l, conn)
		if err != nil {
			return err
		}
		s.groups = append(s.groups, g)
		cur, open = &s.groups[len(s.groups)-1], isOpen
	}
	if open {
		return fmt.Errorf("line %d: no status is expected of the command", cur.line)
	}
	return nil
}

// newGroup begins a group: with the status in front, with a tag in front, or with a command alone.
func newGroup(text string, l logicalLine, conn int) (group, bool, error) {
	g := group{line: l.no, conn: conn}
	if st, rest, ok := status(text); ok {
		cmd, err := newCommand(rest, l)
		cmd.status = st
		g.commands = []command{cmd}
		return g, false, err
	}
	tag := ""
	if word, rest, ok := strings.Cut(text, " "); ok && isTag(word) {
		tag, text = word, rest
	}
	cmd, err := newCommand(text, l)
	cmd.tag, cmd.status = tag, "?"
	g.commands = []command{cmd}
	return g, true, err
}

// isTag tells a tag of a pipeline from a command: it has a digit.
func isTag(w string) bool {
	return strings.ContainsAny(w, "0123456789") && !strings.ContainsAny(w, "${(")
}

func newCommand(text string, l logicalLine) (command, error) {
	words, err := parseNodes(text, l.lits)
	if err != nil {
		return command{}, fmt.Errorf("line %d: %w", l.no, err)
	}
	return command{words: words, text: strings.ReplaceAll(text, string(literalMark), "{{{...}}}")}, nil
}

func (g *group) pipeline() bool { return g.commands[0].tag != "" }

func (g *group) unanswered() bool {
	for _, c := range g.commands {
		if c.status == "?" {
			return true
		}
	}
	return false
}

// close takes a status line of the group, if it is one.
func (g *group) close(text string, l logicalLine) (bool, error) {
	at := 0
	if g.pipeline() {
		tag, rest, _ := strings.Cut(text, " ")
		for at < len(g.commands) && g.commands[at].tag != tag {
			at++
		}
		if _, _, ok := status(rest); at == len(g.commands) || !ok {
			return false, nil
		}
		text = rest
	}
	st, rest, ok := status(text)
	if !ok {
		return false, nil
	}
	args, err := parseNodes(rest, l.lits)
	if err != nil {
		return false, fmt.Errorf("line %d: %w", l.no, err)
	}
	g.commands[at].status, g.commands[at].prefix = st, args
	return true, nil
}

// readMbox splits an mbox file. Lines end in CRLF in the messages.
func readMbox(raw []byte) []mboxMessage {
	var out []mboxMessage
	for line := range bytes.Lines(raw) {
		if bytes.HasPrefix(line, []byte("From ")) {
			out = append(out, mboxMessage{date: mboxDate(string(line))})
			continue
		}
		if len(out) == 0 {
			continue
		}
		m := &out[len(out)-1]
		m.body = append(m.body, bytes.TrimRight(line, "\r\n")...)
		m.body = append(m.body, '\r', '\n')
	}
	return out
}

// mboxDate turns "From user@domain  Fri Feb 22 17:06:23 2008 [+0200]" into a date-time.
func mboxDate(line string) string {
	f := strings.Fields(line)
	if len(f) < 7 {
		return ""
	}
	zone := "+0000"
	if len(f) > 7 {
		zone = f[7]
	}
	return fmt.Sprintf("%2s-%s-%s %s %s", f[4], f[3], f[6], f[5], zone)
}
