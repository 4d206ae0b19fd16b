// Package sendmail is the command of that name: the way by which programs of this machine have sent mail for forty years.
//
//	o, err := sendmail.Parse(args)
//	p := &sendmail.Program{Dial: dial, DropDir: dir, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
//	os.Exit(p.Run(ctx, o))
//
// It hands the message to the house by DIR/spool/submit.sock, where the kernel tells the house who the user is. If nobody
// serves there, or the house has no time, the message is dropped in DIR/spool/drop, which the house takes when it comes.
//
// Promises. The command ends with 0 only when the message is on disk, in the queue or dropped. If the answer of the house is
// lost, the message is dropped under the same token, and the house keeps it once. It has no rights but the user's own. Exit
// statuses are those of sysexits.h.
package sendmail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/smtp"
)

// Exit statuses (sysexits.h).
const (
	ExitOK          = 0
	ExitUsage       = 64 // the command line is wrong
	ExitData        = 65 // the message is wrong
	ExitNoUser      = 67 // there is no such recipient
	ExitNoHost      = 68 // there is no such domain
	ExitUnavailable = 69 // refused for another reason
	ExitSoftware    = 70
	ExitIO          = 74
	ExitTempFail    = 75 // later perhaps
	ExitNoPerm      = 77 // the user may not
)

// Program is the command with its surroundings. All fields but Clock are required.
type Program struct {
	Dial     func(ctx context.Context) (net.Conn, error) // to the house
	DropDir  string
	User     string // login name of who runs the command
	FullName string // of the same; "" if nothing is known
	Stdin    io.Reader
	Stdout   io.Writer
	Stderr   io.Writer
	Clock    func() time.Time // nil: time.Now
}

// Run does what the options ask and returns the exit status. The modes List, Aliases and Flush are the caller's.
func (p *Program) Run(ctx context.Context, o *Options) int {
	switch o.Mode {
	case Session:
		return p.session(ctx)
	case Verify:
		return p.verify(ctx, o)
	}
	c, err := read(p.Stdin, !o.IgnoreDots)
	switch {
	case errors.Is(err, errTooLong):
		return p.fail(ExitUnavailable, err)
	case err != nil:
		return p.fail(ExitIO, err)
	}
	defer c.close()
	to, err := recipients(o, c.header)
	if err != nil {
		return p.fail(ExitUsage, err)
	}
	return p.send(ctx, &sending{p: p, o: o, c: c, to: to, token: rand.Text()})
}

func (p *Program) fail(status int, err error) int {
	fmt.Fprintln(p.Stderr, "sendmail:", err)
	return status
}

// recipients gathers those of the command line and, with -t, those of the header.
func recipients(o *Options, header []byte) ([]mail.Address, error) {
	var out []mail.Address
	seen := map[mail.Address]bool{}
	add := func(list []message.AddressOrGroup) (broken string) {
		for _, a := range flat(list) {
			if a.Address.Local == "" {
				return a.Name
			}
			if !seen[a.Address] {
				seen[a.Address] = true
				out = append(out, a.Address)
			}
		}
		return ""
	}
	for _, r := range o.Recipients {
		list := message.ParseAddressList([]byte(r))
		if broken := add(list); broken != "" || len(list) == 0 {
			return nil, &UsageError{fmt.Sprintf("%q is not an address", r)}
		}
	}
	if o.Extract {
		h := message.ParseHeader(header)
		for _, name := range recipientFields(&h) {
			for _, v := range h.Values(name) {
				if broken := add(message.ParseAddressList(v)); broken != "" {
					return nil, &UsageError{fmt.Sprintf("%s: %q is not an address", name, broken)}
				}
			}
		}
	}
	switch {
	case len(out) == 0 && o.Extract:
		return nil, &UsageError{"the header has no recipients: To, Cc and Bcc are missing or empty"}
	case len(out) == 0:
		return nil, &UsageError{"there are no recipients: name them, or give -t to take them from the header"}
	case len(out) > drop.MaxRecipients:
		return nil, &UsageError{fmt.Sprintf("%d recipients, more than the %d that one message may have", len(out), drop.MaxRecipients)}
	}
	return out, nil
}

