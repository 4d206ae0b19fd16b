package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/store"
)

// The text index proposes the emails that a search of BODY or TEXT must look into; the text itself confirms. It knows,
// for each account, which emails have which runs of three octets in their folded text (imap.TextWalker), so that any
// substring of three octets or more can be asked. Emails are numbered in order of arrival, so that it covers all up to
// one number; those after it are always proposed. Deliveries pay nothing for it: it is made in the background, when
// some messages have come and the account is quiet, or many have.
//
// The index of an account is a row F (what blocks there are) and the blocks. A block covers a run of emails and is
// never changed; neighbours are merged into one when there are indexFanOut of about a size, leaving out emails that
// are gone. A term is a hash of three octets in termBits bits; a row of a block holds the terms that begin with the
// same bits, as many as suit the size of the block:
//
//	F A           version, number of the next block, blocks: number, first email, emails covered, bits of a row's key
//	f A B row     terms in order: distance from the last one, octets of its list, distances of the emails that have it
//
// Row allRow has the emails that are always proposed: those whose text is too long or could not be read.
const (
	termBits    = 20
	terms       = 1 << termBits
	indexFanOut = 8
	allRow      = 1<<32 - 1

	indexBlockEmails = 4096    // in one block as it is made
	indexBlockTerms  = 4 << 20 // of all its emails together
	indexQuiet       = 300 * time.Millisecond
	indexPauses      = 10 // waits for quiet, before an account is indexed all the same
)

// termOf is the term of three octets.
func termOf(a, b, c byte) uint32 { return hashTerm(uint32(a)<<16 | uint32(b)<<8 | uint32(c)) }

// hashTerm is the term of the three octets in the lower bits of a run.
func hashTerm(run uint32) uint32 { return run & 0xffffff * 0x9E3779B1 >> (32 - termBits) }

// indexBlock is one block of an account's index.
type indexBlock struct {
	no    uint32
	first emailID
	n     uint32 // emails covered: [first, first+n)
	bits  uint8  // of the term that are the row's key
}

func (b *indexBlock) row(term uint32) uint32 { return term >> (termBits - b.bits) }

// rowBits are as many as make rows of some hundred octets.
func rowBits(emails uint32) uint8 {
	return uint8(min(termBits, 8+max(0, bits.Len32(emails/64)-1)))
}

// level tells blocks of about a size.
func (b *indexBlock) level() int { return (bits.Len32(b.n/64) + 2) / 3 }

// indexRow is the row F of an account.
type indexRow struct {
	next   uint32
	blocks []indexBlock // in order of emails, without gaps
	raw    []byte       // as read; nil: there is none
}

// upTo is the last email that the index covers.
func (r *indexRow) upTo() emailID {
	if len(r.blocks) == 0 {
		return 0
	}
	b := &r.blocks[len(r.blocks)-1]
	return b.first + emailID(b.n) - 1
}

func (r *indexRow) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, rowVersion), uint64(r.next))
	b = binary.AppendUvarint(b, uint64(len(r.blocks)))
	for i := range r.blocks {
		k := &r.blocks[i]
		b = binary.AppendUvarint(b, uint64(k.no))
		b = binary.AppendUvarint(b, uint64(k.first))
		b = binary.AppendUvarint(b, uint64(k.n))
		b = append(b, k.bits)
	}
	return b
}

func decodeIndex(b []byte) (r indexRow, err error) {
	d := decoderOf(b)
	d.version()
	r.next = uint32(d.Uint())
	r.blocks = make([]indexBlock, d.Count(4))
	at := emailID(0)
	for i := range r.blocks {
		k := indexBlock{uint32(d.Uint()), emailID(d.Uint()), uint32(d.Uint()), d.Byte()}
		if k.n == 0 || k.n > 1<<30 || k.first < at || k.bits > termBits {
			d.Fail()
		}
		at = k.first + emailID(k.n)
		r.blocks[i] = k
	}
	r.raw = b
	return r, d.err("the text index")
}

