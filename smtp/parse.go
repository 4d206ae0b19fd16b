package smtp

import (
	"bufio"
	"io"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Command is one command line, taken apart: the parser alone, for programs that have no use for a Server.
type Command struct {
	Verb      string         // in upper case
	Arg       string         // as it came, without white space at its ends
	Sender    mail.Sender    // of MAIL
	Recipient mail.Recipient // of RCPT
	Size      int64          // of BDAT
	Last      bool           // of BDAT
}

// ParseCommand reads a line without its CRLF. Every extension that the package knows is understood. A line that holds
// CR or LF, a command that is not of RFC 5321 or its extensions, or a bad argument gives a *mail.Reply.
func ParseCommand(line string) (Command, error) {
	if strings.ContainsAny(line, "\r\n") {
		return Command{}, mail.NewReply(500, mail.Enhanced{5, 5, 2}, "A line ends in CRLF and nothing else")
	}
	c := parseCommand(line)
	cmd := Command{Verb: c.name, Arg: c.arg}
	ru := rules{
		ext: ^Extension(0), auth: true, tls: true, authed: true, utf8: true, now: time.Now(),
		maxMessage: 1<<63 - 1, maxHold: 100 * 365 * 24 * time.Hour,
	}
	var refusal *mail.Reply
	switch c.verb {
	case verbUnknown:
		refusal = &replyUnknown
	case verbMAIL:
		cmd.Sender, _, refusal = parseMail(c.arg, &ru)
	case verbRCPT:
		refusal = parseRcpt(c.arg, &ru, &cmd.Recipient)
	case verbEHLO, verbHELO, verbLHLO:
		if !isHello(c.arg) {
			refusal = syntax("Say " + c.name + " and your name")
		}
	case verbBDAT:
		var ok bool
		if cmd.Size, cmd.Last, ok = chunkArg(c); !ok {
			refusal = syntax("Say BDAT size [LAST]")
		}
	}
	if refusal != nil {
		return cmd, refusal
	}
	return cmd, nil
}

// AppendReply writes a reply as it goes over the wire, with the enhanced code, in as many lines as it needs. Whatever
// its text holds, it stays one reply.
func AppendReply(dst []byte, r mail.Reply) []byte { return appendReply(dst, &r, true, true) }

// DotReader reads the content of DATA from r up to the line with the single dot, without the dots of transparency
// (RFC 5321 section 4.5.2); what follows stays in r. A bare CR or LF, or a NUL where it hides one, gives ErrBareLine;
// then nothing that follows in r may be trusted to be a command.
func DotReader(r *bufio.Reader) io.Reader { return &dotReader{r: r} }

// ErrBareLine: content holds a CR or LF that is not part of CRLF.
var ErrBareLine = errSmuggle

type dotReader struct {
	r   *bufio.Reader
	dec dotDecoder
	err error
}

func (d *dotReader) Read(p []byte) (int, error) {
	for d.err == nil && len(p) > 0 {
		if _, err := d.r.Peek(1); err != nil {
			if err == io.EOF { //nolint:errorlint // bufio's contract
				err = io.ErrUnexpectedEOF
			}
			d.err = err
			break
		}
		have, _ := d.r.Peek(min(d.r.Buffered(), len(p)))
		used, out, done, err := d.dec.next(have)
		n := copy(p, out)
		_, _ = d.r.Discard(used)
		switch {
		case err != nil:
			d.err = err
		case done:
			d.err = io.EOF
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// DotWriter writes content as DATA takes it; Close writes the end of data and leaves w open. A bare CR or LF gives
// ErrBareLine: it is not for us to mend what somebody may have signed.
func DotWriter(w io.Writer) io.WriteCloser { return &dotEncoder{w: w} }
