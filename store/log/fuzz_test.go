package log

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"github.com/samotop/samotop/store/disk"
)

// sealed gives the records of a group and its header right checksums, so that what is fuzzed gets behind them. It returns
// the group, padded as it stands in the log.
func sealed(records []byte, at place) []byte {
	b := append(make([]byte, groupHeader), records...)
	for rest := b[groupHeader:]; len(rest) >= recordHeader; {
		meta, body := int64(le.Uint32(rest[8:])), int64(le.Uint32(rest[12:]))
		if recordHeader+meta+body > int64(len(rest)) {
			break
		}
		le.PutUint32(rest, crc32.Checksum(rest[4:recordHeader+meta], castagnoli))
		rest = rest[recordHeader+meta+body:]
	}
	h := header{store: 7, at: at, length: uint32(len(records)), number: 1}
	h.put(b)
	return append(b, make([]byte, alignUp(len(b))-len(b))...)
}

// FuzzGroup reads a segment with three groups, of which the fuzzed one is in the middle: reading comes to an end at the end
// of the file or says where something does not check, and what it gives is what stands there.
func FuzzGroup(f *testing.F) {
	body := make([]byte, 0, 300)
	body = append(body, "the body"...)
	framed := le.AppendUint32(body, blockSum(5, 0, body))
	chunkMeta := le.AppendUint32(le.AppendUint64(nil, 5), 0)
	f.Add(append(appendRecordHeader(nil, recChunk, 0, chunkMeta, len(framed)), framed...))
	meta := []byte{1, 5, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 2, opPut, 1, 'k', 1, 'v', opDelete, 1, 'd'}
	f.Add(append(appendRecordHeader(nil, recBatch, 1, meta, len(framed)), framed...))
	f.Add(appendRecordHeader(nil, recBatch, 1, []byte{0, 0, 0}, 0))
	f.Add(make([]byte, recordHeader))
	f.Add([]byte{})
	good := appendRecordHeader(nil, recBatch, 2, []byte{0, 0, 1, opDelete, 1, 'x'}, 0)
	f.Fuzz(func(t *testing.T, records []byte) {
		sim := disk.NewSim(1)
		ss := newSegments(sim, "/log", 1)
		e := &Engine{o: Options{FS: sim}, segs: ss, id: 7}
		var text []byte
		for _, r := range [][]byte{good, records, good} {
			text = append(text, sealed(r, place{1, uint32(len(text))})...)
		}
		if err := sim.MkdirAll("/log"); err != nil {
			t.Fatal(err)
		}
		file, err := sim.Open(ss.path(1), disk.Write|disk.Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(text, 0); err != nil {
			t.Fatal(err)
		}
		s, err := e.newScanner(place{1, 0})
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		groups := 0
		for {
			before := s.at
			_, got, err := s.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, errBad) {
				if s.at != before || groups != 1 {
					t.Fatalf("group %d does not check, at %s, from %s: %v", groups, s.at, before, err)
				}
				s.at.off += uint32(alignUp(groupHeader + len(records)))
				groups++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			groups++
			for _, r := range got {
				if end := int(r.at.off) + len(r.body); end > len(text) || string(text[r.at.off:end]) != string(r.body) {
					t.Fatalf("a body at %s is not there", r.at)
				}
			}
		}
		if groups != 3 || int(s.at.off) != len(text) {
			t.Errorf("%d groups, up to %s of %d", groups, s.at, len(text))
		}
	})
}

// FuzzMeta reads the meta of a batch record and brings it into an index: it does, or says that it cannot.
func FuzzMeta(f *testing.F) {
	e, err := Open(context.Background(), Options{Dir: "/db", FS: disk.NewSim(1)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	r := ref{body: 5, size: 8, extents: []extent{{at: place{1, 4096}, n: 8}}}
	raw := r.append(nil)
	withRef := append([]byte{0, 0, 1, opPutSame, 1, 'k', byte(len(raw) + 2)}, raw...)
	f.Add(append(withRef, byte(len(raw)>>8), byte(len(raw))))
	f.Add(append(append([]byte{0, 1, 1, 'k', byte(len(raw))}, raw...), 1, opDelete, 1, 'k'))
	f.Add([]byte{0, 0, 1, opDeleteRange, 1, 'a', 1, 'b'})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, opPut})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, meta []byte) {
		b := e.db.NewBatch()
		defer b.Close()
		n := 0
		if err := visit(meta, visitor{op: func(byte, []byte, []byte) error { n++; return nil }}); err != nil {
			return
		}
		if n > len(meta) {
			t.Errorf("%d operations in %d octets", n, len(meta))
		}
		_ = newChanges(e, b).record(meta) // an error is a right answer, too
	})
}

// FuzzRef: a reference that parses is the same when it is written again, and its extents hold its octets.
func FuzzRef(f *testing.F) {
	one := ref{body: 5, size: 8, extents: []extent{{at: place{1, 4096}, n: 8}}}
	two := ref{body: 6, size: 65540, extents: []extent{{at: place{1, 4096}, n: 65536}, {at: place{2, 0}, n: 4}}}
	empty := ref{body: 7}
	for _, r := range []ref{one, two, empty} {
		f.Add(r.append(nil))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if end := len(b) - crcOctets; end >= 0 {
			b = le.AppendUint32(b[:end:end], crc32.Checksum(b[:end], castagnoli))
		}
		r, ok := parseRef(b)
		if !ok {
			return
		}
		if got := r.append(nil); string(got) != string(b) {
			t.Errorf("%x is written again as %x", b, got)
		}
		var sum int64
		for _, s := range r.shares() {
			sum += s.octets
		}
		if sum < r.size {
			t.Errorf("the shares have %d octets of %d", sum, r.size)
		}
	})
}
