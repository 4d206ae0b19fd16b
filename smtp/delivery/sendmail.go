package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Sendmail gives each message to a program as sendmail(8) takes it: the sender after -f, the recipients as arguments,
// the content with LF on standard input. Exit codes are those of sysexits.h: 0 took it, 75 and a few more are
// temporary, the rest is for good.
type Sendmail struct {
	Command []string      // program and first arguments; nil: sendmail -i
	Timeout time.Duration // of one message; 0: 5 minutes
}

var _ mail.Door = (*Sendmail)(nil)

// Check reports a program that cannot be found.
func (d *Sendmail) Check() error {
	_, err := exec.LookPath(d.command()[0])
	return err
}

func (d *Sendmail) command() []string {
	if len(d.Command) == 0 {
		return []string{"sendmail", "-i"}
	}
	return d.Command
}

func (d *Sendmail) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }

// Begin accepts any sender.
func (d *Sendmail) Begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	return newSpooled(from, "", d.run)
}

// maxSaid is how much of what the program says is kept for the log, in octets.
const maxSaid = 1 << 10

// said keeps the beginning of what is written to it.
type said struct{ bytes.Buffer }

func (s *said) Write(p []byte) (int, error) {
	if room := maxSaid - s.Len(); room > 0 {
		s.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (d *Sendmail) run(ctx context.Context, from mail.Sender, to []mail.Recipient, content io.Reader) ([]mail.Reply, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	args := append([]string(nil), d.command()...)
	sender := from.Address.String()
	if sender == "" {
		sender = "<>"
	}
	args = append(args, "-f", sender, "--")
	for _, r := range to {
		args = append(args, r.Address.String())
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	var out said
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, failed("sendmail", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, failed("sendmail", err)
	}
	_, werr := io.Copy(&lfWriter{w: in}, content)
	err = errors.Join(werr, in.Close())
	if rerr := cmd.Wait(); rerr != nil {
		return nil, exitReply(rerr, out.String())
	}
	if err != nil { // it said yes without having read everything
		return nil, failed("sendmail", err)
	}
	return all(len(to), mail.OK()), nil
}

// exitReply reads an exit code of sysexits.h.
func exitReply(err error, text string) error {
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	cause := errors.Join(err, errors.New(strings.TrimSpace(text)))
	switch code {
	case 67, 68: // EX_NOUSER, EX_NOHOST
		return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user").Because(cause)
	case 77: // EX_NOPERM
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "Not permitted").Because(cause)
	case 65, 76: // EX_DATAERR, EX_PROTOCOL
		return mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Message was refused").Because(cause)
	}
	return failed("sendmail", cause)
}
