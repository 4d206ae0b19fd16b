package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// conn is one connection with its session: it does what state says, in one goroutine.
type conn struct {
	wire
	srv    *Server
	limits Limits
	remote net.Addr

	st       state
	sess     mail.Session
	drop     Drop
	octets   int64 // of the messages that are not marked
	errs     int   // senseless commands in a row
	failures int   // failed logins
	over     bool
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, limits: s.Limits.withDefaults(), remote: nc.RemoteAddr()}
	c.nc, c.writeTimeout, c.grace = nc, c.limits.WriteTimeout, c.limits.DrainTime
	c.in = bufio.NewReaderSize(&c.wire, inOctets)
	if b, ok := s.bufs.Get().(*[]byte); ok {
		c.out = (*b)[:0]
	} else {
		c.out = make([]byte, 0, outOctets)
	}
	return c
}

func (c *conn) serve(ctx context.Context) {
	c.sess = mail.Session{
		ID: c.srv.newID(), Service: c.srv.Service, LocalAddr: c.nc.LocalAddr(), RemoteAddr: c.remote, Start: time.Now(),
	}
	if c.sess.Service == "" {
		c.sess.Service = "mailbox"
	}
	log := c.srv.log().With("session", c.sess.ID)
	defer c.cleanup(ctx)
	defer func() { // one hostile session must not take the house down
		if r := recover(); r != nil {
			log.Error("pop3: session failed", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	if c.srv.ImplicitTLS {
		if err := c.handshake(ctx); err != nil {
			log.Debug("pop3: TLS handshake failed", "err", err)
			return
		}
	}
	c.refresh()
	host := c.srv.Hostname
	if host != "" {
		host = " " + host
	}
	c.line("+OK" + host + " POP3 ready") // without the timestamp of APOP
	for n := 0; !c.over; n++ {
		if n == c.limits.Commands {
			c.line("-ERR [SYS/TEMP] too many commands")
			break
		}
		if err := c.next(ctx); err != nil {
			c.farewell(err)
			if !quiet(err) {
				log.Debug("pop3: session ended", "err", err)
			}
			break
		}
	}
	_ = c.flush()
	_ = c.nc.Close() // under TLS, with its own good-bye
}

// farewell tells a client that is still there why it has to go. Nothing is deleted (RFC 1939 section 3).
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errDrain):
		c.line("-ERR [SYS/TEMP] server is stopping, nothing was deleted")
	case errors.Is(err, errEndless):
		c.line("-ERR command line is too long")
	case isTimeout(err):
		c.line("-ERR idle for too long, nothing was deleted")
	}
}

// cleanup gives back what the session holds.
func (c *conn) cleanup(ctx context.Context) {
	c.closeDrop(ctx)
	if cap(c.out) <= keepOctets {
		b := c.out[:0]
		c.srv.bufs.Put(&b)
	}
	c.out = nil
}

func (c *conn) closeDrop(ctx context.Context) {
	if c.drop == nil {
		return
	}
	if err := c.drop.Close(); err != nil {
		c.srv.log().WarnContext(ctx, "pop3: closing maildrop failed", "session", c.sess.ID, "err", err)
	}
	c.drop = nil
}

// refresh tells the state what may be offered.
func (c *conn) refresh() {
	c.st.tls = c.sess.TLS != nil
	c.st.offerTLS = c.srv.TLSConfig != nil
	c.st.offerUser = false
	for _, m := range c.mechanisms() {
		c.st.offerUser = c.st.offerUser || m == "PLAIN"
	}
}

func (c *conn) mechanisms() []string {
	if c.srv.Auth == nil || c.srv.Backend == nil {
		return nil
	}
	return c.srv.Auth.Mechanisms(&c.sess)
}

func (c *conn) handshake(ctx context.Context) error {
	if c.srv.TLSConfig == nil {
		return errors.New("pop3: no TLS configuration")
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.LoginTimeout)
	defer cancel()
	_ = c.nc.SetDeadline(time.Time{}) // the context bounds it
	t := tls.Server(c.nc, c.srv.TLSConfig)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	cs := t.ConnectionState()
	c.mu.Lock()
	c.nc = t
	c.mu.Unlock()
	c.sess.TLS = &cs
	return nil
}

// next reads one command and does what it asks for.
func (c *conn) next(ctx context.Context) error {
	c.before = time.Now().Add(c.limits.IdleTimeout)
	limit := c.limits.LineOctets
	if c.st.phase == phaseAuthorization {
		c.before = c.sess.Start.Add(c.limits.LoginTimeout)
		limit = c.limits.AuthOctets
	}
	b, err := c.readLine(limit)
	if errors.Is(err, errLineTooLong) || err == nil && len(b)+2 > c.limits.LineOctets && !isAuth(b) {
		return c.senseless("-ERR command line is too long")
	}
	if err != nil {
		return err
	}
	return c.do(ctx, c.st.step(string(b)))
}

// isAuth: an initial response may be longer than other commands (RFC 5034 section 4).
func isAuth(b []byte) bool { return len(b) > 5 && upper(string(b[:5])) == "AUTH " }

func (c *conn) senseless(reply string) error {
	c.line(reply)
	if c.errs++; c.errs >= c.limits.Errors {
		c.over = true
	}
	return c.spill()
}

