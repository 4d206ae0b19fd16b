package smtp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/mail"
)

// session is one connection as the server sees it: it does for state what state says, in one goroutine.
type session struct {
	srv    *Server
	set    *settings
	raw    net.Conn // below TLS
	w      wire
	st     state
	s      mail.Session
	ctx    context.Context
	cancel context.CancelFunc
	stop   func() bool // no more watching of ctx
	act    action

	peerTrusted bool // whoever really connected; Session.Trusted is about whom XCLIENT names
	receiver    mail.Receiver
	facts       int         // how many facts the first stage left; later stages begin from there
	barred      *mail.Reply // the Door refused after STARTTLS: the answer to EHLO
	forward     []mail.Fact // XFORWARD, for the next transaction

	tx       mail.Transaction
	txs      *mail.Session // what the transaction was begun with
	lines    lineChecker
	nuls     nulChecker
	settles  bool   // the peer wants to hear of mail.Settler
	trace    int    // octets of trace still to come in front of the content
	prefix   []byte // and what came
	got      int64  // content octets
	failure  *mail.Reply
	contents time.Time // when the content must be complete
	one      [1]mail.Reply

	idle     atomic.Bool // waits for a command outside a transaction
	closing  bool
	rude     bool // the peer may still be sending: hear it out before closing
	mails    int
	commands int // since the last message was taken
	errs     int
	authFail int
	stats    Stats
	err      error
}

var errDraining = errors.New("server is stopping")

// sessionContext is the context of a session; WaitQuiet finds the connection in it.
type sessionContext struct {
	context.Context
	ses *session
}

type sessionKey struct{}

func (c sessionContext) Value(key any) any {
	if _, ok := key.(sessionKey); ok {
		return c.ses
	}
	return c.Context.Value(key)
}

func newSession(ctx context.Context, srv *Server, conn net.Conn) *session {
	ses := &session{srv: srv, set: &srv.set, raw: conn}
	ses.ctx, ses.cancel = context.WithCancel(ctx)
	ses.w.init(conn)
	ses.w.armed = ses.armed
	ses.w.writeTimeout = srv.set.write
	ses.s = mail.Session{
		Service: srv.Service, LMTP: srv.LMTP, LocalAddr: conn.LocalAddr(), RemoteAddr: conn.RemoteAddr(),
		Start: time.Now(),
	}
	ses.s.ID = ses.newID()
	ses.peerTrusted = srv.Trusted != nil && srv.Trusted(conn.RemoteAddr())
	ses.s.Trusted = ses.peerTrusted
	ses.st = state{
		lmtp: srv.LMTP, requireTLS: srv.RequireTLS, requireAuth: srv.RequireAuth, custom: srv.Commands,
		offerTLS: srv.TLSConfig != nil && !srv.ImplicitTLS, offerTrust: ses.peerTrusted,
		offerChunks: srv.set.ext&ExtChunking != 0, maxRcpts: srv.set.maxRcpts,
		rules: rules{
			ext: srv.set.ext, trusted: ses.peerTrusted, maxMessage: srv.set.maxMessage, maxHold: srv.set.maxHold,
			minBy: srv.MinDeliverBy, solicit: srv.NoSoliciting, mail: srv.MailParams, rcpt: srv.RcptParams,
			traceOctets: srv.set.maxTrace,
		},
	}
	return ses
}

func (ses *session) newID() string {
	if ses.srv.NewID != nil {
		return ses.srv.NewID()
	}
	return rand.Text()
}

func (ses *session) run() {
	ses.stop = context.AfterFunc(ses.ctx, func() { ses.raw.Close() })
	defer func() {
		if p := recover(); p != nil { // one session must not take the house with it
			ses.err = fmt.Errorf("panic: %v", p)
			if ses.srv.Log != nil {
				ses.srv.Log.Error("smtp: panic in a session", "id", ses.s.ID, "panic", p, "stack", string(debug.Stack()))
			}
		}
		ses.end()
	}()
	ses.ctx = sessionContext{ses.ctx, ses}
	if ses.srv.ImplicitTLS && !ses.negotiate() {
		return
	}
	ses.greet()
	for !ses.closing {
		ses.next()
	}
	if err := ses.w.flush(); err == nil && ses.rude {
		ses.linger()
	}
}

