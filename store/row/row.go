// Package row reads and writes the values of rows: varints, octets and texts, one after the other.
//
//	b := row.AppendText(binary.AppendUvarint(nil, 7), "seven")
//	r := row.Reader{B: b}
//	n, name := r.Uint(), r.Text()
//	if r.Bad { ... }
//
// Whatever stands in a row, reading it neither panics nor allocates more than the row is long: the first fault stays
// in Bad, and everything after it is zero.
package row

import "encoding/binary"

// Reader takes values off the beginning of B. A Reader belongs to one goroutine.
type Reader struct {
	B   []byte // what is left
	Bad bool   // something could not be read
}

// Fail marks the row as one that cannot be read.
func (r *Reader) Fail() { r.B, r.Bad = nil, true }

// Uint reads an unsigned varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.B)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.B = r.B[n:]
	return v
}

// Int reads a zigzag varint.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.B)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.B = r.B[n:]
	return v
}

// Byte reads an octet.
func (r *Reader) Byte() byte {
	if len(r.B) == 0 {
		r.Fail()
		return 0
	}
	c := r.B[0]
	r.B = r.B[1:]
	return c
}

// Take reads n octets, which stay part of the row.
func (r *Reader) Take(n uint64) []byte {
	if n > uint64(len(r.B)) {
		r.Fail()
		return nil
	}
	b := r.B[:n:n]
	r.B = r.B[n:]
	return b
}

// Bytes reads a length and as many octets, which stay part of the row.
func (r *Reader) Bytes() []byte { return r.Take(r.Uint()) }

// Text is Bytes as a string of its own.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Count reads how many items follow, each of at least least octets, which must be more than none.
func (r *Reader) Count(least int) int {
	n := r.Uint()
	if n > uint64(len(r.B)/least) {
		r.Fail()
		return 0
	}
	return int(n)
}

// AppendBytes appends what Bytes reads.
func AppendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// AppendText appends what Text reads.
func AppendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
