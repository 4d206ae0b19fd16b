package smtp

import (
	"strconv"
	"strings"

	"github.com/samotop/samotop/mail"
)

// kind says what has to be done about a command.
type kind uint8

const (
	doReply    kind = iota // nothing but the reply
	doHello                // ask the Door, then greet
	doStartTLS             // say 220, throw the input away, negotiate
	doAuth                 // begin an exchange
	doMail                 // begin a transaction with action.from
	doRcpt                 // add action.rcpt
	doData                 // say 354 and take content
	doChunk                // take action.size octets; commit if action.last
	doDiscard              // read action.size octets, then the reply
	doTrace                // take action.size octets as trace fields
	doAmend                // change the recipient action.size by action.amend
	doPrepare              // do all but the final step, and answer for each recipient
	doFound                // learn the facts in action.arg
	doReset                // give the transaction up
	doVerify
	doExpand
	doCustom
	doXClient
	doXForward
	doQuit
	doHangUp // the reply, and no more: what follows cannot be told apart from content
)

// action is what a step asks for. Which fields have a meaning depends on kind.
type action struct {
	kind  kind
	verb  verb
	name  string
	arg   string
	reply *mail.Reply
	from  mail.Sender
	extra mailParams
	rcpt  *mail.Recipient
	size  int64
	last  bool
	amend amendment
}

// state is the protocol state of one session. It does no I/O: step says what a command asks for, and whoever did it
// reports back with greeted, secured, authenticated, began, added and finished.
type state struct {
	lmtp        bool
	requireTLS  bool
	requireAuth bool
	offerTLS    bool
	offerChunks bool
	offerTrust  bool // the peer may speak for others: XCLIENT, XFORWARD
	custom      map[string]CommandFunc
	maxRcpts    int

	rules rules // of parameters

	refused  bool // the banner was a refusal: only QUIT is left (RFC 5321 section 3.1)
	hello    bool
	extended bool
	tls      bool
	authed   bool

	open     bool // MAIL was accepted
	binary   bool // with BODY=BINARYMIME
	tried    int
	accepted int
	chunks   bool // BDAT has begun
	traced   bool // XTRACE was given
	prepared bool // XPREPARE was given: nothing but the end may follow
}

// Replies that are always the same; nobody changes them.
var (
	replyNoDoor    = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "There is no service here for you, please QUIT"}
	replyNeedTLS   = mail.Reply{Code: 530, Enhanced: mail.Enhanced{5, 7, 0}, Text: "Must issue a STARTTLS command first"}
	replyNeedAuth  = mail.Reply{Code: 530, Enhanced: mail.Enhanced{5, 7, 0}, Text: "Authentication required"}
	replyNeedHello = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Say hello first"}
	replyNeedMail  = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "MAIL first"}
	replyNeedRcpt  = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "RCPT first"}
	replyNoRcpt    = mail.Reply{Code: 554, Enhanced: mail.Enhanced{5, 5, 1}, Text: "No valid recipients"}
	replyNested    = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Not during a mail transaction"}
	replyInChunks  = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Not after BDAT"}
	replyPrepared  = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Not after XPREPARE"}
	replyBinary    = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Binary content needs BDAT"}
	replyUnknown   = mail.Reply{Code: 500, Enhanced: mail.Enhanced{5, 5, 2}, Text: "Command not recognized"}
	replyNotHere   = mail.Reply{Code: 502, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Command not implemented"}
	replyNoArg     = mail.Reply{Code: 501, Enhanced: mail.Enhanced{5, 5, 4}, Text: "This command takes no argument"}
	replyTooMany   = mail.Reply{Code: 452, Enhanced: mail.Enhanced{4, 5, 3}, Text: "Too many recipients"}
	replyHelp      = mail.Reply{Code: 214, Enhanced: mail.Enhanced{2, 0, 0}, Text: "See RFC 5321"}
	replyNoVerify  = mail.Reply{Code: 252, Enhanced: mail.Enhanced{2, 5, 0}, Text: "Cannot verify, but will accept the message and attempt delivery"}
	replyOK        = mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 0, 0}, Text: "OK"}
	replySenderOK  = mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 1, 0}, Text: "OK"}
	replyRcptOK    = mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 1, 5}, Text: "OK"}
	replyGoOn      = mail.Reply{Code: 354, Text: "End data with <CR><LF>.<CR><LF>"}
	replyTLSActive = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "TLS is active already"}
	replyAuthed    = mail.Reply{Code: 503, Enhanced: mail.Enhanced{5, 5, 1}, Text: "Already authenticated"}
)