// end lets go of everything. The order matters: a Door must see its transaction end before its receiver.
func (ses *session) end() {
	ses.abort()
	ses.closeReceiver(nil)
	ses.w.conn.Close()
	ses.stop()
	ses.cancel()
	ses.w.release()
	ses.stats.Errors = ses.errs
	ses.stats.Duration = time.Since(ses.s.Start)
	ses.stats.Err = ses.err
	ses.log()
	if ses.srv.Ended != nil {
		ses.srv.Ended(&ses.s, ses.stats)
	}
}

func (ses *session) log() {
	if ses.srv.Log == nil {
		return
	}
	attrs := []any{
		"id", ses.s.ID, "service", ses.s.Service, "remote", addrText(ses.s.RemoteAddr), "hello", ses.s.Hello,
		"messages", ses.stats.Messages, "recipients", ses.stats.Recipients, "octets", ses.stats.Octets,
		"errors", ses.stats.Errors, "duration", ses.stats.Duration,
	}
	if ses.s.TLS != nil {
		attrs = append(attrs, "tls", tls.VersionName(ses.s.TLS.Version))
	}
	if ses.s.Login.Account != "" {
		attrs = append(attrs, "login", ses.s.Login.Account)
	}
	if ses.err != nil {
		attrs = append(attrs, "cause", ses.err.Error())
	}
	ses.srv.Log.Info("session", attrs...)
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// armed is asked after each read deadline was set. Shutdown first sets draining and then moves the deadline of an
// idle session to the past; whichever came first, one of the two is seen.
func (ses *session) armed() error {
	if ses.idle.Load() && ses.srv.gate.Draining() {
		return errDraining
	}
	if err := ses.ctx.Err(); err != nil {
		return err
	}
	return nil
}

// wake interrupts the wait for a command, if that is what the session does.
func (ses *session) wake() {
	if ses.idle.Load() {
		_ = ses.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// reply puts a reply into the output. 421 ends the session (RFC 5321 section 3.8).
func (ses *session) reply(r *mail.Reply) {
	enhanced := ses.set.ext&ExtEnhancedStatusCodes != 0 && (ses.st.extended || !ses.st.hello)
	ses.w.out = appendReply(ses.w.out, r, enhanced, ses.st.rules.utf8)
	if r.Code == 421 {
		ses.closing = true
		if ses.err == nil {
			ses.err = r
		}
	}
	if len(ses.w.out) > maxOut {
		if err := ses.w.flush(); err != nil {
			ses.fail(err)
		}
	}
}

// fail ends the session without a word.
func (ses *session) fail(err error) {
	ses.closing = true
	if ses.err == nil {
		ses.err = err
	}
	ses.w.out = ses.w.out[:0]
}

// refuse is a reply that counts as the peer's fault.
func (ses *session) refuse(r *mail.Reply) {
	ses.reply(r)
	if r.Code < 400 {
		return
	}
	if ses.errs++; ses.errs >= ses.set.maxErrors && !ses.closing && !ses.s.Trusted {
		ses.rude = true
		ses.reply(mail.NewReply(421, mail.Enhanced{4, 7, 0}, "Too many errors"))
	}
}

// next reads one command and does what it asks for.
func (ses *session) next() {
	if ses.tx == nil && ses.w.buffered() == 0 {
		ses.w.shrink()
	}
	line, err := ses.readLine(ses.maxLine())
	if err == nil && len(line)+2 > MaxLineOctets && !ses.peerTrusted && parseCommand(string(line[:5])).verb != verbAUTH {
		err = errLineTooLong
	}
	switch {
	case err == nil:
		ses.do(parseCommand(string(line)))
	case errors.Is(err, errLineTooLong):
		ses.refuse(mail.NewReply(500, mail.Enhanced{5, 5, 2}, "Line too long"))
	case errors.Is(err, errBareEnd):
		ses.refuse(mail.NewReply(500, mail.Enhanced{5, 5, 2}, "A line ends in CRLF and nothing else"))
	default:
		ses.lost(err)
	}
}

func (ses *session) maxLine() int {
	if ses.peerTrusted {
		return maxTrustedLineOctets
	}
	if ses.st.rules.auth { // AUTH with an initial response
		return MaxAuthLineOctets
	}
	return MaxLineOctets
}

// readLine waits for a line within the time for commands and for the session.
func (ses *session) readLine(max int) ([]byte, error) {
	ses.idle.Store(ses.tx == nil)
	ses.w.readTimeout, ses.w.until = ses.set.command, time.Now().Add(ses.set.command) // a line that drips in gets no more time
	if end := ses.s.Start.Add(ses.set.whole); end.Before(ses.w.until) {
		ses.w.until = end
	}
	if ses.tx == nil && ses.srv.gate.Draining() {
		return nil, errDraining
	}
	line, err := ses.w.line(max)
	ses.idle.Store(false)
	return line, err
}

// lost ends the session after a read that failed.
func (ses *session) lost(err error) {
	switch {
	case ses.srv.gate.Draining() && (errors.Is(err, errDraining) || isTimeout(err) && ses.tx == nil):
		ses.reply(mail.NewReply(421, mail.Enhanced{4, 3, 2}, "Service is stopping, please try again later"))
		ses.err = errDraining
	case isTimeout(err):
		ses.reply(mail.NewReply(421, mail.Enhanced{4, 4, 2}, "Timeout, closing connection"))
	case errors.Is(err, io.EOF):
		ses.fail(errors.New("peer went away"))
	default:
		ses.fail(err)
	}
}

// Octets and time for which a peer that was sent away is heard out, so that it gets to read why.
const (
	lingerOctets  = 1 << 20
	lingerTimeout = 2 * time.Second
)

// linger reads and throws away what the peer still sends: closing a socket with unread input resets the connection,
// and the peer might never see our last reply.
func (ses *session) linger() {
	half, ok := ses.w.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if ses.w.conn.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	for n := 0; n < lingerOctets && ses.ctx.Err() == nil; {
		m, err := ses.w.conn.Read(ses.w.buf)
		if err != nil {
			return
		}
		n += m
	}
}

// ask opens the Door at a stage. On a refusal the receiver of the earlier stage stays.
func (ses *session) ask(stage mail.Stage) *mail.Reply {
	ses.s.Stage = stage
	r, err := ses.set.door.Open(ses.ctx, &ses.s)
	if err != nil {
		return mail.AsReply(err)
	}
	ses.closeReceiver(r)
	ses.receiver = r
	return nil
}

// closeReceiver closes the receiver unless the next one is the same.
func (ses *session) closeReceiver(next mail.Receiver) {
	c, ok := ses.receiver.(io.Closer)
	if !ok {
		return
	}
	if next != nil && reflect.TypeOf(ses.receiver).Comparable() && any(next) == any(ses.receiver) {
		return
	}
	ses.receiver = nil
	if err := c.Close(); err != nil && ses.srv.Log != nil {
		ses.srv.Log.Warn("smtp: close receiver", "id", ses.s.ID, "error", err)
	}
}

// abort gives a running transaction up.
func (ses *session) abort() {
	if ses.tx != nil {
		tx := ses.tx
		ses.tx = nil
		if err := tx.Abort(); err != nil && ses.srv.Log != nil {
			ses.srv.Log.Warn("smtp: abort", "id", ses.s.ID, "error", err)
		}
	}
	ses.finish()
}

// finish forgets the transaction.
func (ses *session) finish() {
	ses.tx, ses.txs, ses.failure = nil, nil, nil
	ses.lines, ses.nuls = lineChecker{}, nulChecker{}
	ses.trace, ses.prefix, ses.got = 0, nil, 0
	ses.contents = time.Time{}
	ses.st.finished()
}
