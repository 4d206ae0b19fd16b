package imap

import (
	"fmt"
	"sort"
	"strings"
)

// node is a mailbox in the tree of names.
type node struct {
	Folder
	children        bool // a mailbox that exists is below
	subscribedBelow bool
	below           bool   // RECURSIVEMATCH: a mailbox below is selected and not shown itself
	noAccess        bool   // \NoAccess (RFC 5465 section 3.1)
	oldName         string // it was renamed (RFC 5465 section 5.4)
}

// tree is all names that LIST can show, in name order: mailboxes, subscriptions, and the levels above them.
type tree struct {
	nodes []node
	index map[string]int
}

// newTree completes the list of the backend with the levels that it left out.
func newTree(folders []Folder) *tree {
	t := &tree{index: make(map[string]int, len(folders))}
	for _, f := range folders {
		t.index[f.Name] = len(t.nodes)
		t.nodes = append(t.nodes, node{Folder: f})
	}
	for i := 0; i < len(folders); i++ {
		f := folders[i]
		for up := parent(f.Name); up != ""; up = parent(up) {
			at, ok := t.index[up]
			if !ok {
				at = len(t.nodes)
				t.index[up] = at
				t.nodes = append(t.nodes, node{Folder: Folder{Name: up, NonExistent: true}})
			}
			n := &t.nodes[at]
			if n.children = n.children || !f.NonExistent; f.Subscribed {
				n.subscribedBelow = true
			}
		}
	}
	if len(t.nodes) > len(folders) {
		sort.Slice(t.nodes, func(i, j int) bool { return t.nodes[i].Name < t.nodes[j].Name })
		for i := range t.nodes {
			t.index[t.nodes[i].Name] = i
		}
	}
	return t
}

// parent is the level above a name, "" if there is none.
func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// markBelow finds the mailboxes that RECURSIVEMATCH adds: those that match, with a selected one below that does not
// (RFC 5258 section 3.5: redundant CHILDINFO is left out).
func (t *tree) markBelow(o *listOptions, matched []bool) {
	for i := range t.nodes {
		n := &t.nodes[i]
		if matched[i] || !o.chooses(n) || o.subscribe && !n.Subscribed {
			continue
		}
		for up := parent(n.Name); up != ""; up = parent(up) {
			if at := t.index[up]; matched[at] {
				t.nodes[at].below = true
			}
		}
	}
}

// matchPattern matches a name against a pattern in which "*" stands for anything and "%" for anything without a
// separator (RFC 9051 section 6.3.9). It takes time proportional to the product of the lengths at most.
func matchPattern(pattern, name string) bool {
	if name == "INBOX" { // whose case does not count (RFC 9051 section 5.1)
		pattern = upper([]byte(pattern))
	}
	// at[i]: the pattern up to here can match name[:i]
	at := make([]bool, len(name)+1)
	at[0] = true
	for k := 0; k < len(pattern); k++ {
		switch c := pattern[k]; c {
		case '*', '%':
			if k > 0 && (pattern[k-1] == '*' || pattern[k-1] == '%' && c == '%') {
				continue // it adds nothing
			}
			on := false
			for i := 0; i <= len(name); i++ {
				if i > 0 && c == '%' && name[i-1] == '/' {
					on = false
				}
				on = on || at[i]
				at[i] = on
			}
		default:
			for i := len(name); i > 0; i-- {
				at[i] = at[i-1] && name[i-1] == c
			}
			at[0] = false
		}
	}
	return at[len(name)]
}