// recipientFields are those of a message that is sent again, if there are any (RFC 5322 section 3.6.6).
func recipientFields(h *message.Header) []string {
	resent := []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
	for _, name := range resent {
		if h.Has(name) {
			return resent
		}
	}
	return []string{"To", "Cc", "Bcc"}
}

func flat(list []message.AddressOrGroup) (out []message.AddressOrGroup) {
	for _, a := range list {
		if a.Group {
			out = append(out, flat(a.Members)...)
		} else {
			out = append(out, a)
		}
	}
	return out
}

// sending is one message on its way to the house.
type sending struct {
	p     *Program
	o     *Options
	c     *content
	to    []mail.Address // who is not refused yet
	token string
	worst int // exit status for those who are
}

func (p *Program) send(ctx context.Context, s *sending) int {
	cause := s.hand(ctx)
	if cause == nil || len(s.to) == 0 {
		return s.worst
	}
	if err := s.drop(); err != nil {
		return p.fail(ExitTempFail, fmt.Errorf("the house does not take the message (%w), and it cannot be dropped in %s: %w", cause, p.DropDir, err))
	}
	if s.o.Verbose {
		fmt.Fprintf(p.Stdout, "dropped, for the house to take it later: %v\n", cause)
	}
	return s.worst
}

// dialer speaks to the house: on this machine, so nothing takes long.
func (p *Program) dialer() *smtp.Dialer {
	return &smtp.Dialer{Hello: "localhost", TLS: smtp.TLSNever, ConnectTimeout: 10 * time.Second, BannerTimeout: 30 * time.Second, HelloTimeout: 30 * time.Second,
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.Dial(ctx) }}
}

// hand gives the message to the house. An error says that s.to wait still; who is refused for good is told and taken from it.
func (s *sending) hand(ctx context.Context) error {
	c, err := s.p.dialer().Dial(ctx, "unix", "house")
	if err != nil {
		return err
	}
	defer c.Close()
	domain := c.Extensions()[drop.Keyword]
	if domain == "" {
		return errors.New("who answers there is not a house")
	}
	from, err := s.sender(domain)
	if err != nil {
		s.refuse(mail.Reply{Code: 553, Enhanced: mail.Enhanced{5, 1, 7}, Text: err.Error()})
		return nil
	}
	m := &smtp.Message{Envelope: mail.Envelope{Sender: from}}
	for _, a := range s.to {
		m.Recipients = append(m.Recipients, mail.Recipient{Address: whole(a, domain), Notify: notifyOf(s.o.Notify)})
	}
	m.Sender.UTF8 = s.utf8()
	if m.Body, err = s.c.open(s.added(domain)); err != nil {
		return err
	}
	res, err := c.Send(ctx, m)
	if res == nil {
		return err
	}
	if waits := s.sort(res); waits != nil {
		return waits
	}
	if s.o.Verbose && res.Data.Positive() {
		fmt.Fprintln(s.p.Stdout, res.Data.Text)
	}
	if err := c.Quit(ctx); err != nil && s.o.Verbose {
		fmt.Fprintln(s.p.Stderr, "sendmail: the house said no goodbye:", err)
	}
	return nil
}

// sort tells who is refused, and leaves in s.to who is put off.
func (s *sending) sort(res *smtp.Result) (waits error) {
	var left []mail.Address
	for i := range res.Recipients {
		r := res.Recipients[i].Reply
		switch {
		case r.Positive():
		case r.Permanent():
			fmt.Fprintf(s.p.Stderr, "sendmail: %s: %s\n", s.to[i].String(), r.String())
			s.worst = statusOf(res.Recipients[i].Command, r)
		default:
			left = append(left, s.to[i])
			waits = &r
		}
	}
	s.to = left
	return waits
}

