package smtp

import (
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
)

// XFOUND carries facts that became known only with the content, such as whose signatures are good, from one of our rooms to
// another. A trusted client may say it after the content and before its end, pipelined with it:
//
//	XFOUND f.NAME:value[;f.NAME:value...]
//
// The form is that of XFACTS; only facts can be told, nothing else about the session.

const wordFound = "XFOUND"

func (st *state) stepFound(c command, a *action) {
	switch {
	case !st.rules.trusted:
		a.reply = &replyUnknown
	case !st.open || st.accepted == 0:
		a.reply = &replyNeedRcpt
	case st.prepared:
		a.reply = &replyPrepared
	case c.arg == "" || !onlyFacts(c.arg):
		a.reply = syntax("Say XFOUND and f.NAME:value;...")
	default:
		a.kind, a.arg = doFound, c.arg
	}
}

func onlyFacts(arg string) bool {
	for item := range strings.SplitSeq(arg, ";") {
		if !strings.HasPrefix(item, "f.") {
			return false
		}
	}
	return true
}

// found is XFOUND. What cannot be understood refuses the message: the verdict on it would be made without.
func (ses *session) found(arg string) {
	if ses.failure == nil {
		if err := applyFacts(ses.txs, arg); err != nil {
			ses.spoil(syntax(err.Error()))
		}
	}
	if ses.failure != nil {
		ses.refuse(ses.failure)
		return
	}
	ses.reply(&replyOK)
}

// newFacts encodes those facts that are not among old.
func newFacts(old, now []mail.Fact) string {
	var late mail.Session
	for _, f := range now {
		if !slices.Contains(old, f) {
			late.Facts = append(late.Facts, f)
		}
	}
	return encodeFacts(&late)
}

// putFacts tells the peer what was found since MAIL. The answer is due.
func (tx *linkTx) putFacts() {
	if tx.session == nil || !tx.c.d.Trusted || !tx.c.ext.Has(wordFound) {
		return
	}
	facts := newFacts(tx.told, tx.session.Facts)
	tx.told = slices.Clone(tx.session.Facts)
	if facts == "" || len(facts) > maxTrustedLineOctets-4096 {
		return
	}
	tx.c.put(wordFound + " " + facts)
	tx.chunks++
}
