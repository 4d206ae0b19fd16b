package pop3

import (
	"strconv"
	"strings"
)

// phase is the state of a session (RFC 1939 section 3).
type phase uint8

const (
	phaseAuthorization phase = iota
	phaseTransaction
	phaseUpdate
)

// kind says what has to be done about a command.
type kind uint8

const (
	doReply   kind = iota // nothing but the reply
	doUnknown             // the reply, and it counts as senseless
	doPass                // log in with the name of USER and action.arg
	doAuth                // begin an exchange
	doMechs               // list the mechanisms
	doTLS                 // negotiate TLS
	doCapa
	doStat
	doList // all messages
	doListOne
	doUIDL
	doUIDLOne
	doRetrieve // action.lines of the body, all if negative
	doNoteMark // the reply is about the marks
	doLangs
	doUpdate // remove what is marked, and end
	doEnd
)

// action is what a step asks for.
type action struct {
	kind  kind
	reply string // with +OK or -ERR
	arg   string
	num   int // of a message, from 0
	lines int
}

// state is the protocol state of one session. It does no I/O: step says what a command asks for, and whoever did it
// reports back with secured and opened.
type state struct {
	phase     phase
	tls       bool
	offerTLS  bool
	offerUser bool   // USER and PASS may be used now
	utf8      bool   // RFC 6856 section 2
	user      string // of USER
	hasUser   bool
	lang      string // of LANG

	n      int      // messages
	marked []uint64 // for deletion
	marks  int
}

// Replies that are always the same.
const (
	replyOK       = "+OK"
	replyUnknown  = "-ERR unknown command"
	replyNotNow   = "-ERR not in this state"
	replyNoArgs   = "-ERR this command takes no argument"
	replyNoUser   = "-ERR [SYS/PERM] passwords are taken only under TLS"
	replyUserOnly = "-ERR say USER first"
	replyNumber   = "-ERR no such message"
	replyMarked   = "-ERR message is marked as deleted"
)

// split parts a line into its keyword and its argument (RFC 1939 section 3). PASS keeps every octet of its argument,
// spaces included.
func split(line string) (verb, arg string) {
	verb, arg, _ = strings.Cut(line, " ")
	return upper(verb), arg
}

// upper is strings.ToUpper for ASCII: keywords have nothing else, and U+017F is no S.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// step says what a command line asks for in this state.
func (st *state) step(line string) action {
	verb, arg := split(line)
	switch verb {
	case "CAPA": // RFC 2449 section 5: in both states
		return plain(arg, action{kind: doCapa})
	case "QUIT":
		if arg != "" {
			return action{reply: replyNoArgs}
		}
		if st.phase == phaseTransaction {
			st.phase = phaseUpdate
			return action{kind: doUpdate}
		}
		return action{kind: doEnd, reply: "+OK bye"}
	case "LANG": // RFC 6856 section 3: in both states
		return st.stepLang(arg)
	case "USER", "PASS", "AUTH", "STLS", "UTF8":
		if st.phase != phaseAuthorization {
			return action{reply: replyNotNow}
		}
		return st.stepLogin(verb, arg)
	case "STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL":
		if st.phase != phaseTransaction {
			return action{reply: replyNotNow}
		}
		return st.stepMessages(verb, arg)
	}
	return action{kind: doUnknown, reply: replyUnknown}
}

// plain is an action of a command without an argument. Blanks at its end are forgiven.
func plain(arg string, a action) action {
	if strings.Trim(arg, " ") != "" {
		return action{reply: replyNoArgs}
	}
	return a
}