// step says what the command c asks for in this state.
func (st *state) step(c command, a *action) {
	*a = action{verb: c.verb, name: c.name, arg: c.arg}
	if r := st.barred(c); r != nil {
		st.refuse(c, a, r)
		return
	}
	switch c.verb {
	case verbEHLO, verbLHLO, verbHELO:
		st.stepHello(c, a)
	case verbMAIL:
		st.stepMail(c, a)
	case verbRCPT:
		st.stepRcpt(c, a)
	case verbDATA:
		st.stepData(c, a)
	case verbBDAT:
		st.stepChunk(c, a)
	case verbXTRACE:
		st.stepTrace(c, a)
	case verbSTARTTLS:
		st.stepTLS(c, a)
	case verbAUTH:
		st.stepAuth(a)
	case verbRSET:
		a.kind, a.reply = doReset, &replyOK
		if c.arg != "" {
			a.kind, a.reply = doReply, &replyNoArg
		}
	case verbNOOP:
		a.reply = &replyOK
	case verbHELP:
		a.reply = &replyHelp
	case verbVRFY:
		a.kind = doVerify
	case verbEXPN:
		a.kind = doExpand
	case verbQUIT:
		a.kind = doQuit
	case verbXCLIENT, verbXFORWARD:
		st.stepTrusted(c, a)
	case verbXAMEND:
		st.stepAmend(c, a)
	case verbXPREPARE:
		st.stepPrepare(c, a)
	case verbXFOUND:
		st.stepFound(c, a)
	default:
		a.reply = &replyUnknown
		if _, ok := st.custom[c.name]; ok && c.name != "" {
			a.kind, a.reply = doCustom, nil
		}
	}
}

// barred gives the refusal that comes before any look at the command itself.
func (st *state) barred(c command) *mail.Reply {
	switch {
	case c.verb == verbQUIT:
		return nil
	case st.refused:
		return &replyNoDoor
	case st.requireTLS && !st.tls: // RFC 3207 section 4
		switch c.verb {
		case verbEHLO, verbLHLO, verbNOOP, verbSTARTTLS:
			return nil
		}
		return &replyNeedTLS
	}
	return nil
}

// refuse answers with r. A command that brings octets with it has them read and thrown away, so that they cannot be
// taken for commands; if their number is not known the session ends.
func (st *state) refuse(c command, a *action, r *mail.Reply) {
	a.kind, a.reply = doReply, r
	if c.verb != verbBDAT && c.verb != verbXTRACE {
		return
	}
	size, _, ok := chunkArg(c)
	if !ok {
		a.kind = doHangUp
		return
	}
	a.kind, a.size = doDiscard, size
}

func (st *state) stepHello(c command, a *action) {
	switch {
	case st.lmtp != (c.verb == verbLHLO): // RFC 2033 section 4.1
		a.reply = &replyUnknown
	case !isHello(c.arg):
		a.reply = mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say %s and your name", c.name)
	default:
		a.kind = doHello
	}
}

// isHello takes more than the standard's Domain: RFC 5321 section 4.1.4 lets nobody be refused for the name alone.
func isHello(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= mail.MaxDomainOctets
}

func (st *state) stepMail(c command, a *action) {
	switch {
	case !st.hello:
		a.reply = &replyNeedHello
	case st.requireAuth && !st.authed:
		a.reply = &replyNeedAuth
	case st.open:
		a.reply = &replyNested
	default:
		st.rules.tls, st.rules.authed = st.tls, st.authed
		ru := &st.rules
		if !st.extended { // HELO: no parameters but ours
			ru = &rules{trusted: ru.trusted, now: ru.now, traceOctets: ru.traceOctets}
		}
		a.from, a.extra, a.reply = parseMail(c.arg, ru)
		if a.reply == nil {
			a.kind = doMail
		}
	}
}

func (st *state) stepRcpt(c command, a *action) {
	switch {
	case !st.open:
		a.reply = &replyNeedMail
	case st.chunks:
		a.reply = &replyInChunks
	case st.accepted >= st.maxRcpts || st.tried >= st.maxRcpts+100: // RFC 5321 section 4.5.3.1.10
		a.reply = &replyTooMany
	default:
		st.tried++
		r := new(mail.Recipient)
		ru := &st.rules
		if !st.extended {
			ru = &rules{trusted: ru.trusted}
		}
		if a.reply = parseRcpt(c.arg, ru, r); a.reply == nil {
			a.kind, a.rcpt = doRcpt, r
		}
	}
}

// wantsContent checks what DATA and BDAT have in common.
func (st *state) wantsContent() *mail.Reply {
	switch {
	case !st.open:
		return &replyNeedMail
	case st.accepted > 0:
		return nil
	case st.tried > 0 && !st.lmtp:
		return &replyNoRcpt // RFC 2920 section 3.1
	}
	return &replyNeedRcpt // RFC 2033 section 4.2 asks for 503
}

