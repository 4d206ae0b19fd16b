package smtp

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// do performs one command.
func (ses *session) do(c command) {
	a := &ses.act
	ses.st.rules.now = time.Now()
	ses.st.step(c, a)
	ses.stats.Commands++
	switch c.verb {
	case verbMAIL, verbRCPT, verbDATA, verbBDAT, verbXTRACE, verbXAMEND, verbXPREPARE, verbXFOUND, verbQUIT:
	default:
		if ses.commands++; ses.commands > ses.set.maxCommands && !ses.s.Trusted {
			ses.reply(mail.NewReply(421, mail.Enhanced{4, 7, 0}, "Too many commands"))
			return
		}
	}
	switch a.kind {
	case doReply:
		ses.refuse(a.reply)
	case doHello:
		ses.hello(a)
	case doStartTLS:
		ses.startTLS()
	case doAuth:
		ses.auth(a.arg)
	case doMail:
		ses.mail(a)
	case doRcpt:
		ses.rcpt(a.rcpt)
	case doData:
		ses.data()
	case doChunk:
		ses.chunk(a.size, a.last)
	case doDiscard:
		ses.discard(a.size, a.reply)
	case doTrace:
		ses.traceCommand(a.size)
	case doAmend:
		ses.amend(&a.amend)
	case doPrepare:
		ses.prepare()
	case doFound:
		ses.found(a.arg)
	case doReset:
		ses.abort()
		ses.reply(a.reply)
	case doVerify, doExpand, doCustom:
		ses.custom(a)
	case doXClient:
		ses.xclient(a.arg)
	case doXForward:
		ses.xforward(a.arg)
	case doQuit:
		ses.reply(mail.NewReply(221, mail.Enhanced{2, 0, 0}, "%s closing connection", ses.set.hostname))
		ses.closing = true
	case doHangUp:
		ses.refuse(a.reply)
		ses.closing, ses.rude = true, true
	}
}

// greet is the banner (RFC 5321 section 3.1), also the answer to XCLIENT.
func (ses *session) greet() {
	ses.st.rules.auth = false
	r := ses.ask(mail.StageConnect)
	if ses.closing {
		return
	}
	ses.facts = len(ses.s.Facts)
	if r != nil {
		ses.st.refused = true
		ses.refuse(r)
		return
	}
	protocol := " ESMTP ready"
	if ses.st.lmtp {
		protocol = " LMTP ready"
	}
	ses.w.out = append(ses.w.out, "220 "+ses.set.hostname+protocol+"\r\n"...)
}

func (ses *session) hello(a *action) {
	ses.abort()
	ses.st.hello = false
	if ses.barred != nil {
		ses.refuse(ses.barred)
		return
	}
	extended := a.verb != verbHELO
	ses.s.Hello, ses.s.Extended = a.arg, extended
	if r := ses.ask(mail.StageHello); r != nil {
		ses.refuse(r)
		return
	}
	ses.st.greeted(extended)
	if !extended {
		ses.w.out = append(ses.w.out, "250 "+ses.set.hostname+"\r\n"...)
		return
	}
	mechs := ses.mechanisms()
	ses.st.rules.auth = len(mechs) > 0
	out, last := append(ses.w.out, "250-"+ses.set.hostname...), len(ses.w.out)
	for _, k := range ses.keywords(mechs) {
		out = append(out, '\r', '\n')
		last = len(out)
		out = append(out, "250-"...)
		out = appendText(out, k, false)
	}
	out[last+3] = ' '
	out = append(out, '\r', '\n')
	ses.w.out = out
}

func (ses *session) mechanisms() []string {
	if ses.srv.Auth == nil || ses.srv.RequireTLS && ses.s.TLS == nil {
		return nil
	}
	return ses.srv.Auth.Mechanisms(&ses.s)
}