// do performs an action.
func (c *conn) do(ctx context.Context, a action) error {
	if a.kind == doUnknown {
		return c.senseless(a.reply)
	}
	c.errs = 0
	switch a.kind {
	case doReply:
		c.line(a.reply)
	case doPass:
		return c.pass(ctx, a.arg)
	case doAuth:
		return c.auth(ctx, a.arg)
	case doTLS:
		return c.startTLS(ctx, a.reply)
	case doCapa:
		c.capa()
	case doMechs:
		c.list("+OK mechanisms follow", c.mechanisms())
	case doLangs:
		c.line("+OK languages follow")
		for _, l := range languages {
			c.line(l[0] + " " + l[1])
		}
		c.line(".")
	case doStat:
		c.out = append(c.out, "+OK "...)
		c.out = strconv.AppendInt(c.out, int64(c.st.n-c.st.marks), 10)
		c.out = append(c.out, ' ')
		c.out = strconv.AppendInt(c.out, c.octets, 10)
		c.line("")
	case doList, doUIDL:
		return c.listing(a.kind)
	case doListOne, doUIDLOne:
		c.out = append(c.out, "+OK "...)
		c.listOne(a.kind, a.num)
	case doRetrieve:
		return c.retrieve(ctx, a)
	case doNoteMark:
		c.noteMark(a)
	case doUpdate:
		c.update(ctx)
	case doEnd:
		c.line(a.reply)
		c.over = true
	}
	return c.spill()
}

// list answers with a line for each word.
func (c *conn) list(first string, words []string) {
	c.line(first)
	for _, w := range words {
		c.line(w)
	}
	c.line(".")
}

// startTLS is STLS (RFC 2595 section 4).
func (c *conn) startTLS(ctx context.Context, reply string) error {
	c.in.Reset(&c.wire) // whatever came before the handshake came in the clear: it is never run
	c.line(reply)
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.st.secured()
	c.refresh()
	return nil
}

// capa lists what holds in this state of the session (RFC 2449 section 5).
func (c *conn) capa() {
	words := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG"}
	if d := c.limits.LoginInterval; d > 0 {
		words = append(words, "LOGIN-DELAY "+strconv.Itoa(int((d+time.Second-1)/time.Second)))
	}
	if c.st.offerTLS && !c.st.tls { // these are told in both states (RFC 2449 section 6.2, RFC 2595 section 4)
		words = append(words, "STLS")
	}
	if c.st.offerUser {
		words = append(words, "USER")
	}
	if mechs := c.mechanisms(); len(mechs) > 0 {
		words = append(words, "SASL "+strings.Join(mechs, " "))
	}
	impl := c.srv.Implementation
	if impl == "" {
		impl = "samotop"
	}
	c.list("+OK capabilities follow", append(words, "IMPLEMENTATION "+impl))
}

// noteMark answers DELE and RSET.
func (c *conn) noteMark(a action) {
	if c.st.marks == 0 {
		c.octets = c.total()
	} else {
		c.octets -= c.drop.Size(a.num)
	}
	c.setMarked(c.st.marks > 0)
	c.line(a.reply)
}

func (c *conn) total() (n int64) {
	for i := range c.st.n {
		n += c.drop.Size(i)
	}
	return n
}

// listing answers LIST and UIDL without an argument.
func (c *conn) listing(k kind) error {
	if k == doList {
		c.line("+OK " + strconv.Itoa(c.st.n-c.st.marks) + " messages (" + strconv.FormatInt(c.octets, 10) + " octets)")
	} else {
		c.line("+OK unique-ids follow")
	}
	for i := range c.st.n {
		if c.st.isMarked(i) {
			continue
		}
		c.listOne(k, i)
		if err := c.spill(); err != nil {
			return err
		}
	}
	c.line(".")
	return c.spill()
}

func (c *conn) listOne(k kind, i int) {
	c.out = strconv.AppendInt(c.out, int64(i+1), 10)
	c.out = append(c.out, ' ')
	if k == doList || k == doListOne {
		c.out = strconv.AppendInt(c.out, c.drop.Size(i), 10)
	} else {
		c.out = c.drop.AppendUIDL(c.out, i)
	}
	c.line("")
}

// update is the UPDATE state (RFC 1939 section 6): what is marked goes, durably before +OK, and the lock is given back.
func (c *conn) update(ctx context.Context) {
	c.over = true
	var err error
	if c.st.marks > 0 {
		err = c.drop.Delete(ctx, c.st.markedList())
	}
	c.closeDrop(ctx)
	if err != nil {
		c.failed(ctx, err, "some deleted messages were not removed")
		return
	}
	c.line("+OK bye")
}

// failed answers a command that could not be done.
func (c *conn) failed(ctx context.Context, err error, text string) {
	var e *Error
	if errors.As(err, &e) {
		if e.Cause != nil {
			c.srv.log().WarnContext(ctx, "pop3: command failed", "session", c.sess.ID, "account", c.sess.Login.Account, "err", err)
		}
		c.refuse(e.Code, e.Text)
		return
	}
	c.srv.log().ErrorContext(ctx, "pop3: command failed", "session", c.sess.ID, "account", c.sess.Login.Account, "err", err)
	c.refuse("SYS/TEMP", text)
}

func (c *conn) refuse(code, text string) {
	if code != "" {
		code = "[" + code + "] "
	}
	c.line("-ERR " + code + strings.Map(printable, text))
}

// printable keeps texts to one line of ASCII.
func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}
