package smtp

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// A server that is not one of ours can be asked whom it would take mail for, and from whom, although it is to get none: with
// Link.AskOnly the envelope goes to it, the content does not, and its answers to RCPT are the last word. Whose mail it is, it is told
// by XCLIENT where it offers that to us.

// wordClient is Postfix's XCLIENT (XCLIENT_README), which Dovecot has too.
const wordClient = "XCLIENT"

// asks reports whether a server is asked only: one of ours understands more, and gets the content.
func (l *Link) asks(c *Client) bool { return l.AskOnly && !c.ext.Has("XFACTS") }

// beginAsking tells the server for whom we ask, and sends MAIL with the address alone: what else the content needs of a server it
// need not have.
func (l *Link) beginAsking(ctx context.Context, c *Client, s *mail.Session, from *mail.Sender) (*mail.Reply, error) {
	if reply, err := c.speakFor(ctx, s); err != nil || !reply.Positive() {
		return reply, err
	}
	reply, _, err := c.mailFrom(ctx, nil, &mail.Sender{Address: from.Address, UTF8: from.UTF8}, "")
	return reply, err
}

// speakFor makes the connection one of the client that the session is of. A server that refuses what it offers is asked without,
// by a connection that is nobody's yet: 421 says that this one is somebody else's.
func (c *Client) speakFor(ctx context.Context, s *mail.Session) (*mail.Reply, error) {
	ok := mail.OK()
	line := clientLine(c.ext[wordClient], s)
	if line == c.spokeFor {
		return &ok, nil
	}
	others := c.spokeFor != ""
	if line == "" {
		if others {
			return replyOthers, nil
		}
		return &ok, nil
	}
	done := c.begin(ctx)
	reply, err := c.command(or(c.d.HelloTimeout, 5*time.Minute), line)
	if err == nil && reply.Code == 220 { // the session begins anew
		c.dirty = false
		if err = c.hello(); err == nil {
			c.spokeFor = line
		}
	}
	if err = done(err); err != nil {
		return nil, err
	}
	if reply.Code == 421 {
		return reply, nil
	}
	if others && c.spokeFor != line {
		return replyOthers, nil
	}
	return &ok, nil
}

var replyOthers = mail.NewReply(421, mail.Enhanced{4, 3, 0}, "The connection is another client's")

// clientLine is the command, with the attributes that are offered; "" if there is nothing to say.
func clientLine(offered string, s *mail.Session) string {
	if s == nil {
		return ""
	}
	ip, _ := mail.IPOf(s.RemoteAddr)
	addr, port, proto := "", "", "SMTP"
	if ip = ip.Unmap().WithZone(""); ip.IsValid() {
		if addr = ip.String(); ip.Is6() {
			addr = "IPV6:" + addr
		}
		if p := addrPort(s.RemoteAddr); p != (netip.AddrPort{}) && p.Port() != 0 {
			port = strconv.Itoa(int(p.Port()))
		}
	}
	if s.Extended {
		proto = "ESMTP"
	}
	values := map[string]string{"ADDR": addr, "PORT": port, "NAME": s.RemoteName, "HELO": s.Hello, "PROTO": proto, "LOGIN": s.Login.Account}
	b := strings.Builder{}
	for name := range strings.FieldsSeq(offered) {
		name = strings.ToUpper(name)
		value, known := values[name]
		if !known {
			continue
		}
		if value == "" {
			value = "[UNAVAILABLE]"
		}
		b.WriteString(" " + name + "=" + mail.EncodeXtext(value))
	}
	if b.Len() == 0 || addr == "" || b.Len() > maxTrustedLineOctets/4 {
		return ""
	}
	return wordClient + b.String()
}

// askTx is a transaction without content.
type askTx struct{ tx *linkTx }

var (
	_ mail.Transaction = askTx{}
	_ mail.Settler     = askTx{}
)

// Recipient asks about the address alone.
func (a askTx) Recipient(ctx context.Context, r *mail.Recipient) error {
	asked := mail.Recipient{Address: r.Address}
	err := a.tx.Recipient(ctx, &asked)
	if err == nil && asked.Targets != nil {
		r.Targets = asked.Targets
	}
	return err
}

func (a askTx) Trace(...mail.Field) {}

func (a askTx) Write(p []byte) (int, error) {
	if a.tx.c == nil {
		return 0, ErrClosed
	}
	return len(p), nil
}

// Prepare says what Commit will.
func (a askTx) Prepare(context.Context) ([]mail.Reply, error) {
	if a.tx.c == nil {
		return nil, ErrClosed
	}
	replies := make([]mail.Reply, a.tx.accepted)
	for i := range replies {
		replies[i] = mail.OK()
	}
	return replies, nil
}

func (a askTx) Commit(ctx context.Context) ([]mail.Reply, error) {
	replies, err := a.Prepare(ctx)
	if err == nil {
		a.tx.leave()
	}
	return replies, err
}

// Settled is of mail.Settler: the verdict is there.
func (a askTx) Settled() bool { return a.tx.c != nil && a.tx.accepted > 0 }

func (a askTx) Abort() error { return a.tx.Abort() }
