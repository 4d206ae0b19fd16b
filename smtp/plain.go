package smtp

import (
	"bytes"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// plainWatch is for a message that came with SMTPUTF8 and goes to a server without it. Some clients ask for SMTPUTF8 whenever
// it is offered; RFC 6531 section 3.2 forbids to send on without it only what is internationalized: that is told by the
// addresses, which were looked at before, and the headers of the message and of its parts, which pass by here. The message's
// own header tells as soon as it has come, those of parts tell at the end.
type plainWatch struct {
	over  bool // the header has ended
	text  bool // the present line has more than its end
	parts *message.Parser
}

func newPlainWatch() *plainWatch { return &plainWatch{parts: message.NewParser(message.Limits{})} }

// write looks at the next octets of the content and reports whether they may go to such a server.
func (w *plainWatch) write(p []byte) bool {
	w.parts.Write(p) //nolint:errcheck // never fails
	for len(p) > 0 && !w.over {
		line, rest, ended := bytes.Cut(p, lf)
		if !ascii(line) {
			return false
		}
		w.text = w.text || len(bytes.TrimSuffix(line, cr)) > 0
		if ended {
			w.over, w.text = !w.text, false
		}
		p = rest
	}
	return true
}

// end reports, once, whether the whole may.
func (w *plainWatch) end() bool {
	parts := w.parts
	if parts == nil {
		return true
	}
	w.parts = nil
	root := parts.Close()
	if !root.Has8Bit {
		return true
	}
	if root.Limited {
		return false // something was not looked at
	}
	for p := range root.All() {
		if !ascii(p.Header.Raw()) {
			return false
		}
	}
	return true
}

func ascii[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// asPlain returns trace fields, which are ours, in a form that any server takes: what is not ASCII in them, such as the address of
// Received's "for", is told by question marks.
func asPlain(fields []mail.Field) []mail.Field {
	out := make([]mail.Field, len(fields))
	for i, f := range fields {
		if !ascii(f.Value) {
			f.Value = strings.Map(func(r rune) rune {
				if r >= 0x80 {
					return '?'
				}
				return r
			}, f.Value)
		}
		out[i] = f
	}
	return out
}

func (c *Client) needsUTF8() *mail.Reply {
	return mail.NewReply(550, mail.Enhanced{5, 6, 7}, "Message needs SMTPUTF8, and %s does not offer it", c.name)
}
