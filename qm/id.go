package qm

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ID names a message in the queue: 44 bits of milliseconds since 1970, 8 bits of lane, 12 bits of sequence. Ids of one lane grow.
type ID uint64

const (
	seqBits  = 12
	laneBits = 8
	alphabet = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's base 32: nothing that is misread
	idOctets = 13
)

var errID = errors.New("qm: not a queue id")

func makeID(ms uint64, lane uint8, seq uint16) ID {
	return ID(ms<<(seqBits+laneBits) | uint64(lane)<<seqBits | uint64(seq))
}

func (id ID) lane() uint8 { return uint8(id >> seqBits) }

// String returns the id as people and logs know it, 13 letters and digits that sort as the ids do.
func (id ID) String() string {
	var b [idOctets]byte
	for i := idOctets - 1; i >= 0; i-- {
		b[i] = alphabet[id&31]
		id >>= 5
	}
	return string(b[:])
}

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	if len(s) != idOctets {
		return 0, fmt.Errorf("%w: %.40q", errID, s)
	}
	s = strings.ToLower(s)
	var id uint64
	for i := 0; i < len(s); i++ {
		v := strings.IndexByte(alphabet, s[i])
		if v < 0 || i == 0 && v > 15 {
			return 0, fmt.Errorf("%w: %.40q", errID, s)
		}
		id = id<<5 | uint64(v)
	}
	return ID(id), nil
}

// ids makes ids. They grow even if the clock goes back.
type ids struct {
	lane uint8

	mu  sync.Mutex
	ms  uint64
	seq uint16
}

// next returns a new id. rnd lets two processes that share a millisecond, one after a crash of the other, differ.
func (g *ids) next(now time.Time, rnd uint64) ID {
	g.mu.Lock()
	defer g.mu.Unlock()
	ms := uint64(now.UnixMilli())
	switch {
	case ms > g.ms:
		g.ms, g.seq = ms, uint16(rnd)&0x3ff
	case g.seq == 1<<seqBits-1:
		g.ms, g.seq = g.ms+1, 0
	default:
		g.seq++
	}
	return makeID(g.ms, g.lane, g.seq)
}