// readIndex reads the row of an account; an empty one if there is none.
func readIndex(ctx context.Context, r store.Reader, a accountID) (indexRow, error) {
	v, err := r.Get(ctx, appendAccountKey(nil, kindIndex, a))
	if errors.Is(err, store.ErrNotFound) {
		return indexRow{}, nil
	}
	if err != nil {
		return indexRow{}, err
	}
	return decodeIndex(slices.Clone(v))
}

func appendPostingsKey(b []byte, a accountID, block, row uint32) []byte {
	b = binary.BigEndian.AppendUint32(appendAccountKey(b, kindPostings, a), block)
	return binary.BigEndian.AppendUint32(b, row)
}

// putIndex is the op of an account's row, and the assertion that nobody else has changed it.
func putIndex(batch *store.Batch, a accountID, old, now *indexRow) {
	key := appendAccountKey(nil, kindIndex, a)
	batch.Asserts = append(batch.Asserts, store.Assert{Key: key, Value: old.raw, Absent: old.raw == nil})
	batch.Ops = append(batch.Ops, store.Put(key, now.append(nil)))
}

// dropBlock is the op that removes the rows of a block.
func dropBlock(a accountID, no uint32) store.Op {
	return store.DeleteRange(appendPostingsKey(nil, a, no, 0), binary.BigEndian.AppendUint32(appendAccountKey(nil, kindPostings, a), no+1))
}

// indexer makes the index in the background.
type indexer struct {
	work    sync.Mutex    // held while an account is indexed: one at a time
	builder *blockBuilder // 8 MiB; under work; nil until the first block

	mu      sync.Mutex
	waiting map[accountID]int // emails that came since it was looked at
	wake    chan struct{}     // room for one
	last    atomic.Int64      // when mail came last, unix nanoseconds
}

// arrivedFor tells the indexer that mail came.
func (m *Mailbox) arrivedFor(a accountID) {
	x := &m.indexer
	x.last.Store(time.Now().UnixNano())
	x.mu.Lock()
	if x.waiting == nil {
		x.waiting = map[accountID]int{}
	}
	x.waiting[a]++
	n := x.waiting[a]
	x.mu.Unlock()
	if n >= m.limits.IndexEmails {
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

// index is the goroutine of the indexer.
func (m *Mailbox) index() {
	defer m.wg.Done()
	x := &m.indexer
	if err := m.findUnindexed(m.bg); err != nil && m.bg.Err() == nil {
		m.log.WarnContext(m.bg, "text index: what is missing", "error", err)
	}
	for {
		select {
		case <-m.bg.Done():
			return
		case <-x.wake:
		}
		for pauses := 0; m.bg.Err() == nil; {
			wait := time.Until(time.Unix(0, x.last.Load()).Add(indexQuiet))
			a, n := m.mostWaiting()
			if n < m.limits.IndexEmails {
				x.rest()
				break
			}
			if wait > 0 && n < m.limits.IndexBacklog && pauses < indexPauses {
				m.pause(wait)
				pauses++
				continue
			}
			pauses = 0
			x.mu.Lock()
			delete(x.waiting, a)
			x.mu.Unlock()
			if err := m.indexAccount(m.bg, a, m.limits.IndexEmails, nil); err != nil && m.bg.Err() == nil {
				m.log.WarnContext(m.bg, "text index", "account", uint64(a), "error", err)
			}
		}
	}
}

// rest gives the memory of the builder back.
func (x *indexer) rest() {
	x.work.Lock()
	x.builder = nil
	x.work.Unlock()
}

func (m *Mailbox) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-m.bg.Done():
	case <-t.C:
	}
}

// mostWaiting is the account that has most to be indexed.
func (m *Mailbox) mostWaiting() (a accountID, most int) {
	x := &m.indexer
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, n := range x.waiting {
		if n > most {
			a, most = id, n
		}
	}
	return a, most
}

