package qm

import (
	"bytes"
	"encoding/binary"
)

// The rows of the queue. Integers are big-endian; L is the lane, one octet.
//
//	m L id            the message, then the reference of its body: never changes
//	m L id c          how many recipients are open; only for messages to several
//	m L id r n        recipient n, which changes with every attempt
//	t L due id n      -> destination, and 0 p if it has a priority: what is due when, in milliseconds
//	d L dest 0 due id n   what a destination has, in the order of time; due is all ones for what is held
//	e L dest 0 p due id n   the same for what has a priority: p is 127 less the priority
//	l L               who serves the lane: every batch asserts it
//	u L               until when, and whether the queue is in use
//	p L dest          a destination that is paused
//	s domain          an MTA-STS policy that was fetched, as JSON
//	n address         an address or @domain that is not written to, or that has refused mail
//	r L day           how TLS went on that day, as JSON, until it is reported
//	v                 version of the format
//	x period hash     -> id: messages that came with delivery ids (again.go)
const (
	never   = ^uint64(0)
	version = 1 // of rows

	formatVersion = 2 // of the database; 1 had no rows e, and is read as it is
)

var versionKey = []byte("v")

func leaseKey(lane uint8) []byte { return []byte{'l', lane} }
func untilKey(lane uint8) []byte { return []byte{'u', lane} }

func pauseKey(lane uint8, dest string) []byte { return append([]byte{'p', lane}, dest...) }

func suppressKey(name string) []byte { return append([]byte{'n'}, name...) }

func policyKey(domain string) []byte { return append([]byte{'s'}, domain...) }

func resultsKey(lane uint8, day string) []byte { return append([]byte{'r', lane}, day...) }

func messageKey(id ID) []byte {
	return appendMessageKey(make([]byte, 0, 16), id)
}

func appendMessageKey(b []byte, id ID) []byte {
	b = append(b, 'm', id.lane())
	return binary.BigEndian.AppendUint64(b, uint64(id))
}

func counterKey(id ID) []byte { return append(messageKey(id), 'c') }

func recipientKey(id ID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(messageKey(id), 'r'), n)
}

func dueKey(lane uint8, due uint64, id ID, n uint32) []byte {
	b := append(make([]byte, 0, 24), 't', lane)
	b = binary.BigEndian.AppendUint64(b, due)
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	return binary.BigEndian.AppendUint32(b, n)
}

func destKey(lane uint8, dest string, priority int8, due uint64, id ID, n uint32) []byte {
	b := destPrefix(lane, dest, 24)
	if priority != 0 {
		b[0] = 'e'
		b = append(b, priorityClass(priority))
	}
	b = binary.BigEndian.AppendUint64(b, due)
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	return binary.BigEndian.AppendUint32(b, n)
}

func destPrefix(lane uint8, dest string, room int) []byte {
	b := append(make([]byte, 0, len(dest)+3+room), 'd', lane)
	b = append(b, dest...)
	return append(b, 0)
}

// priorityClass sorts the highest priority first.
func priorityClass(priority int8) byte { return byte(127 - int(priority)) }

// lineValue is what a row t says: the destination, and its priority.
func lineValue(dest string, priority int8) []byte {
	if priority == 0 {
		return []byte(dest)
	}
	return append([]byte(dest), 0, priorityClass(priority))
}

func (p *place) parseLine(value []byte) {
	name, class, _ := bytes.Cut(value, []byte{0})
	p.dest = string(name)
	p.parseClass(class)
}

func (p *place) parseClass(class []byte) {
	if len(class) > 0 {
		p.priority = int8(127 - int(class[0]))
	}
}

// place is a recipient in an index.
type place struct {
	due      uint64
	id       ID
	n        uint32
	dest     string
	priority int8
}

// parsePlace reads a key of t, d or e.
func parsePlace(key []byte) (place, bool) {
	if len(key) < 22 {
		return place{}, false
	}
	tail := key[len(key)-20:]
	p := place{due: binary.BigEndian.Uint64(tail), id: ID(binary.BigEndian.Uint64(tail[8:])), n: binary.BigEndian.Uint32(tail[16:])}
	if key[0] == 'd' || key[0] == 'e' {
		name, class, ok := bytes.Cut(key[2:len(key)-20], []byte{0})
		if !ok || len(class) != int(key[0]-'d') {
			return place{}, false
		}
		p.dest = string(name)
		p.parseClass(class)
	}
	return p, true
}

// after returns the smallest key that is larger than every key with the prefix.
func after(prefix []byte) []byte {
	b := bytes.Clone(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return nil
}
