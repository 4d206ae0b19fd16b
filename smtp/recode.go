package smtp

import (
	"errors"
	"fmt"
	"io"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// counter counts what is written to it.
type counter int64

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}

// recode replaces the message by one that this server takes, if it does not take it as it is and the caller allows it. The
// returned function ends what runs beside it.
func (s *sending) recode() (stop func(), refusal *mail.Reply, err error) {
	stop = func() {}
	c, from := s.c, &s.m.Sender
	binary := from.Body == mail.BodyBinary && !(c.ext.Has("BINARYMIME") && c.ext.Has("CHUNKING"))
	if !s.m.Recode || !binary && !(from.Body == mail.Body8Bit && !c.ext.Has("8BITMIME")) {
		return stop, nil, nil
	}
	body, ok := s.m.Body.(io.ReadSeeker)
	if !ok {
		return stop, nil, errors.New("content that may be re-encoded must be an io.ReadSeeker")
	}
	m := *s.m
	r := message.Recoding{EightBit: c.ext.Has("8BITMIME") && from.UTF8}
	m.Sender.Body = mail.Body7Bit
	if r.EightBit {
		m.Sender.Body = mail.Body8Bit
	}
	root, err := message.Parse(body, message.Limits{})
	if err != nil {
		return stop, nil, fmt.Errorf("content: %w", err)
	}
	var n counter // a rehearsal: whether it can be done, and the size
	if err := copyRecoded(&n, body, r, root); err != nil {
		if errors.Is(err, message.ErrSigned) || errors.Is(err, message.ErrNoRecoding) {
			return stop, mail.NewReply(554, mail.Enhanced{5, 6, 3}, "Message has 8-bit or binary content that cannot be re-encoded, and %s does not take it", c.name).Because(err), nil
		}
		return stop, nil, fmt.Errorf("content: %w", err)
	}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(copyRecoded(pw, body, r, root))
	}()
	m.Body, m.Size = pr, int64(n)
	s.m = &m
	return func() {
		pr.Close()
		<-done
	}, nil, nil
}

func copyRecoded(w io.Writer, body io.ReadSeeker, r message.Recoding, root *message.Part) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return r.Copy(w, body, root)
}
