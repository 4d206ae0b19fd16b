package imaptest

import (
	"strconv"
	"strings"
)

// env holds the values of the variables of a script.
type env struct {
	vars map[string]node
	seq  func(n int) (int, bool) // what $N is now; false: the message is gone
}

// with returns a copy to try a match in.
func (e *env) clone() *env {
	vars := make(map[string]node, len(e.vars))
	for k, v := range e.vars {
		vars[k] = v
	}
	return &env{vars: vars, seq: e.seq}
}

// rules say how a list matches.
type rules struct {
	chain   int // 0: in order; else any order, in chains of that many
	noExtra bool
	ignore  []string
	ban     []string
}

// defaults are the rules that lists get by where they stand.
func ruleOf(reply, key string, top bool) rules {
	switch {
	case top && (reply == "fetch" || reply == "status"):
		return rules{chain: 2}
	case top && (reply == "list" || reply == "lsub"):
		return rules{chain: 1}
	case !top && reply == "fetch" && key == "flags":
		return rules{chain: 1, noExtra: true, ignore: []string{`\recent`}}
	}
	return rules{}
}

// directives takes the rules off the beginning of a list.
func directives(items []node, r rules) (rules, []node) {
	own := false
	for len(items) > 0 && items[0].kind == word && strings.HasPrefix(items[0].text, "$!") {
		if !own {
			own, r = true, rules{}
		}
		name, value, _ := strings.Cut(items[0].text[2:], "=")
		switch name {
		case "unordered":
			r.chain = 1
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				r.chain = n
			}
		case "ordered":
			r.chain = 0
		case "noextra":
			r.noExtra = true
		case "extra":
			r.noExtra = false
		case "ignore":
			r.ignore = append(r.ignore, strings.ToLower(value))
		case "ban":
			r.ban = append(r.ban, strings.ToLower(value))
		}
		items = items[1:]
	}
	return r, items
}

// matchReply matches a whole reply: exactly, or with prefix its beginning only. Names are bound in e if it matches.
func (e *env) matchReply(want, got []node, prefix bool) bool {
	try := e.clone()
	if !try.ordered(want, got, replyName(want), true, prefix) {
		return false
	}
	e.vars = try.vars
	return true
}

// replyName is the word that says which reply it is: the first, or the one behind a number.
func replyName(args []node) string {
	for i := 0; i < len(args) && i < 2; i++ {
		if args[i].kind != word {
			continue
		}
		t := strings.ToLower(args[i].text)
		if t != "" && (t[0] < '0' || t[0] > '9') && t[0] != '$' {
			return t
		}
	}
	return ""
}

// ordered matches arguments one by one.
func (e *env) ordered(want, got []node, reply string, top, prefix bool) bool {
	for i := range want {
		if want[i].kind == word && want[i].text == "$$" && i == len(want)-1 {
			return true
		}
		if i >= len(got) {
			return false
		}
		key := ""
		if i > 0 && got[i-1].kind == word {
			key = strings.ToLower(got[i-1].text)
		}
		if !e.match(&want[i], &got[i], reply, key, top) {
			return false
		}
	}
	return prefix || len(want) == len(got)
}

// match matches one argument.
func (e *env) match(want, got *node, reply, key string, top bool) bool {
	if want.kind == word && !want.quoted && want.text == "$" {
		return true
	}
	if want.kind == list || want.kind == code {
		if got.kind != want.kind {
			return false
		}
		r, items := directives(want.items, ruleOf(reply, key, top))
		return e.list(items, got.items, r, reply)
	}
	if want.kind == literal {
		if got.kind == list || got.kind == code {
			return false
		}
		// The line end before the closing braces is not part of the text; of a literal8 (RFC 3516) it may be: the
		// scripts have both.
		return equalOctets(want.text, got.text) || want.binary && got.binary && equalOctets(want.text+"\n", got.text)
	}
	return e.text(want.text, got)
}

// equalOctets compares without ASCII case only: what is no UTF-8 must not all look alike.
func equalOctets(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x >= 'A' && x <= 'Z' {
			x += 'a' - 'A'
		}
		if y >= 'A' && y <= 'Z' {
			y += 'a' - 'A'
		}
		if x != y {
			return false
		}
	}
	return true
}

func (e *env) list(want, got []node, r rules, reply string) bool {
	for i := range got {
		for _, b := range r.ban {
			if strings.EqualFold(got[i].text, b) {
				return false
			}
		}
	}
	if r.chain == 0 {
		return e.ordered(want, got, reply, false, false)
	}
	used := make([]bool, len(got))
	if !e.unordered(want, got, used, r.chain, reply) {
		return false
	}
	for i := range got {
		if r.noExtra && !used[i] && !containsFold(r.ignore, got[i].text) {
			return false
		}
	}
	return true
}

