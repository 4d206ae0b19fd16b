package smtp

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/samotop/samotop/mail"
)

// Message is what Client.Send takes.
type Message struct {
	mail.Envelope
	Session *mail.Session // whose facts go along as XFACTS on a trusted connection; nil: none
	Trace   []mail.Field  // in front of Body, the last on top
	Body    io.Reader     // content: CRLF lines unless Sender.Body is mail.BodyBinary; read once, streamed
	Size    int64         // octets of Body; 0: unknown (Sender.Size is then announced, if set)
	// Recode allows 8-bit or binary content to be re-encoded (message.Recoding) where the server does not take it; without
	// it such a message is refused. It is for content that nobody has signed. Body must be an io.ReadSeeker at its
	// beginning.
	Recode bool
}

// Result tells what became of a message. The peer has taken responsibility for exactly those recipients whose
// Reply is positive.
type Result struct {
	Recipients []RecipientResult // one for each of the envelope's, in order
	Sender     mail.Reply        // answer to MAIL; zero if it was never sent
	Data       mail.Reply        // answer to the end of content, or to DATA or BDAT if that refused; LMTP: the last one
	DSN        bool              // the peer offered DSN and was given NOTIFY, ORCPT, RET and ENVID
	Uncertain  bool              // content was sent to its end and no answer came: it may have been taken
}

// RecipientResult is the final answer for one recipient.
type RecipientResult struct {
	Reply   mail.Reply    // to RCPT if that refused, else to the content; temporary (4.4.2) if the connection broke
	Command string        // what Reply answers: "MAIL", "RCPT", "DATA", or "" if it is our own
	Targets []mail.Target // on a trusted connection: where the peer said it really goes
}

// maxFlight is how many octets of commands are under way before we read replies: both sides writing and nobody
// reading is a standstill (RFC 2920 section 3.1).
const maxFlight = 16 << 10

// sending is one Send.
type sending struct {
	c       *Client
	m       *Message
	res     *Result
	prefix  []byte // trace fields
	lines   []string
	waiting []int // recipients whose RCPT is under way
	ok      []int // recipients that were accepted
	mailed  bool  // MAIL is under way
	reset   bool  // RSET is under way
	useBDAT bool
	dataOut bool // DATA is under way
}

// Send sends one message to all its recipients and returns an answer for each. Error is not nil if the connection
// is of no more use; the Result is complete even then. A refusal by the peer is in the Result, not an error.
//
// MAIL, RCPT and DATA go in one round trip where PIPELINING is offered (RFC 2920), content by BDAT where CHUNKING is
// (RFC 3030). Content that holds a bare CR or LF without BodyBinary is refused with 554 5.6.0 and ends the connection.
func (c *Client) Send(ctx context.Context, m *Message) (*Result, error) {
	s := &sending{c: c, m: m, res: &Result{Recipients: make([]RecipientResult, len(m.Recipients))}}
	if c.broken != nil {
		s.lost(c.broken)
		return s.res, c.broken
	}
	done := c.begin(ctx)
	err := s.run()
	if err == nil && c.broken != nil {
		err = c.broken
	}
	if err = done(err); err != nil && c.broken == nil {
		c.broken = err
	}
	if err != nil {
		s.lost(err)
		return s.res, fmt.Errorf("smtp: send: %w", err)
	}
	return s.res, nil
}

func (s *sending) run() error {
	for i := len(s.m.Trace) - 1; i >= 0; i-- {
		s.prefix = s.m.Trace[i].Append(s.prefix)
	}
	stop, refusal, err := s.recode()
	defer stop()
	if refusal != nil {
		s.all("", refusal)
	}
	if refusal != nil || err != nil {
		return err
	}
	first, ok := s.plan()
	if !ok {
		return nil
	}
	s.c.sent++
	if err := s.envelope(first); err != nil {
		return err
	}
	if len(s.ok) == 0 {
		return s.nobody()
	}
	if s.useBDAT {
		return s.bdat()
	}
	return s.data()
}

// plan writes the lines and settles what needs no server. It reports whether anything is left to be sent.
func (s *sending) plan() (mailLine string, ok bool) {
	c := s.c
	s.res.DSN = c.ext.Has("DSN")
	s.useBDAT = c.ext.Has("CHUNKING") && (!c.d.NoChunking || s.m.Sender.Body == mail.BodyBinary)
	s.lines = make([]string, len(s.m.Recipients))
	utf8, left, max := false, 0, c.MaxRecipients()
	for i := range s.m.Recipients {
		r := &s.m.Recipients[i]
		line, refusal := c.rcptLine(r)
		if refusal == nil && max > 0 && left >= max {
			refusal = &replyTooMany
		}
		if refusal != nil {
			s.res.Recipients[i].Reply = *refusal
			continue
		}
		s.lines[i] = line
		left++
		utf8 = utf8 || r.Address.UTF8() && c.ext.Has("SMTPUTF8")
	}
	if left == 0 {
		return "", false
	}
	size := or(s.m.Size, s.m.Sender.Size)
	trace := 0
	if c.d.Trusted && c.ext.Has("XTRACE") {
		trace = len(s.prefix)
	} else if size > 0 {
		size += int64(len(s.prefix))
	}
	mailLine, refusal := c.mailLine(&s.m.Sender, s.m.Session, size, utf8, trace)
	if refusal != nil {
		s.all("", refusal)
		return "", false
	}
	return mailLine, true
}

// all gives everybody who has no answer yet this one.
func (s *sending) all(command string, r *mail.Reply) {
	for i := range s.res.Recipients {
		if rr := &s.res.Recipients[i]; rr.Reply.Code == 0 {
			rr.Reply, rr.Command = *r, command
		}
	}
}