func (st *state) stepLogin(verb, arg string) action {
	switch verb {
	case "USER": // RFC 1939 section 7: it may say +OK for a mailbox that does not exist
		switch {
		case !st.offerUser:
			return action{reply: replyNoUser}
		case arg == "":
			return action{reply: "-ERR say USER and a name"}
		}
		st.user, st.hasUser = arg, true
		return action{reply: "+OK now the password"}
	case "PASS":
		switch {
		case !st.offerUser:
			return action{reply: replyNoUser}
		case !st.hasUser:
			return action{reply: replyUserOnly}
		}
		st.hasUser = false // RFC 1939 section 7: PASS only right after a successful USER
		return action{kind: doPass, arg: arg}
	case "AUTH":
		st.hasUser = false
		if strings.Trim(arg, " ") == "" { // what old clients ask instead of CAPA
			return action{kind: doMechs}
		}
		return action{kind: doAuth, arg: arg}
	case "STLS": // RFC 2595 section 4
		switch {
		case st.tls:
			return action{reply: "-ERR TLS is active already"}
		case !st.offerTLS:
			return action{reply: "-ERR TLS is not available"}
		case st.utf8: // RFC 6856 section 2.1
			return action{reply: "-ERR not after UTF8"}
		}
		return plain(arg, action{kind: doTLS, reply: "+OK begin TLS now"})
	default: // UTF8, RFC 6856 section 2.1
		if strings.Trim(arg, " ") != "" {
			return action{reply: replyNoArgs}
		}
		st.utf8 = true
		return action{reply: "+OK UTF8 enabled"}
	}
}

// languages that our texts have (RFC 6856 section 3); there is one, and it is what i-default stands for.
var languages = [...][2]string{{"en", "English"}, {"i-default", "Default language"}}

func (st *state) stepLang(arg string) action {
	arg = strings.Trim(arg, " ")
	switch {
	case arg == "":
		return action{kind: doLangs}
	case arg == "*":
		st.lang = "i-default"
		return action{reply: "+OK i-default texts are in the default language"}
	case strings.EqualFold(arg, "en"), strings.EqualFold(arg, "i-default"):
		st.lang = strings.ToLower(arg)
		return action{reply: "+OK " + st.lang + " texts are in English"}
	}
	return action{reply: "-ERR that language is not available"}
}

func (st *state) stepMessages(verb, arg string) action {
	arg = strings.Trim(arg, " ")
	switch verb {
	case "STAT":
		return plain(arg, action{kind: doStat})
	case "NOOP":
		return plain(arg, action{reply: replyOK})
	case "RSET":
		if arg != "" {
			return action{reply: replyNoArgs}
		}
		clear(st.marked)
		st.marks = 0
		return action{kind: doNoteMark, reply: "+OK no message is marked"}
	case "LIST", "UIDL":
		all, one := doList, doListOne
		if verb == "UIDL" {
			all, one = doUIDL, doUIDLOne
		}
		if arg == "" {
			return action{kind: all}
		}
		return st.onMessage(arg, action{kind: one})
	case "RETR":
		return st.onMessage(arg, action{kind: doRetrieve, lines: -1})
	case "TOP":
		number, lines, _ := strings.Cut(arg, " ")
		n, ok := parseNumber(strings.Trim(lines, " "))
		if !ok {
			return action{reply: "-ERR say TOP, a message and a number of lines"}
		}
		return st.onMessage(number, action{kind: doRetrieve, lines: n})
	default: // DELE
		a := st.onMessage(arg, action{kind: doNoteMark, reply: "+OK message is marked"})
		if a.kind == doNoteMark {
			st.mark(a.num)
		}
		return a
	}
}

// onMessage is an action on a message that is there and not marked.
func (st *state) onMessage(arg string, a action) action {
	n, ok := parseNumber(arg)
	switch {
	case !ok || n < 1 || n > st.n:
		return action{reply: replyNumber}
	case st.isMarked(n - 1):
		return action{reply: replyMarked}
	}
	a.num = n - 1
	return a
}

// parseNumber reads a decimal number of at most nine digits.
func parseNumber(s string) (int, bool) {
	if s == "" || len(s) > 9 || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func (st *state) isMarked(i int) bool { return st.marked[i>>6]&(1<<(i&63)) != 0 }

func (st *state) mark(i int) {
	st.marked[i>>6] |= 1 << (i & 63)
	st.marks++
}

// markedList lists what is to be deleted.
func (st *state) markedList() []int {
	list := make([]int, 0, st.marks)
	for i := range st.n {
		if st.isMarked(i) {
			list = append(list, i)
		}
	}
	return list
}

// opened: a maildrop with so many messages is open.
func (st *state) opened(n int) {
	st.phase, st.n, st.marked = phaseTransaction, n, make([]uint64, (n+63)/64)
}

// secured: TLS is up. What was said before does not count any more (RFC 2595 section 4).
func (st *state) secured() {
	st.tls, st.hasUser, st.user = true, false, ""
}