func (st *state) stepData(c command, a *action) {
	switch r := st.wantsContent(); {
	case r != nil:
		a.reply = r
	case c.arg != "":
		a.reply = &replyNoArg
	case st.chunks:
		a.reply = &replyInChunks
	case st.binary: // RFC 3030 section 3
		a.reply = &replyBinary
	default:
		a.kind = doData
	}
}

// chunkArg reads "size [LAST]" (RFC 3030 section 2), and the size of XTRACE.
func chunkArg(c command) (size int64, last, ok bool) {
	num, word, more := strings.Cut(c.arg, " ")
	if num == "" || len(num) > 18 || strings.Trim(num, "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(num, 10, 64)
	if err != nil {
		return 0, false, false
	}
	if more {
		last = strings.EqualFold(strings.TrimSpace(word), "LAST")
		return size, last, last && c.verb == verbBDAT
	}
	return size, false, true
}

func (st *state) stepChunk(c command, a *action) {
	size, last, ok := chunkArg(c)
	switch r := st.wantsContent(); {
	case !ok:
		st.refuse(c, a, mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say BDAT size [LAST]"))
	case !st.offerChunks || !st.extended:
		st.refuse(c, a, &replyNotHere)
	case r != nil:
		st.refuse(c, a, r)
	case st.prepared && (size > 0 || !last):
		st.refuse(c, a, &replyPrepared)
	default:
		a.kind, a.size, a.last = doChunk, size, last
		st.chunks = true
	}
}

// stepTrace reads XTRACE size, which like BDAT is followed by that many octets: trace fields that stand in front of the
// content. It may come at any point of a transaction that has a recipient, once.
func (st *state) stepTrace(c command, a *action) {
	size, _, ok := chunkArg(c)
	switch {
	case !ok:
		st.refuse(c, a, mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say XTRACE size"))
	case !st.rules.trusted:
		st.refuse(c, a, &replyUnknown)
	case !st.open || st.traced || st.prepared:
		st.refuse(c, a, &replyNeedMail)
	case size > int64(st.rules.traceOctets):
		st.refuse(c, a, mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Trace is larger than the %d octets we take", st.rules.traceOctets))
	default:
		a.kind, a.size = doTrace, size
		st.traced = true
	}
}

func (st *state) stepTLS(c command, a *action) {
	switch {
	case st.tls:
		a.reply = &replyTLSActive
	case !st.offerTLS:
		a.reply = &replyNotHere
	case c.arg != "":
		a.reply = &replyNoArg
	case st.open:
		a.reply = &replyNested
	default:
		a.kind = doStartTLS
	}
}

func (st *state) stepAuth(a *action) {
	switch {
	case !st.rules.auth:
		a.reply = &replyNotHere
	case !st.hello || !st.extended:
		a.reply = &replyNeedHello
	case st.authed: // RFC 4954 section 4
		a.reply = &replyAuthed
	case st.open:
		a.reply = &replyNested
	default:
		a.kind = doAuth
	}
}

func (st *state) stepTrusted(c command, a *action) {
	switch {
	case !st.offerTrust:
		a.reply = &replyUnknown
	case st.open:
		a.reply = &replyNested
	case c.verb == verbXCLIENT:
		a.kind = doXClient
	default:
		a.kind = doXForward
	}
}

// greeted: the Door let the peer in at EHLO, LHLO or HELO. A transaction ends (RFC 5321 section 4.1.4).
func (st *state) greeted(extended bool) {
	st.finished()
	st.hello, st.extended = true, extended
}

// secured: TLS is complete, and nothing that was said before counts (RFC 3207 section 4.2).
func (st *state) secured() {
	st.finished()
	st.tls, st.hello, st.extended, st.authed = true, false, false, false
}

// introduced: XCLIENT made this the session of another.
func (st *state) introduced() {
	st.finished()
	st.hello, st.extended, st.authed, st.refused = false, false, false, false
}

func (st *state) authenticated() { st.authed = true }

// began: MAIL was accepted.
func (st *state) began(from *mail.Sender, extra *mailParams) {
	st.open, st.binary = true, from.Body == mail.BodyBinary
	st.traced = extra.trace > 0
	st.rules.utf8 = from.UTF8
}

// added: RCPT was accepted.
func (st *state) added() { st.accepted++ }

// finished: the transaction is over, one way or another.
func (st *state) finished() {
	st.open, st.binary, st.chunks, st.traced, st.prepared = false, false, false, false, false
	st.tried, st.accepted = 0, 0
	st.rules.utf8 = false
}
