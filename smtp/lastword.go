package smtp

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

// What mail.Amender and mail.Preparer are between trusted peers. Not every transaction has them, so the server says in its
// answer to MAIL, by the names of the commands, what this one can:
//
//	250 2.1.0 OK XAMEND XPREPARE
//
// The client may then say, at any point before the end of content (and pipelined with it):
//
//	XAMEND n [XFOLDER=name] [XDROP]   the n-th accepted recipient, counted from 0, goes to that folder or nowhere
//	XPREPARE                          all of the content was sent by BDAT: do all but the final step
//
// XPREPARE is answered as the end of content is, in LMTP for each accepted recipient. What follows is BDAT 0 LAST, which
// commits, or RSET.

const (
	wordAmend   = "XAMEND"
	wordPrepare = "XPREPARE"
)

// amendment is one XAMEND.
type amendment struct {
	index  int
	folder string
	drop   bool
}

func (m *amendment) String() string {
	s := wordAmend + " " + strconv.Itoa(m.index)
	if m.folder != "" {
		s += " XFOLDER=" + mail.EncodeXtext(m.folder)
	}
	if m.drop {
		s += " XDROP"
	}
	return s
}

func parseAmendment(arg string, accepted int) (m amendment, refusal *mail.Reply) {
	number, params, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || int(n) >= accepted {
		return m, syntax("Say XAMEND and the number of an accepted recipient")
	}
	m.index = int(n)
	if params == "" {
		return m, nil
	}
	return m, eachParam(" "+params, func(k, v string, has bool) *mail.Reply {
		switch k {
		case "XFOLDER":
			f, err := mail.DecodeXtext(v)
			if err != nil || v == "" || len(f) > maxFolderOctets || !utf8.ValidString(f) {
				return syntax("XFOLDER must be xtext of UTF-8")
			}
			m.folder = f
		case "XDROP":
			m.drop = true
			return noValue(k, has)
		default:
			return unknownParam(k)
		}
		return nil
	})
}

func (st *state) stepAmend(c command, a *action) {
	switch {
	case !st.rules.trusted:
		a.reply = &replyUnknown
	case !st.open || st.accepted == 0:
		a.reply = &replyNeedRcpt
	case st.prepared:
		a.reply = &replyPrepared
	default:
		if a.amend, a.reply = parseAmendment(c.arg, st.accepted); a.reply == nil {
			a.kind = doAmend
		}
	}
}

func (st *state) stepPrepare(c command, a *action) {
	switch r := st.wantsContent(); {
	case !st.rules.trusted:
		a.reply = &replyUnknown
	case c.arg != "":
		a.reply = &replyNoArg
	case r != nil:
		a.reply = r
	case st.prepared:
		a.reply = &replyPrepared
	default:
		a.kind = doPrepare
		st.prepared, st.chunks = true, true
	}
}

// canDo is the answer to MAIL: a trusted peer is told what more the transaction can.
func (ses *session) canDo(tx mail.Transaction) *mail.Reply {
	if !ses.s.Trusted {
		return &replySenderOK
	}
	text := replySenderOK.Text
	if _, ok := tx.(mail.Amender); ok {
		text += " " + wordAmend
	}
	if _, ok := tx.(mail.Preparer); ok {
		text += " " + wordPrepare
	}
	return &mail.Reply{Code: replySenderOK.Code, Enhanced: replySenderOK.Enhanced, Text: text}
}

// transactionCan reads that answer.
func transactionCan(r *mail.Reply, word string) bool {
	for _, w := range strings.Fields(r.Text) {
		if w == word {
			return true
		}
	}
	return false
}

// amend is XAMEND. If it cannot be done the message is refused: it must not go where the guard did not want it.
func (ses *session) amend(m *amendment) {
	a, ok := ses.tx.(mail.Amender)
	switch {
	case ses.failure != nil:
		ses.refuse(ses.failure)
		return
	case !ok:
		ses.spoil(&replyNotHere)
	default:
		if err := a.Amend(m.index, m.folder, m.drop); err != nil {
			ses.spoil(refusal(err))
		}
	}
	if ses.failure != nil {
		ses.refuse(ses.failure)
		return
	}
	ses.reply(&replyOK)
}

// prepare is XPREPARE.
func (ses *session) prepare() {
	if ses.failure == nil && ses.trace > 0 {
		ses.spoil(mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Content is shorter than its trace"))
	}
	ses.endLines()
	var replies []mail.Reply
	if ses.failure == nil {
		p, ok := ses.tx.(mail.Preparer)
		if !ok {
			ses.spoil(&replyNotHere)
		} else if rs, err := p.Prepare(ses.ctx); err != nil {
			ses.spoil(refusal(err))
		} else {
			replies = append(replies, rs...) // they stay the transaction's
		}
	}
	ses.answer(replies, ses.failure, ses.st.accepted)
}
