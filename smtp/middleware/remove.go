package middleware

import (
	"bytes"
	"context"
	"strings"

	"github.com/samotop/samotop/mail"
)

// Remove takes header fields out of each message that streams through it: those that only we write, and that somebody may
// have forged. Of the content at most a field's name is held back. Fields that are added by Trace stay.
type Remove struct {
	Names []string // any case, at most 64 octets each
}

// Wrap is the mail.Middleware.
func (m Remove) Wrap(next mail.Door) mail.Door {
	names := make([]string, len(m.Names))
	for i, n := range m.Names {
		names[i] = strings.ToLower(n)
	}
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		outer := &removing{Transaction: tx, names: names, state: atStart}
		switch t := like(outer, tx).(type) {
		case canPrepare:
			return canPrepare{outer, removingPreparer{t.Preparer, outer}}, nil
		case canBoth:
			return canBoth{outer, removingPreparer{t.Preparer, outer}, t.Amender}, nil
		default:
			return t, nil
		}
	})
}

type removeState uint8

const (
	atStart  removeState = iota // of a line of the header
	inName                      // of a field, all of which is held
	keeping                     // a line that stays
	dropping                    // a field that goes
	dropped                     // at the start of a line after it
	inBody
)

// removing is one message.
type removing struct {
	mail.Transaction
	names []string
	state removeState
	held  []byte // the beginning of a line that may be such a field
}

// Write looks at the header alone; the body goes through as it is.
func (x *removing) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && x.state != inBody {
		rest, err := x.lines(p)
		if err == nil && len(rest) > 0 && x.state != inBody {
			rest, err = x.step(rest)
		}
		if err != nil {
			return 0, err
		}
		p = rest
	}
	if len(p) > 0 {
		if _, err := x.Transaction.Write(p); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// lines hands on the lines that p begins with and that are whole and stay, in one piece, with the body if it comes to that.
// What is left begins with a line that goes or is not whole.
func (x *removing) lines(p []byte) ([]byte, error) {
	n := 0
	for x.state == atStart && n < len(p) {
		if p[n] == '\r' || p[n] == '\n' {
			x.state, n = inBody, len(p)
			break
		}
		end := bytes.IndexByte(p[n:], '\n') + 1
		if end == 0 {
			break
		}
		if x.goes(p[n : n+end]) {
			x.state = dropping
			break
		}
		n += end
	}
	if n == 0 {
		return p, nil
	}
	_, err := x.Transaction.Write(p[:n])
	return p[n:], err
}

// goes reports whether a line begins a field that is to go.
func (x *removing) goes(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || colon > maxRemoveOctets {
		return false
	}
	name := bytes.TrimRight(line[:colon], " \t")
	for _, n := range x.names {
		if len(n) == len(name) && strings.EqualFold(n, string(name)) {
			return true
		}
	}
	return false
}

// step takes some octets, at least one.
func (x *removing) step(p []byte) ([]byte, error) {
	switch x.state {
	case dropped:
		if p[0] == ' ' || p[0] == '\t' { // RFC 5322 section 2.2.3: it goes on
			x.state = dropping
			return p, nil
		}
		x.state = atStart
	case atStart:
		x.state = inName // the line is not whole
	case inName:
		return x.name(p)
	case keeping, dropping:
		end := bytes.IndexByte(p, '\n') + 1
		line := p[:end]
		if end == 0 {
			line = p
		}
		keep := x.state == keeping
		switch {
		case end > 0 && keep:
			x.state = atStart
		case end > 0:
			x.state = dropped
		}
		if keep {
			if _, err := x.Transaction.Write(line); err != nil {
				return nil, err
			}
		}
		return p[len(line):], nil
	}
	return p, nil
}

// maxRemoveOctets is the longest name that is looked for, with white space behind it.
const maxRemoveOctets = 80

// name holds the beginning of a line until it is clear whether it is to go.
func (x *removing) name(p []byte) ([]byte, error) {
	for i, c := range p {
		x.held = append(x.held, c)
		if c != ':' && c != '\n' && x.maybe() {
			continue
		}
		x.state = keeping
		if x.goes(x.held) {
			x.state = dropping
		} else {
			if c == '\n' {
				x.state = atStart
			}
			if err := x.release(); err != nil {
				return nil, err
			}
		}
		x.held = x.held[:0]
		return p[i+1:], nil
	}
	return nil, nil
}

// maybe reports whether what is held may become one of the names.
func (x *removing) maybe() bool {
	if len(x.held) > maxRemoveOctets {
		return false
	}
	name := strings.TrimRight(string(x.held), " \t")
	for _, n := range x.names {
		if len(name) <= len(n) && strings.EqualFold(n[:len(name)], name) {
			return true
		}
	}
	return false
}

// release hands on what is held.
func (x *removing) release() error {
	if len(x.held) == 0 {
		return nil
	}
	_, err := x.Transaction.Write(x.held)
	x.held = x.held[:0]
	return err
}

// Commit is of mail.Transaction: a message may end in its header.
func (x *removing) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := x.release(); err != nil {
		return nil, err
	}
	return x.Transaction.Commit(ctx)
}

type removingPreparer struct {
	mail.Preparer
	outer *removing
}

func (x removingPreparer) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := x.outer.release(); err != nil {
		return nil, err
	}
	return x.Preparer.Prepare(ctx)
}