func (s *sending) refuse(r mail.Reply) {
	fmt.Fprintf(s.p.Stderr, "sendmail: %s\n", r.String())
	s.worst, s.to = statusOf("MAIL", r), nil
}

// statusOf gives the exit status for a permanent refusal.
func statusOf(command string, r mail.Reply) int {
	switch e := r.Enhanced; {
	case e[1] == 1 && e[2] == 2:
		return ExitNoHost
	case command == "RCPT" && (e[1] == 1 || r.Code == 550 && e[1] == 0):
		return ExitNoUser
	case e[1] == 7:
		return ExitNoPerm
	case e[1] == 6 || command == "MAIL" && e[1] == 1:
		return ExitData
	}
	return ExitUnavailable
}

func whole(a mail.Address, domain string) mail.Address {
	if a.Domain == "" {
		a.Domain = domain
	}
	return a
}

func (s *sending) utf8() bool {
	for _, a := range s.to {
		if a.UTF8() {
			return true
		}
	}
	return strings.ContainsFunc(s.o.From, func(r rune) bool { return r >= 0x80 })
}

// sender is the envelope's.
func (s *sending) sender(domain string) (mail.Sender, error) {
	from := mail.Sender{EnvelopeID: drop.TokenPrefix + s.token + ":" + s.o.EnvelopeID}
	if s.eightBit() {
		from.Body = mail.Body8Bit
	}
	switch s.o.Ret {
	case "full":
		from.Ret = mail.RetFull
	case "hdrs":
		from.Ret = mail.RetHeaders
	}
	switch s.o.From {
	case "<>":
		return from, nil
	case "":
		from.Address = mail.Address{Local: s.p.User, Domain: domain}
		return from, nil
	}
	var err error
	if from.Address, err = drop.Address(s.o.From, domain); err != nil {
		return from, fmt.Errorf("-f %s: %w", s.o.From, err)
	}
	return from, nil
}

func (s *sending) eightBit() bool {
	return s.c.eightBit && s.o.Body != "7BIT" || s.o.Body == "8BITMIME"
}

// added are the fields that the header lacks and that only this moment and this user know.
func (s *sending) added(domain string) []byte {
	h := message.ParseHeader(s.c.header)
	var b []byte
	if !h.Has("Date") {
		now := time.Now
		if s.p.Clock != nil {
			now = s.p.Clock
		}
		b = append(b, message.FoldField("Date", message.FormatDate(now()))...)
	}
	if !h.Has("From") {
		a := mail.Address{Local: s.p.User, Domain: domain}
		if list := message.ParseAddressList([]byte(s.o.From)); len(list) == 1 && list[0].Address.Local != "" {
			a = whole(list[0].Address, domain)
		}
		name := s.o.FullName
		if name == "" && s.o.From == "" {
			name = s.p.FullName
		}
		b = append(b, message.FoldField("From", message.FormatAddressList([]message.AddressOrGroup{{Name: name, Address: a}}, false))...)
	}
	return b
}

// drop keeps the message until the house comes.
func (s *sending) drop() error {
	e := drop.Envelope{From: s.o.From, EnvelopeID: s.o.EnvelopeID, Ret: s.o.Ret, Notify: s.o.Notify, EightBit: s.eightBit(), UTF8: s.utf8(), Token: s.token}
	for _, a := range s.to {
		e.To = append(e.To, a.String())
	}
	r, err := s.c.open(s.added(""))
	if err != nil {
		return err
	}
	_, err = drop.Put(s.p.DropDir, e, r)
	return err
}

func notifyOf(s string) (n mail.Notify) {
	for _, w := range strings.Split(s, ",") {
		n |= map[string]mail.Notify{"never": mail.NotifyNever, "success": mail.NotifySuccess, "failure": mail.NotifyFailure, "delay": mail.NotifyDelay}[w]
	}
	return n
}