// findUnindexed finds the accounts whose index is behind, after a start.
func (m *Mailbox) findUnindexed(ctx context.Context) error {
	from := []byte{kindAccount}
	for from != nil {
		type behind struct {
			id   accountID
			last emailID
		}
		var list []behind
		err := m.eng.View(ctx, func(r store.Reader) error {
			lo := from
			from = nil
			for kv, err := range r.Scan(ctx, lo, []byte{kindAccount + 1}, false) {
				if err != nil {
					return err
				}
				if len(list) == 1000 {
					from = slices.Clone(kv.Key)
					break
				}
				row, err := decodeAccount(kv.Value)
				if err != nil {
					return err
				}
				if !row.Purging {
					list = append(list, behind{accountID(lastUint64(kv.Key)), row.Email})
				}
			}
			for _, l := range list {
				row, err := readIndex(ctx, r, l.id)
				if err != nil {
					return fmt.Errorf("account %d: %w", l.id, err)
				}
				if n := int(min(l.last-min(l.last, row.upTo()), 1<<30)); n >= m.limits.IndexEmails {
					m.indexer.mu.Lock()
					if m.indexer.waiting == nil {
						m.indexer.waiting = map[accountID]int{}
					}
					m.indexer.waiting[l.id] += n
					m.indexer.mu.Unlock()
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	select {
	case m.indexer.wake <- struct{}{}:
	default:
	}
	return nil
}

// indexAccount puts the emails of an account that are not in its index into it, unless they are fewer than least, and
// merges blocks. Progress, if not nil, is told of the last email done.
func (m *Mailbox) indexAccount(ctx context.Context, a accountID, least int, progress func(done emailID)) error {
	m.indexer.work.Lock()
	defer m.indexer.work.Unlock()
	if m.indexer.builder == nil {
		m.indexer.builder = newBlockBuilder()
	}
	b := m.indexer.builder
	for {
		more, err := m.indexBlock(ctx, a, least, b)
		if err != nil {
			return err
		}
		for merged := true; merged; {
			if merged, err = m.mergeBlocks(ctx, a); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(b.first + emailID(b.n) - 1)
		}
		if !more {
			return nil
		}
	}
}

// Reindex throws the text index of an owner away and makes it anew. Progress, if not nil, is told how far it is, in
// numbers of emails. Searches are right meanwhile, and slower.
func (m *Mailbox) Reindex(ctx context.Context, ownerID uint64, progress func(done, total uint64)) error {
	a := accountID(ownerID)
	if err := m.dropIndex(ctx, a); err != nil {
		return fmt.Errorf("mailbox: reindex: %w", err)
	}
	var total emailID
	err := m.eng.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, appendAccountKey(nil, kindAccount, a))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		row, err := decodeAccount(v)
		total = row.Email
		return err
	})
	if err == nil && total > 0 {
		err = m.indexAccount(ctx, a, 1, func(done emailID) {
			if progress != nil {
				progress(uint64(min(done, total)), uint64(total))
			}
		})
	}
	if err != nil {
		return fmt.Errorf("mailbox: reindex: %w", err)
	}
	return nil
}

func (m *Mailbox) dropIndex(ctx context.Context, a accountID) error {
	m.indexer.work.Lock()
	defer m.indexer.work.Unlock()
	var old indexRow
	err := m.eng.View(ctx, func(r store.Reader) (err error) {
		old.raw, err = r.Get(ctx, appendAccountKey(nil, kindIndex, a))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		old.raw = slices.Clone(old.raw)
		return err
	})
	if err != nil {
		return err
	}
	if row, err := decodeIndex(old.raw); err == nil {
		old.next = row.next
	}
	batch := &store.Batch{}
	putIndex(batch, a, &old, &indexRow{next: old.next})
	lo := appendAccountKey(nil, kindPostings, a)
	batch.Ops = append(batch.Ops, store.DeleteRange(lo, after(lo)))
	return store.Commit(ctx, m.eng, batch)
}