// listArgs reads the arguments of LIST and LSUB.
func (c *conn) listArgs(p *parser) (*listOptions, error) {
	o := &listOptions{}
	if p.peek() == '(' {
		o.extended = true
		if err := o.selection(p); err != nil {
			return nil, err
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
	ref, err := p.astring()
	if err == nil {
		err = p.sp()
	}
	if err != nil {
		return nil, err
	}
	o.ref = p.pattern(ref)
	if err := o.readPatterns(p); err != nil {
		return nil, err
	}
	if p.accept(' ') {
		o.extended = true
		if !p.acceptWord("RETURN") {
			return nil, bad("unexpected argument at octet %d", p.i+1)
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
		if err := c.returnOptions(p, o); err != nil {
			return nil, err
		}
	}
	return o, p.end()
}

func (o *listOptions) readPatterns(p *parser) error {
	if !p.accept('(') {
		pat, err := p.listMailbox()
		o.patterns = []string{pat}
		return err
	}
	o.extended = true
	octets := 0
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		pat, err := p.listMailbox()
		if err == nil {
			err = p.tooMany(n * 10) // each is matched against every name
		}
		if err != nil {
			return err
		}
		o.patterns = append(o.patterns, pat)
		if octets += len(pat) + len(o.ref); octets > maxPatterns*p.l.NameOctets {
			return &Error{Bad: true, Code: "LIMIT", Text: fmt.Sprintf("patterns of more than %d octets", maxPatterns*p.l.NameOctets)}
		}
	}
	return nil
}

// maxPatterns is how many patterns of the greatest length LIST takes: each octet of them is held against each of every name.
const maxPatterns = 4

// listMailbox reads a pattern: an astring that may hold wildcards.
func (p *parser) listMailbox() (string, error) {
	if c := p.peek(); c == '"' || c == '{' {
		s, err := p.str()
		return p.pattern(s), err
	}
	start := p.i
	for p.i < len(p.b) && (isAtomChar(p.b[p.i]) || p.b[p.i] == ']' || p.b[p.i] == '%' || p.b[p.i] == '*') {
		p.i++
	}
	if start == p.i {
		return "", bad("a pattern is missing at octet %d", p.i+1)
	}
	return p.pattern(p.b[start:p.i]), nil
}

// pattern turns a pattern into UTF-8. Wildcards are not part of shifted sequences, so the whole is decoded at once;
// one that is not modified UTF-7 matches no name.
func (p *parser) pattern(raw []byte) string {
	if len(raw) > p.l.NameOctets {
		return "\x00"
	}
	s, err := p.decodeName(string(raw))
	if err != nil {
		return "\x00"
	}
	if len(s) > 5 && strings.EqualFold(s[:5], "INBOX") && s[5] == '/' {
		s = "INBOX" + s[5:]
	}
	return s
}

// selection reads the selection options (RFC 5258 section 3.1, RFC 6154).
func (o *listOptions) selection(p *parser) error {
	p.i++
	for n := 0; !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		switch w := p.word(); w {
		case "SUBSCRIBED":
			o.subscribe = true
		case "SPECIAL-USE":
			o.special = true
		case "RECURSIVEMATCH":
			o.recursive = true
		case "REMOTE": // there are no remote mailboxes
		default:
			return bad("there is no LIST selection option %s", clip(w))
		}
	}
	if o.recursive && !o.subscribe && !o.special {
		return bad("RECURSIVEMATCH needs another selection option (RFC 5258 section 3.1)")
	}
	return nil
}

// returnOptions reads the return options (RFC 5258 section 3.2, RFC 5819, RFC 6154).
func (c *conn) returnOptions(p *parser, o *listOptions) (err error) {
	if err := p.expect('('); err != nil {
		return err
	}
	for n := 0; !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
		}
		switch w := p.word(); w {
		case "SUBSCRIBED":
			o.retSub = true
		case "CHILDREN", "SPECIAL-USE": // always told
		case "STATUS":
			if err := p.sp(); err != nil {
				return err
			}
			if o.status, err = c.statusItems(p); err != nil {
				return err
			}
		case "MYRIGHTS":
			if _, ok := c.account.(ACLs); !ok {
				return errNoExtension
			}
			o.rights = true
		case "METADATA":
			if _, ok := c.account.(Metadata); !ok {
				return errNoExtension
			}
			if err := p.sp(); err != nil {
				return err
			}
			o.metaOpts = metadataOptions{maxSize: -1}
			if o.metadata, err = p.entryNames(); err != nil {
				return err
			}
		default:
			return bad("there is no LIST return option %s", clip(w))
		}
	}
	return nil
}
