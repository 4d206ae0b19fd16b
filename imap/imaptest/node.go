package imaptest

import (
	"fmt"
	"strings"
)

// kind of a node.
type kind uint8

const (
	word    kind = iota // an atom or quoted string
	literal             // a literal
	list                // in parentheses
	code                // in brackets: a response code
)

// node is one argument: of a command, of an expected reply, or of one that came.
type node struct {
	kind   kind
	text   string
	binary bool // literal8
	quoted bool
	items  []node
}

// parseNodes reads arguments. Each literalMark in text takes the next literal.
func parseNodes(text string, lits [][]byte) ([]node, error) {
	p := &nodeParser{s: text, lits: lits}
	nodes, err := p.list(0)
	if err != nil {
		return nil, err
	}
	return nodes, nil
}

type nodeParser struct {
	s     string
	i     int
	lits  [][]byte
	depth int
}

// list reads nodes up to the closing octet; 0: to the end.
func (p *nodeParser) list(closing byte) ([]node, error) {
	if p.depth++; p.depth > 100 {
		return nil, fmt.Errorf("more than 100 levels of parentheses")
	}
	defer func() { p.depth-- }()
	var out []node
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == ' ' || c == '\t' || c == '\r':
			p.i++
		case closing != 0 && c == closing:
			p.i++
			return out, nil
		case c == '(' || c == '[':
			p.i++
			n := node{kind: list}
			end := byte(')')
			if c == '[' {
				n.kind, end = code, ']'
			}
			var err error
			if n.items, err = p.list(end); err != nil {
				return nil, err
			}
			out = append(out, n)
		case c == '"':
			n, err := p.quoted()
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		case c == literalMark:
			p.i++
			if len(p.lits) == 0 {
				return nil, fmt.Errorf("literal is missing")
			}
			out = append(out, node{kind: literal, binary: p.lits[0][0] == '~', text: string(p.lits[0][1:])})
			p.lits = p.lits[1:]
		default:
			out = append(out, p.atom(closing))
		}
	}
	if closing != 0 {
		return nil, fmt.Errorf("%q is missing at the end", closing)
	}
	return out, nil
}

func (p *nodeParser) quoted() (node, error) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return node{text: b.String(), quoted: true}, nil
		case '\\':
			if p.i++; p.i == len(p.s) {
				return node{}, fmt.Errorf("quoted string has no end")
			}
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return node{}, fmt.Errorf("quoted string has no end")
}

// atom reads an atom; brackets within it, as in BODY[HEADER.FIELDS (From)], belong to it with all between them.
func (p *nodeParser) atom(closing byte) node {
	start, depth := p.i, 0
	for p.i < len(p.s) {
		c := p.s[p.i]
		if depth == 0 && (c == ' ' || c == ')' || c == literalMark || c == '\r' || c == '(' || c == ']' && closing == ']') {
			break
		}
		if c == '[' && strings.IndexByte(p.s[p.i:], ']') > 0 {
			depth++
		}
		if c == ']' && depth > 0 {
			depth--
		}
		p.i++
	}
	if p.i == start { // a parenthesis that nothing opened
		p.i++
	}
	return node{text: p.s[start:p.i]}
}

func (n *node) String() string {
	switch n.kind {
	case list, code:
		var parts []string
		for i := range n.items {
			parts = append(parts, n.items[i].String())
		}
		if n.kind == code {
			return "[" + strings.Join(parts, " ") + "]"
		}
		return "(" + strings.Join(parts, " ") + ")"
	case literal:
		return fmt.Sprintf("{%d}%q", len(n.text), n.text)
	}
	if n.quoted {
		return fmt.Sprintf("%q", n.text)
	}
	return n.text
}