// keywords lists what is offered in this state of the session.
func (ses *session) keywords(mechs []string) []string {
	list := make([]string, 0, 24)
	add := func(e Extension, keyword string) {
		if ses.set.ext&e != 0 {
			list = append(list, keyword)
		}
	}
	add(ExtPipelining, "PIPELINING")
	add(ExtSize, "SIZE "+strconv.FormatInt(ses.set.maxMessage, 10))
	add(Ext8BitMIME, "8BITMIME")
	add(ExtSMTPUTF8, "SMTPUTF8")
	add(ExtEnhancedStatusCodes, "ENHANCEDSTATUSCODES")
	add(ExtChunking, "CHUNKING")
	add(ExtBinaryMIME, "BINARYMIME")
	add(ExtDSN, "DSN")
	add(ExtLimits, "LIMITS MAILMAX="+strconv.Itoa(ses.set.maxMails)+" RCPTMAX="+strconv.Itoa(ses.set.maxRcpts))
	add(ExtPriority, "MT-PRIORITY")
	if by := int(ses.srv.MinDeliverBy / time.Second); by > 0 {
		add(ExtDeliverBy, "DELIVERBY "+strconv.Itoa(by))
	} else {
		add(ExtDeliverBy, "DELIVERBY")
	}
	// RFC 4865 section 3: the longest interval and the latest date.
	add(ExtFutureRelease, "FUTURERELEASE "+strconv.Itoa(int(ses.set.maxHold/time.Second))+" "+
		time.Now().Add(ses.set.maxHold).UTC().Format(time.RFC3339))
	add(ExtRRVS, "RRVS")
	add(ExtNoSoliciting, strings.TrimSpace("NO-SOLICITING "+strings.Join(ses.srv.NoSoliciting, ",")))
	if ses.s.TLS != nil || ses.s.Trusted {
		add(ExtRequireTLS, "REQUIRETLS")
	}
	if ses.st.offerTLS && !ses.st.tls {
		list = append(list, "STARTTLS")
	}
	if len(mechs) > 0 {
		list = append(list, "AUTH "+strings.Join(mechs, " "))
	}
	if ses.peerTrusted {
		list = append(list, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT",
			"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
	}
	if ses.s.Trusted {
		list = append(list, "XFACTS", "XDELIVERY", "XFOLDER", "XFAILED", "XTRACE", wordAmend, wordPrepare, wordFound, wordSettled)
	}
	return append(list, ses.srv.Keywords...)
}

// startTLS is RFC 3207. What arrived in clear after the command is thrown away unread: it may come from somebody who
// sits between us and the peer and wants it to run inside.
func (ses *session) startTLS() {
	ses.reply(mail.NewReply(220, mail.Enhanced{2, 0, 0}, "Ready to start TLS"))
	if err := ses.w.flush(); err != nil {
		ses.fail(err)
		return
	}
	injected := ses.w.buffered()
	ses.w.drop()
	if !ses.negotiate() {
		return
	}
	ses.abort()
	ses.st.secured()
	ses.s.Hello, ses.s.Extended, ses.s.Login = "", false, mail.Identity{}
	ses.s.Facts = ses.s.Facts[:min(ses.facts, len(ses.s.Facts))]
	if injected > 0 {
		ses.s.SetFact("starttls-injection", strconv.Itoa(injected))
	}
	ses.barred = ses.ask(mail.StageTLS)
}

func (ses *session) negotiate() bool {
	conf := ses.srv.TLSConfig
	if conf == nil {
		conf = &tls.Config{}
	}
	if err := ses.raw.SetDeadline(time.Now().Add(ses.set.handshake)); err != nil {
		ses.fail(err)
		return false
	}
	conn := tls.Server(ses.raw, conf)
	if err := conn.HandshakeContext(ses.ctx); err != nil {
		ses.fail(err)
		return false
	}
	if err := ses.raw.SetDeadline(time.Time{}); err != nil {
		ses.fail(err)
		return false
	}
	state := conn.ConnectionState()
	ses.s.TLS = &state
	ses.st.tls = true
	ses.w.conn = conn
	return true
}

func (ses *session) mail(a *action) {
	if ses.mails++; ses.mails > ses.set.maxMails { // RFC 9422 section 4.1
		ses.reply(mail.NewReply(421, mail.Enhanced{4, 7, 0}, "Too many transactions, please connect again"))
		return
	}
	if ses.receiver == nil {
		ses.refuse(mail.NewReply(451, mail.Enhanced{4, 3, 5}, "No receiver for this session"))
		return
	}
	s, r := ses.about(a.extra.facts)
	if r != nil {
		ses.refuse(r)
		return
	}
	tx, err := ses.receiver.Begin(ses.ctx, s, a.from)
	if err != nil {
		ses.refuse(mail.AsReply(err))
		return
	}
	ses.tx, ses.txs, ses.trace, ses.settles = tx, s, a.extra.trace, a.extra.settle
	ses.st.began(&a.from, &a.extra)
	ses.reply(ses.canDo(tx))
}

// about gives the session that a transaction is about: on a trusted connection XFACTS and XFORWARD speak of the peer's
// own client.
func (ses *session) about(facts string) (*mail.Session, *mail.Reply) {
	if facts == "" && ses.forward == nil {
		return &ses.s, nil
	}
	s := ses.s
	s.Facts = slices.Clone(s.Facts)
	for _, f := range ses.forward {
		s.SetFact(f.Name, f.Value)
	}
	ses.forward = nil
	if facts != "" {
		if err := applyFacts(&s, facts); err != nil {
			return nil, syntax(err.Error())
		}
	}
	return &s, nil
}

func (ses *session) rcpt(r *mail.Recipient) {
	if err := ses.tx.Recipient(ses.ctx, r); err != nil {
		reply := mail.AsReply(err)
		if reply.Code < 400 { // a refusal that does not refuse would leave both sides with different recipients
			reply = mail.NewReply(451, mail.Enhanced{4, 3, 0}, "Temporary local problem").Because(err)
		}
		ses.reply(reply)
		return
	}
	ses.st.added()
	settled := ses.settled()
	switch {
	case ses.s.Trusted && len(r.Targets) > 0:
		ses.reply(&mail.Reply{Code: 251, Enhanced: mail.Enhanced{2, 1, 5}, Text: settled + mail.FormatTargets(r.Targets)})
	case settled != "":
		ses.reply(&mail.Reply{Code: replyRcptOK.Code, Enhanced: replyRcptOK.Enhanced, Text: settled + replyRcptOK.Text})
	default:
		ses.reply(&replyRcptOK)
	}
}

func (ses *session) custom(a *action) {
	var f CommandFunc
	fallback := &replyNotHere
	switch a.kind {
	case doVerify:
		f, fallback = ses.srv.Verify, &replyNoVerify
		if a.arg == "" {
			fallback = mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say VRFY and a name")
			f = nil
		}
	case doExpand:
		f = ses.srv.Expand
	default:
		f = ses.srv.Commands[a.name]
	}
	if f == nil {
		ses.refuse(fallback)
		return
	}
	r := f(ses.ctx, &ses.s, a.arg)
	ses.refuse(&r)
}
