package imap

import (
	"errors"
	"io"
)

// errDeflate says that compressed data is not of the form of RFC 1951.
var errDeflate = errors.New("imap: compressed data is malformed (RFC 1951)")

// inflate decompresses DEFLATE (RFC 1951). compress/flate gives text only at the end of a block of a certain kind,
// and cannot go on after an interrupted read; this one gives every octet as soon as its bits are there (clients flush
// with Z_PARTIAL_FLUSH) and stops and goes on at any octet.
type inflate struct {
	state inflateState
	final bool
	bits  uint64
	n     uint // bits that are in bits

	window []byte // the last 32 KiB; grows as it is filled
	at     int    // where the next octet goes once it is full
	length int    // octets still to be copied
	dist   int    // from how far back
	stored int    // octets left of a stored block

	lens                 [320]uint8
	nlit, ndist, ncode   int
	index                int
	lits, dists, lengths huffman
}

type inflateState uint8

const (
	inflateHeader inflateState = iota
	inflateLen
	inflateStored
	inflateCounts
	inflateCodeLens
	inflateLens
	inflateSymbols
	inflateEnd
)

const windowOctets = 32 << 10

// huffman is a canonical code (RFC 1951 section 3.2.2).
type huffman struct {
	count  [16]uint16 // codes of each length
	symbol [288]uint16
}

// build makes the code of these lengths; it refuses one that is over-subscribed.
func (h *huffman) build(lens []uint8) bool {
	h.count = [16]uint16{}
	for _, l := range lens {
		h.count[l]++
	}
	left := 1
	var offs [16]uint16
	for l := 1; l < 16; l++ {
		if left = left<<1 - int(h.count[l]); left < 0 {
			return false
		}
		if l < 15 {
			offs[l+1] = offs[l] + h.count[l]
		}
	}
	for s, l := range lens {
		if l != 0 {
			h.symbol[offs[l]] = uint16(s)
			offs[l]++
		}
	}
	return true
}

// Results of decode that are no symbols.
const (
	needBits = -1
	badCode  = -2
)

