package qm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samotop/samotop/store"
)

// MaxFaults is how many faults Verify names before it stops.
const MaxFaults = 1000

// verifyRows is how many rows are checked in one View.
const verifyRows = 5000

var errManyFaults = errors.New("enough faults")

// Verify checks the database of a queue while it is in use, or while nobody has it open: every row is read, recipients
// are recounted, both indexes are compared with the recipients in both directions. It returns each fault found, up to
// MaxFaults, and changes nothing. Progress, which may be nil, hears how many rows were read.
func Verify(ctx context.Context, eng store.Engine, progress func(rows int64)) ([]string, error) {
	v := &verifier{ctx: ctx}
	for _, kind := range []byte{'m', 't', 'd', 'e'} {
		for from := []byte{kind}; from != nil; {
			err := eng.View(ctx, func(r store.Reader) (err error) {
				v.r = r
				from, err = v.page(kind, from)
				return err
			})
			if errors.Is(err, errManyFaults) {
				return v.faults, nil
			}
			if err != nil {
				return v.faults, fmt.Errorf("qm: verify: %w", err)
			}
			if progress != nil {
				progress(v.rows)
			}
		}
	}
	return v.faults, nil
}

type verifier struct {
	ctx    context.Context
	r      store.Reader
	rows   int64
	faults []string
	msg    tallied
}

// tallied is a message whose rows are going by.
type tallied struct {
	id      ID
	row     *messageRow
	open    int
	counter int // -1: there is none
}

func (v *verifier) fault(format string, args ...any) error {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
	if len(v.faults) >= MaxFaults {
		return errManyFaults
	}
	return nil
}

// page checks rows of a kind from a key on, and says where the next page begins: nil, nowhere. A message is not parted.
func (v *verifier) page(kind byte, from []byte) (next []byte, err error) {
	n := 0
	v.msg = tallied{}
	for kv, err := range v.r.Scan(v.ctx, from, []byte{kind + 1}, false) {
		if err != nil {
			return nil, err
		}
		if n++; n > verifyRows && (kind != 'm' || len(kv.Key) == 10) {
			next = bytes.Clone(kv.Key)
			break
		}
		v.rows++
		if kind == 'm' {
			err = v.message(kv)
		} else {
			err = v.indexed(kv)
		}
		if err != nil {
			return nil, err
		}
	}
	return next, v.messageEnd()
}

// message checks a row of a message: itself, then its counter, then its recipients come by.
func (v *verifier) message(kv store.KV) error {
	if len(kv.Key) < 10 {
		return v.fault("a key of %d octets", len(kv.Key))
	}
	id := ID(binary.BigEndian.Uint64(kv.Key[2:]))
	rest := kv.Key[10:]
	if len(rest) == 0 {
		if err := v.messageEnd(); err != nil {
			return err
		}
		own, _, err := store.SplitRef(kv.Value)
		v.msg = tallied{id: id, counter: -1}
		if err == nil {
			v.msg.row, err = decodeMessage(own)
		}
		if err != nil {
			return v.fault("message %v: %v", id, err)
		}
		return nil
	}
	if id != v.msg.id {
		return v.fault("message %v: rows of it are there, it is not", id)
	}
	switch {
	case rest[0] == 'c' && len(rest) == 1:
		r := readerOf(kv.Value)
		v.msg.counter = int(r.Uint() & (1<<31 - 1))
		if err := r.end(); err != nil {
			return v.fault("message %v: counter: %v", id, err)
		}
	case rest[0] == 'r' && len(rest) == 5:
		v.msg.open++
		return v.recipient(id, binary.BigEndian.Uint32(rest[1:]), kv.Value)
	default:
		return v.fault("message %v: a row of an unknown kind %q", id, rest)
	}
	return nil
}

func (v *verifier) messageEnd() error {
	m := v.msg
	v.msg = tallied{}
	switch {
	case m.row == nil:
	case m.open == 0:
		return v.fault("message %v: it has no recipients left", m.id)
	case m.row.total > 1 && m.counter != m.open, m.row.total <= 1 && m.open > 1:
		return v.fault("message %v: it counts %d recipients of %d, there are %d", m.id, m.counter, m.row.total, m.open)
	}
	return nil
}

// recipient looks for the rows of the indexes that belong to a recipient.
func (v *verifier) recipient(id ID, n uint32, value []byte) error {
	row, err := decodeRecipient(value)
	if err != nil {
		return v.fault("message %v, recipient %d: %v", id, n, err)
	}
	due := row.due
	if row.held {
		due = never
	}
	rows, err := v.r.GetMulti(v.ctx, [][]byte{destKey(id.lane(), row.dest, row.priority, due, id, n), dueKey(id.lane(), row.due, id, n)})
	switch {
	case err != nil:
		return err
	case rows[0] == nil:
		return v.fault("message %v, recipient %d: it stands in no line", id, n)
	case !row.held && (rows[1] == nil || !bytes.Equal(rows[1], lineValue(row.dest, row.priority))):
		return v.fault("message %v, recipient %d: it is never due", id, n)
	}
	return nil
}

// indexed looks for the recipient that a row of an index stands for.
func (v *verifier) indexed(kv store.KV) error {
	p, ok := parsePlace(kv.Key)
	if !ok {
		return v.fault("index %c: a key that does not parse", kv.Key[0])
	}
	if kv.Key[0] == 't' {
		p.parseLine(kv.Value)
	}
	value, err := v.r.Get(v.ctx, recipientKey(p.id, p.n))
	if errors.Is(err, store.ErrNotFound) {
		return v.fault("index %c: message %v has no recipient %d", kv.Key[0], p.id, p.n)
	}
	if err != nil {
		return err
	}
	row, err := decodeRecipient(value)
	if err != nil {
		return nil // told with its message
	}
	due := row.due
	if row.held && kv.Key[0] != 't' {
		due = never
	}
	if p.due != due || p.dest != row.dest || p.priority != row.priority || row.held && kv.Key[0] == 't' {
		return v.fault("index %c: message %v, recipient %d has another time, destination or priority", kv.Key[0], p.id, p.n)
	}
	return nil
}
