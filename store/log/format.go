package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unsafe"

	"github.com/samotop/samotop/store/disk"
)

// formatVersion is what DIR/FORMAT says; a newer one is refused by name.
const formatVersion = 1

const (
	groupMagic   = 0x31474c53 // "SLG1"
	groupHeader  = 64
	recordHeader = 24
	blockOctets  = 64 << 10
	crcOctets    = 4
	frameOctets  = blockOctets + crcOctets
)

// Kinds of a record.
const (
	recBatch = 1
	recChunk = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// place is a position in the log.
type place struct {
	seg uint32
	off uint32
}

func (p place) before(q place) bool { return p.seg < q.seg || p.seg == q.seg && p.off < q.off }

func (p place) String() string { return fmt.Sprintf("%s offset %d", segmentName(p.seg), p.off) }

// header is the first 64 octets of a group, little-endian:
//
//	0 magic, 4 crc32c of octets 8 to 63, 8 identity of the store, 16 segment, 20 offset (both say where the group
//	stands), 24 octets of records, 28 zero, 32 number of the group, 40 and 44 segment and offset up to which the log
//	was known to be synced, 48 position before the group's first batch, 56 number drawn at Open
type header struct {
	store   uint64
	at      place
	length  uint32
	number  uint64
	synced  place
	pos     uint64
	session uint64
}

func (h *header) put(b []byte) {
	le.PutUint32(b[0:], groupMagic)
	le.PutUint64(b[8:], h.store)
	le.PutUint32(b[16:], h.at.seg)
	le.PutUint32(b[20:], h.at.off)
	le.PutUint32(b[24:], h.length)
	le.PutUint32(b[28:], 0)
	le.PutUint64(b[32:], h.number)
	le.PutUint32(b[40:], h.synced.seg)
	le.PutUint32(b[44:], h.synced.off)
	le.PutUint64(b[48:], h.pos)
	le.PutUint64(b[56:], h.session)
	le.PutUint32(b[4:], crc32.Checksum(b[8:groupHeader], castagnoli))
}

// parseHeader tells whether b begins with a header of this store that belongs to this place.
func parseHeader(b []byte, id uint64, at place) (h header, ok bool) {
	if len(b) < groupHeader || le.Uint32(b) != groupMagic ||
		le.Uint32(b[4:]) != crc32.Checksum(b[8:groupHeader], castagnoli) {
		return h, false
	}
	h = header{store: le.Uint64(b[8:]), at: place{le.Uint32(b[16:]), le.Uint32(b[20:])}, length: le.Uint32(b[24:]),
		number: le.Uint64(b[32:]), synced: place{le.Uint32(b[40:]), le.Uint32(b[44:])}, pos: le.Uint64(b[48:]),
		session: le.Uint64(b[56:])}
	return h, h.store == id && h.at == at
}

// record is one entry of a group: crc32c of all that follows but the body, kind, three zeros, octets of meta, octets
// of body, position, meta, body. The body is blocks, each followed by a checksum of its own.
type record struct {
	kind uint8
	pos  uint64
	meta []byte
	body []byte
	at   place // of the body
}

func appendRecordHeader(b []byte, kind uint8, pos uint64, meta []byte, body int) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, kind, 0, 0, 0)
	b = le.AppendUint32(b, uint32(len(meta)))
	b = le.AppendUint32(b, uint32(body))
	b = le.AppendUint64(b, pos)
	b = append(b, meta...)
	le.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// nextRecord takes the first record off b, which stands at the place.
func nextRecord(b []byte, at place) (r record, rest []byte, err error) {
	if len(b) < recordHeader {
		return r, nil, fmt.Errorf("record header of %d octets", len(b))
	}
	meta, body := int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	if recordHeader+meta+body > int64(len(b)) {
		return r, nil, fmt.Errorf("record of %d octets in %d", recordHeader+meta+body, len(b))
	}
	end := recordHeader + int(meta)
	if le.Uint32(b) != crc32.Checksum(b[4:end], castagnoli) {
		return r, nil, fmt.Errorf("record checksum")
	}
	r = record{kind: b[4], pos: le.Uint64(b[16:]), meta: b[recordHeader:end], body: b[end : end+int(body)]}
	r.at = place{at.seg, at.off + uint32(end)}
	return r, b[end+int(body):], nil
}

// blockSum binds a block to its body and its place in it, so that a read of the wrong place does not pass.
func blockSum(body uint64, index uint32, data []byte) uint32 {
	var seed [12]byte
	le.PutUint64(seed[:], body)
	le.PutUint32(seed[8:], index)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, data)
}

// framed is how many octets n octets of a body take in the log.
func framed(n int64) int64 {
	return n + (n+blockOctets-1)/blockOctets*crcOctets
}

// checkFrames verifies blocks that begin at block first; n is their octets without checksums.
func checkFrames(b []byte, body uint64, first uint32, n int64) error {
	if int64(len(b)) != framed(n) {
		return fmt.Errorf("%d octets for a body of %d", len(b), n)
	}
	for i := first; n > 0; i++ {
		size := min(n, blockOctets)
		if le.Uint32(b[size:]) != blockSum(body, i, b[:size]) {
			return fmt.Errorf("checksum of block %d", i)
		}
		b, n = b[size+crcOctets:], n-size
	}
	return nil
}

func alignUp(n int) int { return (n + disk.Align - 1) &^ (disk.Align - 1) }

// alignedBuffer returns an empty slice whose memory begins at a multiple of disk.Align.
func alignedBuffer(capacity int) []byte {
	b := make([]byte, capacity+disk.Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (disk.Align - 1))
	return b[skip : skip : skip+capacity]
}