// decode takes one symbol off the bits.
func (z *inflate) decode(h *huffman) int {
	code, first, index := 0, 0, 0
	for l := uint(1); l < 16; l++ {
		if z.n < l {
			return needBits
		}
		code |= int(z.bits>>(l-1)) & 1
		count := int(h.count[l])
		if code-count < first {
			z.bits >>= l
			z.n -= l
			return int(h.symbol[index+code-first])
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return badCode
}

// take takes k bits, which are there.
func (z *inflate) take(k uint) int {
	v := int(z.bits & (1<<k - 1))
	z.bits >>= k
	z.n -= k
	return v
}

// run decompresses src into p until one of them is used up.
func (z *inflate) run(p, src []byte) (out, in int, err error) {
	for {
		for z.n <= 56 && in < len(src) {
			z.bits |= uint64(src[in]) << z.n
			z.n += 8
			in++
		}
		for z.length > 0 && out < len(p) {
			p[out] = z.put(z.back())
			out++
			z.length--
		}
		if out == len(p) {
			return out, in, nil
		}
		c, state, err := z.step()
		switch {
		case err != nil:
			return out, in, err
		case state == stepOctet:
			p[out] = z.put(c)
			out++
		case state == stepNeed && in == len(src):
			return out, in, nil
		}
	}
}

// put remembers an octet.
func (z *inflate) put(c byte) byte {
	if len(z.window) < windowOctets {
		z.window = append(z.window, c)
		return c
	}
	z.window[z.at] = c
	z.at = (z.at + 1) % windowOctets
	return c
}

// back is the octet at distance dist.
func (z *inflate) back() byte {
	if len(z.window) < windowOctets {
		return z.window[len(z.window)-z.dist]
	}
	return z.window[(z.at-z.dist+windowOctets)%windowOctets]
}

// What a step came to.
const (
	stepOn    = iota // go on
	stepNeed         // more bits are needed
	stepOctet        // an octet was decoded
)

// step does one step of the block at hand; where bits are missing it changes nothing.
func (z *inflate) step() (c byte, result int, err error) {
	switch z.state {
	case inflateHeader:
		if z.n < 3 {
			return 0, stepNeed, nil
		}
		return 0, stepOn, z.header()
	case inflateLen:
		if z.n < 32 {
			return 0, stepNeed, nil
		}
		n, inverse := z.take(16), z.take(16)
		if n != inverse^0xffff {
			return 0, 0, errDeflate
		}
		if z.stored, z.state = n, inflateStored; n == 0 {
			z.endBlock()
		}
	case inflateStored:
		if z.n < 8 {
			return 0, stepNeed, nil
		}
		if z.stored--; z.stored == 0 {
			z.endBlock()
		}
		return byte(z.take(8)), stepOctet, nil
	case inflateSymbols:
		return z.symbol()
	case inflateEnd:
		return 0, 0, io.EOF
	default:
		return z.tables()
	}
	return 0, stepOn, nil
}

func (z *inflate) endBlock() {
	if z.state = inflateHeader; z.final {
		z.state = inflateEnd
	}
}

// header reads the three bits that begin a block.
func (z *inflate) header() error {
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.take(z.n % 8)
		z.state = inflateLen
	case 1: // RFC 1951 section 3.2.6
		for i := range 288 {
			switch {
			case i < 144, i >= 280:
				z.lens[i] = 8
			case i < 256:
				z.lens[i] = 9
			default:
				z.lens[i] = 7
			}
		}
		z.lits.build(z.lens[:288])
		for i := range 30 {
			z.lens[i] = 5
		}
		z.dists.build(z.lens[:30])
		z.state = inflateSymbols
	case 2:
		z.state = inflateCounts
	default:
		return errDeflate
	}
	return nil
}

// codeOrder: RFC 1951 section 3.2.7.
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// tables reads the codes of a dynamic block, a piece at a time.
func (z *inflate) tables() (byte, int, error) {
	switch z.state {
	case inflateCounts:
		if z.n < 14 {
			return 0, stepNeed, nil
		}
		z.nlit, z.ndist, z.ncode, z.index = z.take(5)+257, z.take(5)+1, z.take(4)+4, 0
		if z.nlit > 286 || z.ndist > 30 {
			return 0, 0, errDeflate
		}
		z.lens, z.state = [320]uint8{}, inflateCodeLens
	case inflateCodeLens:
		if z.n < 3 {
			return 0, stepNeed, nil
		}
		z.lens[codeOrder[z.index]] = uint8(z.take(3))
		if z.index++; z.index == z.ncode {
			if !z.lengths.build(z.lens[:19]) {
				return 0, 0, errDeflate
			}
			z.lens, z.index, z.state = [320]uint8{}, 0, inflateLens
		}
	case inflateLens:
		return z.codeLength()
	}
	return 0, stepOn, nil
}

// codeLength reads one code length or a run of them.
func (z *inflate) codeLength() (byte, int, error) {
	bits, n := z.bits, z.n
	sym := z.decode(&z.lengths)
	extra, least, value := uint(0), 1, uint8(0)
	switch {
	case sym == needBits:
		return 0, stepNeed, nil
	case sym == badCode, sym == 16 && z.index == 0:
		return 0, 0, errDeflate
	case sym < 16:
		value = uint8(sym)
	case sym == 16:
		extra, least, value = 2, 3, z.lens[z.index-1]
	case sym == 17:
		extra, least = 3, 3
	default:
		extra, least = 7, 11
	}
	if z.n < extra {
		z.bits, z.n = bits, n
		return 0, stepNeed, nil
	}
	run := least + z.take(extra)
	if z.index+run > z.nlit+z.ndist {
		return 0, 0, errDeflate
	}
	for range run {
		z.lens[z.index] = value
		z.index++
	}
	if z.index < z.nlit+z.ndist {
		return 0, stepOn, nil
	}
	if z.lens[256] == 0 || !z.lits.build(z.lens[:z.nlit]) || !z.dists.build(z.lens[z.nlit:z.nlit+z.ndist]) {
		return 0, 0, errDeflate
	}
	z.state = inflateSymbols
	return 0, stepOn, nil
}

// Lengths and distances of RFC 1951 section 3.2.5.
var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbol decodes a literal, a length with its distance, or the end of the block.
func (z *inflate) symbol() (byte, int, error) {
	bits, n := z.bits, z.n
	sym := z.decode(&z.lits)
	switch {
	case sym == needBits:
		return 0, stepNeed, nil
	case sym == badCode, sym > 285:
		return 0, 0, errDeflate
	case sym < 256:
		return byte(sym), stepOctet, nil
	case sym == 256:
		z.endBlock()
		return 0, stepOn, nil
	}
	length, dist, missing := 0, 0, false
	if extra := uint(lengthExtra[sym-257]); z.n < extra {
		missing = true
	} else {
		length = int(lengthBase[sym-257]) + z.take(extra)
		d := z.decode(&z.dists)
		if d == badCode || d >= 30 {
			return 0, 0, errDeflate
		}
		if missing = d == needBits || z.n < uint(distExtra[d]); !missing {
			dist = int(distBase[d]) + z.take(uint(distExtra[d]))
		}
	}
	if missing {
		z.bits, z.n = bits, n
		return 0, stepNeed, nil
	}
	if dist > len(z.window) {
		return 0, 0, errDeflate
	}
	z.length, z.dist = length, dist
	return 0, stepOn, nil
}
