package mailbox

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/store"
)

// intake takes the content of one message: it streams to the engine while its hash and its structure are made.
type intake struct {
	m      *Mailbox
	w      store.BlobWriter
	mac    hash.Hash
	parser *message.Parser
	size   int64
	head   []byte // the first previewHead octets
	err    error
	folded bool // it begins with white space, as if it went on with a field in front of it

	staged store.Staged
	hash   bodyHash
	digest digest
	done   bool
	taken  bool   // by a batch: not ours to discard any more
	row    []byte // of the body, where it is stored already; nothing is staged then
}

var errTooLong = fmt.Errorf("mailbox: message is over the limit: %w", store.ErrTooLarge)

func (m *Mailbox) newIntake(ctx context.Context) (*intake, error) {
	w, err := m.eng.Stage(ctx)
	if err != nil {
		return nil, fmt.Errorf("mailbox: stage: %w", err)
	}
	in := &intake{m: m, w: w, mac: m.mac('b'), parser: message.NewParser(m.limits.Message)}
	if b, _ := m.heads.Get().(*[]byte); b != nil {
		in.head = (*b)[:0]
	}
	return in, nil
}

// mac returns a keyed hash for one purpose.
func (m *Mailbox) mac(purpose byte) hash.Hash {
	mac, _ := m.macs.Get().(hash.Hash)
	if mac == nil {
		mac = hmac.New(sha256.New, m.houseKey[:])
	}
	mac.Reset()
	mac.Write([]byte{purpose})
	return mac
}

// Write takes the next octets of the content.
func (in *intake) Write(p []byte) (int, error) {
	if in.done && in.err == nil {
		in.err = store.ErrClosed
	}
	if in.err != nil {
		return 0, in.err
	}
	if in.size == 0 && len(p) > 0 {
		in.folded = p[0] == ' ' || p[0] == '\t'
	}
	if in.size += int64(len(p)); in.size > in.m.limits.MessageOctets {
		in.err = errTooLong
		return 0, in.err
	}
	if _, err := in.w.Write(p); err != nil {
		in.err = fmt.Errorf("mailbox: stage: %w", err)
		return 0, in.err
	}
	if room := previewHead - len(in.head); room > 0 {
		in.head = append(in.head, p[:min(room, len(p))]...)
	}
	in.mac.Write(p)
	in.parser.Write(p)
	return len(p), nil
}

// close ends the content, which will go to so many places.
func (in *intake) close(places int) error {
	if in.done || in.err != nil {
		return in.err
	}
	in.done = true
	if in.staged, in.err = in.w.Close(); in.err != nil {
		in.err = fmt.Errorf("mailbox: stage: %w", in.err)
		return in.err
	}
	in.mac.Sum(in.hash[:0])
	in.m.macs.Put(in.mac)
	in.mac = nil
	root := in.parser.Close()
	in.parser = nil
	in.digest = in.m.makeDigest(root, in.head, places)
	in.giveHead()
	return nil
}

// giveHead lets another message have the memory of head.
func (in *intake) giveHead() {
	if b := in.head; b != nil {
		in.head = nil
		in.m.heads.Put(&b)
	}
}

// discard gives the content up, unless a batch has taken it.
func (in *intake) discard() {
	if in == nil || in.taken {
		return
	}
	if in.staged != nil {
		in.staged.Discard()
		in.staged = nil
	} else {
		in.w.Discard()
	}
	if in.err == nil {
		in.err = store.ErrClosed
	}
}

// use returns the body for a commit.
func (in *intake) use() *bodyUse {
	return &bodyUse{hash: in.hash, size: in.size, in: in}
}

// needBody makes sure that the commit has the body of in, once.
func (c *commit) needBody(in *intake) {
	for _, b := range c.bodies {
		if b.hash == in.hash {
			return
		}
	}
	c.bodies = append(c.bodies, in.use())
}