// lost answers for those whose answer will not come.
func (s *sending) lost(err error) {
	r := mail.NewReply(451, mail.Enhanced{4, 4, 2}, "Connection was lost").Because(err)
	if reply := mail.AsReply(err); reply.Code == 421 && reply.Cause == nil {
		r = reply
	}
	s.all("", r)
}

// envelope sends MAIL, RCPT and, if it goes with them, DATA, and reads what is said to them.
func (s *sending) envelope(first string) error {
	c := s.c
	pipe := c.ext.Has("PIPELINING")
	if c.dirty {
		c.put("RSET")
		s.reset = true
	}
	c.put(first)
	s.mailed = true
	flight := len(first)
	for i, line := range s.lines {
		if line == "" {
			continue
		}
		if !pipe || flight+len(line) > maxFlight {
			if err := s.answers(); err != nil || !s.res.Sender.Positive() {
				return err
			}
			flight = 0
		}
		c.put(line)
		s.waiting = append(s.waiting, i)
		flight += len(line)
	}
	if pipe && !s.useBDAT {
		c.put("DATA")
		s.dataOut = true
	}
	return s.answers()
}

// answers reads the replies that are due, but that to DATA.
func (s *sending) answers() error {
	c := s.c
	if s.reset {
		s.reset = false
		r, err := c.read(or(c.d.QuitTimeout, time.Minute))
		if err != nil {
			return err
		}
		c.dirty = !r.Positive()
	}
	if s.mailed {
		s.mailed = false
		r, err := c.read(or(c.d.MailTimeout, 5*time.Minute))
		if err != nil {
			return err
		}
		if r.Code == 421 && c.sent > 1 { // said while the connection lay idle: it is no answer to this message
			return c.broken
		}
		s.res.Sender = *r
		if !r.Positive() {
			s.all("MAIL", refusing(r))
		} else {
			c.dirty = true
		}
	}
	for len(s.waiting) > 0 {
		i := s.waiting[0]
		r, err := c.read(or(c.d.RcptTimeout, 5*time.Minute))
		if err != nil {
			return err
		}
		s.waiting = s.waiting[1:]
		rr := &s.res.Recipients[i]
		switch {
		case rr.Reply.Code != 0: // MAIL was refused
		case r.Positive():
			rr.Targets = c.targets(r)
			s.ok = append(s.ok, i)
		default:
			rr.Reply, rr.Command = *refusing(r), "RCPT"
		}
	}
	return nil
}

// nobody ends a transaction in which no recipient was accepted. A server that says 354 even so gets an empty message
// that it has to refuse (RFC 2920 section 3.1).
func (s *sending) nobody() error {
	if !s.dataOut {
		return nil
	}
	r, err := s.c.read(or(s.c.d.DataTimeout, 2*time.Minute))
	if err != nil || r.Code != 354 {
		return err
	}
	s.c.put(".")
	_, err = s.c.read(or(s.c.d.EndTimeout, 10*time.Minute))
	if err == nil {
		s.c.dirty = false
	}
	return err
}

// data sends the content by DATA.
func (s *sending) data() error {
	c := s.c
	if !s.dataOut {
		c.put("DATA")
	}
	r, err := c.read(or(c.d.DataTimeout, 2*time.Minute))
	if err != nil {
		return err
	}
	if r.Code != 354 {
		s.res.Data = *refusing(r)
		s.all("DATA", &s.res.Data)
		return nil
	}
	out := newBlockWriter(c)
	defer out.free()
	enc := &dotEncoder{w: out}
	if _, err = enc.Write(s.prefix); err == nil {
		if err = s.copy(enc, s.m.Body); err == nil {
			s.res.Uncertain = true // from here on the end may arrive, whatever we are told about writing it
			if err = enc.Close(); err == nil {
				err = out.flush()
			}
		}
	}
	if err != nil {
		return s.cut(err)
	}
	return s.final()
}

func (s *sending) copy(w io.Writer, r io.Reader) error {
	buf := largeBuffers.Get().(*[largeOctets]byte)
	defer largeBuffers.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf[:])
	return err
}

// cut ends a connection on which content was not sent to its end; the server must not take what it got for the whole.
// If the server has said why before it closed, that is the answer.
func (s *sending) cut(err error) error {
	c := s.c
	if err == errSmuggle { //nolint:errorlint // our own, unwrapped
		c.broken, s.res.Uncertain = err, false
		s.all("", mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Message has bare CR or LF and cannot be sent"))
		return err
	}
	if c.ctx.Err() == nil && isWriteError(err) {
		c.w.out = c.w.out[:0]
		if r, rerr := c.read(5 * time.Second); rerr == nil && r.Code >= 400 {
			s.res.Data, s.res.Uncertain = *r, false
			s.all("DATA", r)
		}
	}
	c.broken = err
	return err
}

// final reads the answer to the content: one, or in LMTP one for each accepted recipient.
func (s *sending) final() error {
	s.res.Uncertain = true
	for n, i := range s.ok {
		if n == 0 || s.c.d.LMTP {
			r, err := s.c.read(or(s.c.d.EndTimeout, 10*time.Minute))
			if err != nil {
				return err
			}
			if !r.Positive() {
				r = refusing(r)
			}
			s.res.Data = *r
		}
		rr := &s.res.Recipients[i]
		rr.Reply, rr.Command = s.res.Data, "DATA"
	}
	s.res.Uncertain = false
	s.c.dirty = false
	return nil
}
