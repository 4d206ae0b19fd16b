package qm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// A room in another process that did not hear our answer hands its message over again, under the same delivery ids. So
// that it is queued once, each message that came with ids leaves a row for a while:
//
//	x period hash   -> the id that it was queued under
//
// Periods make forgetting one deletion of a range.
const (
	againPeriod = 24 * time.Hour // an id is remembered this long at least, and twice as long at most
	againOctets = 16             // of the hash
)

// againKeys are the keys of a message's delivery ids in this period and in the one before; nil if a recipient has none.
func (t *transaction) againKeys(now time.Time) [][]byte {
	h := sha256.New()
	for _, r := range t.rcpts {
		id := r.rcpt.DeliveryID
		if id == "" {
			return nil
		}
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(id)))
		h.Write(n[:])
		h.Write([]byte(id))
	}
	sum := h.Sum(nil)[:againOctets]
	period := againNumber(now)
	return [][]byte{againKey(period, sum), againKey(period-1, sum)}
}

func againNumber(now time.Time) uint64 { return millis(now) / uint64(againPeriod.Milliseconds()) }

func againKey(period uint64, sum []byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{'x'}, period), sum...)
}

// remember lets the batch fail if the message is queued already.
func remember(b *store.Batch, keys [][]byte, id ID) {
	if keys == nil {
		return
	}
	for _, k := range keys {
		b.Asserts = append(b.Asserts, store.Assert{Key: k, Absent: true})
	}
	b.Ops = append(b.Ops, store.Put(keys[0], binary.BigEndian.AppendUint64(nil, uint64(id))))
	period := binary.BigEndian.Uint64(keys[1][1:])
	b.Ops = append(b.Ops, store.DeleteRange([]byte{'x'}, againKey(period, nil))) // before the last period
}

// queuedAs finds the message that came under these delivery ids before, for a batch that failed.
func (q *QM) queuedAs(ctx context.Context, keys [][]byte, failure error) (mail.Reply, bool) {
	if keys == nil || !errors.Is(failure, store.ErrConflict) {
		return mail.Reply{}, false
	}
	var id ID
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for _, k := range keys {
			v, err := r.Get(ctx, k)
			switch {
			case errors.Is(err, store.ErrNotFound):
				continue
			case err != nil:
				return err
			case len(v) != 8:
				return errRow
			}
			id = ID(binary.BigEndian.Uint64(v))
		}
		return nil
	})
	return queuedReply(id), err == nil && id != 0
}

func queuedReply(id ID) mail.Reply {
	return mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 0, 0}, Text: "queued as " + id.String()}
}
