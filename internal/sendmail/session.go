package sendmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// session lets the program speak SMTP with the house, or with us if nobody serves there.
func (p *Program) session(ctx context.Context) int {
	conn, err := p.Dial(ctx)
	if err != nil {
		return p.alone(ctx)
	}
	defer conn.Close()
	ended := make(chan error, 1)
	go func() { // ends with the connection
		_, err := io.Copy(conn, p.Stdin)
		if c, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = c.CloseWrite()
		}
		ended <- err
	}()
	if _, err := io.Copy(p.Stdout, conn); err != nil {
		return p.fail(ExitIO, err)
	}
	return ExitOK
}

// alone is an SMTP server that drops what it takes.
func (p *Program) alone(ctx context.Context) int {
	in, ok := p.Stdin.(*os.File)
	out, ok2 := p.Stdout.(*os.File)
	if !ok || !ok2 {
		return p.fail(ExitTempFail, errors.New("nobody serves, and this is no terminal or pipe"))
	}
	if _, err := os.Stat(p.DropDir); err != nil {
		return p.fail(ExitTempFail, fmt.Errorf("nobody serves, and mail cannot be dropped: %w", err))
	}
	srv := &smtp.Server{Door: mail.DoorFunc(func(context.Context, *mail.Session) (mail.Receiver, error) { return mail.ReceiverFunc(p.begin), nil }),
		Hostname: "localhost", Service: "sendmail", Extensions: smtp.DefaultExtensions | smtp.ExtDSN}
	srv.ServeConn(ctx, smtp.Stdio(in, out))
	return ExitOK
}

func (p *Program) begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	e := drop.Envelope{From: from.Address.Path(), EnvelopeID: from.EnvelopeID, EightBit: from.Body == mail.Body8Bit, UTF8: from.UTF8,
		Ret: map[mail.Ret]string{mail.RetFull: "full", mail.RetHeaders: "hdrs"}[from.Ret]}
	return &dropping{p: p, e: e, c: &content{}}, nil
}

// dropping is a transaction whose message is dropped.
type dropping struct {
	p     *Program
	e     drop.Envelope
	c     *content
	trace []mail.Field
}

func (d *dropping) Recipient(_ context.Context, r *mail.Recipient) error {
	d.e.To = append(d.e.To, r.Address.String())
	if n := r.Notify; n != 0 { // one for all: a file has no more
		d.e.Notify = notifyText(n)
	}
	return nil
}

func notifyText(n mail.Notify) string {
	var b bytes.Buffer
	for _, w := range []struct {
		n    mail.Notify
		text string
	}{{mail.NotifyNever, "never"}, {mail.NotifySuccess, "success"}, {mail.NotifyFailure, "failure"}, {mail.NotifyDelay, "delay"}} {
		if n&w.n != 0 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(w.text)
		}
	}
	return b.String()
}

func (d *dropping) Trace(fields ...mail.Field) { d.trace = append(d.trace, fields...) }

func (d *dropping) Write(b []byte) (int, error) { return len(b), d.c.write(b) }

func (d *dropping) Commit(context.Context) ([]mail.Reply, error) {
	defer d.c.close()
	var fields []byte
	for i := len(d.trace) - 1; i >= 0; i-- {
		fields = d.trace[i].Append(fields)
	}
	r, err := d.c.open(fields)
	if err != nil {
		return nil, err
	}
	id, err := drop.Put(d.p.DropDir, d.e, r)
	if err != nil {
		return nil, err
	}
	replies := make([]mail.Reply, len(d.e.To))
	for i := range replies {
		replies[i] = mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 0, 0}, Text: "dropped as " + id}
	}
	return replies, nil
}

func (d *dropping) Abort() error {
	d.c.close()
	return nil
}

// verify asks the house about each recipient.
func (p *Program) verify(ctx context.Context, o *Options) int {
	to, err := recipients(o, nil)
	if err != nil {
		return p.fail(ExitUsage, err)
	}
	c, err := p.dialer().Dial(ctx, "unix", "house")
	if err != nil {
		return p.fail(ExitTempFail, err)
	}
	defer c.Close()
	domain := c.Extensions()[drop.Keyword]
	if r, err := c.Command(ctx, "MAIL FROM:<>"); err != nil || !r.Positive() {
		return p.fail(ExitTempFail, errors.Join(err, r))
	}
	status := ExitOK
	for _, a := range to {
		r, err := c.Command(ctx, "RCPT TO:"+whole(a, domain).Path())
		switch {
		case err != nil:
			return p.fail(ExitTempFail, err)
		case r.Positive():
			fmt.Fprintf(p.Stdout, "%s... deliverable\n", a.String())
		case r.Permanent():
			fmt.Fprintf(p.Stdout, "%s... %s\n", a.String(), r.String())
			status = statusOf("RCPT", *r)
		default:
			fmt.Fprintf(p.Stdout, "%s... %s\n", a.String(), r.String())
			status = max(status, ExitTempFail)
		}
	}
	if err := c.Quit(ctx); err != nil {
		return p.fail(ExitIO, err)
	}
	return status
}
