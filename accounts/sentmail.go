package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/samotop/samotop/store"
)

// A report comes without a sender, so that nobody can be asked about it. It is let in if it names a message that the account
// has sent: a bounce returns that message, its header or its Message-ID (RFC 3464 section 2), a receipt its Original-Message-ID
// (RFC 8098 section 3.2.5), an automatic answer In-Reply-To or References (RFC 3834 section 3.1.5). The ids of what is
// submitted are kept as hashes for sentRecent, by day, so that a day goes as one range.

const tagSubmitted = "u/"

const sentDays = uint32(sentRecent / (24 * time.Hour))

func dayOf(t time.Time) uint32 { return uint32(max(t.Unix(), 0) / (24 * 3600)) }

func submittedKey(id uint64, day uint32, messageID string) []byte {
	sum := sha256.Sum256([]byte(messageID))
	return append(submittedDay(id, day), sum[:12]...)
}

func submittedDay(id uint64, day uint32) []byte {
	return binary.BigEndian.AppendUint32(keyID(tagSubmitted, id), day)
}

// cleanMessageID is an id without its brackets; "" if there is none.
func cleanMessageID(s string) string { return strings.Trim(strings.TrimSpace(s), "<>") }

// noteSubmitted remembers a message that the owner has sent.
func (a *Accounts) noteSubmitted(ctx context.Context, id uint64, messageID string) error {
	messageID = cleanMessageID(messageID)
	if messageID == "" {
		return nil
	}
	day := dayOf(a.c.Clock())
	b := &store.Batch{Ops: []store.Op{store.Put(submittedKey(id, day, messageID), []byte{1})}}
	if day > sentDays {
		b.Ops = append(b.Ops, store.DeleteRange(submittedDay(id, 0), submittedDay(id, day-sentDays)))
	}
	return a.commitContacts(ctx, id, b)
}

// refersToSent tells whether one of the ids is that of a message that the owner sent lately.
func (a *Accounts) refersToSent(ctx context.Context, id uint64, refers []string) (yes bool, err error) {
	today := dayOf(a.c.Clock())
	var keys [][]byte
	for _, r := range refers[:min(len(refers), maxRefers)] {
		if r = cleanMessageID(r); r == "" {
			continue
		}
		for back := range min(sentDays, today) + 1 {
			keys = append(keys, submittedKey(id, today-back, r))
		}
	}
	if len(keys) == 0 {
		return false, nil
	}
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		rows, err := r.GetMulti(ctx, keys)
		for _, row := range rows {
			yes = yes || row != nil
		}
		return err
	})
	return yes, err
}

// decideReport judges a report before its content: only who sent mail lately can get one.
func (a *Accounts) decideReport(ctx context.Context, id uint64, g gate) (Decision, error) {
	if g.policy == PolicyOpen {
		return Accept, nil
	}
	sent, err := a.sent(ctx, id)
	switch {
	case err != nil:
		return Refuse, err
	case a.c.Clock().Sub(sent) < sentRecent:
		return Look, nil
	case g.policy == PolicyShow:
		return Apart, nil
	}
	return Refuse, nil // nobody could decide about it
}

// reportContent judges it with its content.
func (a *Accounts) reportContent(ctx context.Context, id uint64, g gate, refers []string) (Decision, error) {
	if g.policy == PolicyOpen {
		return Accept, nil
	}
	yes, err := a.refersToSent(ctx, id, refers)
	switch {
	case err != nil:
		return Refuse, err
	case yes:
		return Accept, nil
	case g.policy == PolicyShow:
		return Apart, nil
	}
	return Refuse, nil
}
