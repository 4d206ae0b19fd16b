package log

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// scanner reads the groups of one segment in order.
type scanner struct {
	f    disk.File
	id   uint64
	at   place
	size int64
	buf  []byte // what is read ahead
	from int64  // offset of buf[0] in the file
}

// scanOctets is how much is read ahead.
const scanOctets = 1 << 20

func (e *Engine) newScanner(at place) (*scanner, error) {
	f, err := e.o.FS.Open(e.segs.path(at.seg), disk.Sequential)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &scanner{f: f, id: e.id, at: at, size: size}, nil
}

func (s *scanner) close() { s.f.Close() }

// peek returns n octets at the scanner's place, or fewer at the end of the file.
func (s *scanner) peek(n int) ([]byte, error) {
	off := int64(s.at.off)
	if off >= s.from && off+int64(n) <= s.from+int64(len(s.buf)) {
		return s.buf[off-s.from:][:n], nil
	}
	want := min(max(int64(n), scanOctets), max(0, s.size-off))
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.from = s.buf[:want], off
	got, err := s.f.ReadAt(s.buf, off)
	s.buf = s.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s.buf[:min(n, got)], nil
}

// errBad is wrapped around what does not check.
var errBad = errors.New("does not check")

// next reads the group at the scanner's place and moves behind it. io.EOF: the file ends here. errBad: what is here is
// not a whole group; the place stays.
func (s *scanner) next() (header, []record, error) {
	if int64(s.at.off) >= s.size {
		return header{}, nil, io.EOF
	}
	b, err := s.peek(groupHeader)
	if err != nil {
		return header{}, nil, err
	}
	h, ok := parseHeader(b, s.id, s.at)
	if !ok {
		return header{}, nil, fmt.Errorf("header of a group %w", errBad)
	}
	if int64(s.at.off)+groupHeader+int64(h.length) > s.size {
		return h, nil, fmt.Errorf("group of %d octets ends after the file: %w", h.length, errBad)
	}
	b, err = s.peek(groupHeader + int(h.length))
	if err != nil {
		return h, nil, err
	}
	records, err := parseRecords(b[groupHeader:], place{s.at.seg, s.at.off + groupHeader})
	if err != nil {
		return h, nil, err
	}
	s.at.off += uint32(alignUp(len(b)))
	return h, records, nil
}

func parseRecords(b []byte, at place) ([]record, error) {
	var out []record
	for len(b) > 0 {
		r, rest, err := nextRecord(b, at)
		if err == nil {
			err = r.check()
		}
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", err, errBad)
		}
		at.off += uint32(len(b) - len(rest))
		out, b = append(out, r), rest
	}
	return out, nil
}

// check verifies the body of a record.
func (r *record) check() error {
	switch r.kind {
	case recChunk:
		if len(r.meta) != 12 {
			return errors.New("record of a chunk")
		}
		return checkFrames(r.body, le.Uint64(r.meta), le.Uint32(r.meta[8:]), unframed(len(r.body)))
	case recBatch:
		rest := r.body
		err := visit(r.meta, visitor{body: func(id uint64, n int64) error {
			if framed(n) > int64(len(rest)) {
				return errors.New("body longer than its record")
			}
			err := checkFrames(rest[:framed(n)], id, 0, n)
			rest = rest[framed(n):]
			return err
		}})
		if err == nil && len(rest) > 0 {
			err = errors.New("record longer than its bodies")
		}
		return err
	}
	return fmt.Errorf("record of kind %d", r.kind)
}

// unframed is the inverse of framed.
func unframed(n int) int64 {
	blocks := (n + frameOctets - 1) / frameOctets
	return int64(n - blocks*crcOctets)
}

// laterSynced looks behind a place that does not check for a group that says the place was synced. found is false if
// there is none: the place is the torn tail.
func (e *Engine) laterSynced(bad place, segs []uint32) (witness place, found bool, err error) {
	for _, n := range segs {
		if n < bad.seg {
			continue
		}
		from := place{n, 0}
		if n == bad.seg {
			from.off = bad.off + disk.Align
		}
		witness, found, err = e.witnessIn(from, bad)
		if found || err != nil {
			return witness, found, err
		}
	}
	return place{}, false, nil
}

func (e *Engine) witnessIn(from, bad place) (place, bool, error) {
	s, err := e.newScanner(from)
	if err != nil {
		return place{}, false, err
	}
	defer s.close()
	for ; int64(s.at.off) < s.size; s.at.off += disk.Align {
		b, err := s.peek(groupHeader)
		if err != nil {
			return place{}, false, err
		}
		if h, ok := parseHeader(b, e.id, s.at); ok && bad.before(h.synced) {
			return s.at, true, nil
		}
	}
	return place{}, false, nil
}

// onlyZeros tells whether a segment has nothing else from a place on.
func (e *Engine) onlyZeros(from place) (bool, error) {
	s, err := e.newScanner(from)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer s.close()
	for int64(s.at.off) < s.size {
		b, err := s.peek(int(min(disk.Align, s.size-int64(s.at.off))))
		if err != nil {
			return false, err
		}
		if len(b) == 0 || len(bytes.TrimLeft(b, "\x00")) > 0 {
			return false, nil
		}
		s.at.off += uint32(len(b))
	}
	return true, nil
}

func damage(file string, at place, cause error) error {
	return fmt.Errorf("%s: offset %d: %w: %w", file, at.off, store.ErrCorrupt, cause)
}