// unordered finds a place for the first chain of want and goes on with the others; it backtracks.
func (e *env) unordered(want, got []node, used []bool, chain int, reply string) bool {
	if len(want) == 0 {
		return true
	}
	n := min(chain, len(want))
	for at := 0; at+n <= len(got); at += chain {
		if used[at] {
			continue
		}
		try := e.clone()
		if !try.ordered(want[:n], got[at:at+n], reply, false, false) {
			continue
		}
		setAll(used[at:at+n], true)
		if try.unordered(want[n:], got, used, chain, reply) {
			e.vars = try.vars
			return true
		}
		setAll(used[at:at+n], false)
	}
	return false
}

func setAll(b []bool, v bool) {
	for i := range b {
		b[i] = v
	}
}

func containsFold(l []string, s string) bool {
	for _, x := range l {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// text matches a word that may hold variables.
func (e *env) text(want string, got *node) bool {
	parts := splitVars(want)
	if len(parts) == 1 && parts[0].isVar {
		return e.variable(parts[0].text, got)
	}
	if got.kind == list || got.kind == code {
		return false
	}
	return e.parts(parts, got.text)
}

// parts matches text against pieces, of which unbound variables take as little as will do.
func (e *env) parts(parts []piece, s string) bool {
	if len(parts) == 0 {
		return s == ""
	}
	p := parts[0]
	if !p.isVar {
		if len(s) < len(p.text) || !p.equal(s[:len(p.text)]) {
			return false
		}
		return e.parts(parts[1:], s[len(p.text):])
	}
	if v, ok := e.value(p.text); ok {
		if len(s) < len(v.text) || !strings.EqualFold(s[:len(v.text)], v.text) {
			return false
		}
		return e.parts(parts[1:], s[len(v.text):])
	}
	for n := 1; n <= len(s); n++ {
		try := e.clone()
		try.vars[p.text] = node{text: s[:n]}
		if try.parts(parts[1:], s[n:]) {
			e.vars = try.vars
			return true
		}
	}
	return false
}

// value is what a variable stands for, if that is known.
func (e *env) value(name string) (node, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		if seq, ok := e.seq(n); ok {
			return node{text: strconv.Itoa(seq)}, true
		}
		return node{text: "gone"}, true
	}
	v, ok := e.vars[name]
	return v, ok
}

// variable matches a whole argument against a variable, which it binds if it has no value.
func (e *env) variable(name string, got *node) bool {
	v, ok := e.value(name)
	if !ok {
		e.vars[name] = *got
		return e.modseq(name, got)
	}
	if v.kind == list || v.kind == code || got.kind == list || got.kind == code {
		return strings.EqualFold(v.String(), got.String())
	}
	return strings.EqualFold(v.text, got.text)
}

// modseq: of $modseqN and $modseqM the values rise at least as much as N and M do.
func (e *env) modseq(name string, got *node) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "modseq"))
	if err != nil || !strings.HasPrefix(name, "modseq") {
		return true
	}
	v, err := strconv.Atoi(got.text)
	if err != nil {
		return false
	}
	for other, o := range e.vars {
		m, err := strconv.Atoi(strings.TrimPrefix(other, "modseq"))
		have, verr := strconv.Atoi(o.text)
		if err != nil || verr != nil || !strings.HasPrefix(other, "modseq") {
			continue
		}
		if n > m && v-have < n-m || n < m && have-v < m-n {
			return false
		}
	}
	return true
}

// piece is a part of a word: text, or the name of a variable.
type piece struct {
	text      string
	isVar     bool
	exactCase bool
}

func (p *piece) equal(s string) bool {
	if p.exactCase {
		return s == p.text
	}
	return strings.EqualFold(s, p.text)
}

// splitVars parts a word into text and variables: $name, ${name}, ${case:TEXT}, $$ for a dollar sign.
func splitVars(s string) []piece {
	var out []piece
	text := func(t string) {
		if n := len(out); n > 0 && !out[n-1].isVar && !out[n-1].exactCase {
			out[n-1].text += t
		} else if t != "" {
			out = append(out, piece{text: t})
		}
	}
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			text(s)
			return out
		}
		text(s[:i])
		s = s[i+1:]
		switch {
		case s[0] == '$':
			text("$")
			s = s[1:]
		case s[0] == '{' && strings.IndexByte(s, '}') > 0:
			end := strings.IndexByte(s, '}')
			name := s[1:end]
			if t, ok := strings.CutPrefix(name, "case:"); ok {
				out = append(out, piece{text: t, exactCase: true})
			} else {
				out = append(out, piece{text: name, isVar: true})
			}
			s = s[end+1:]
		default:
			n := 0
			for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
				n++
			}
			if n == 0 {
				text("$")
				continue
			}
			out = append(out, piece{text: s[:n], isVar: true})
			s = s[n:]
		}
	}
	return out
}
