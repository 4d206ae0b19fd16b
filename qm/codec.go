package qm

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
)

var errRow = errors.New("qm: a row of the queue cannot be read")

// writer appends values to a row.
type writer []byte

func (w *writer) byte(v byte)     { *w = append(*w, v) }
func (w *writer) uint(v uint64)   { *w = binary.AppendUvarint(*w, v) }
func (w *writer) int(v int64)     { *w = binary.AppendVarint(*w, v) }
func (w *writer) string(s string) { w.uint(uint64(len(s))); *w = append(*w, s...) }

// time keeps milliseconds; the zero time stays zero.
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
		return
	}
	w.int(t.UnixMilli())
}

func (w *writer) address(a mail.Address) { w.string(a.Local); w.string(a.Domain) }

func (w *writer) params(ps []mail.Param) {
	w.uint(uint64(len(ps)))
	for _, p := range ps {
		w.string(p.Keyword)
		w.string(p.Value)
		w.byte(flag(p.HasValue, 1))
	}
}

func (w *writer) reply(r mail.Reply) {
	w.uint(uint64(r.Code))
	for _, e := range r.Enhanced {
		w.uint(uint64(e))
	}
	w.string(r.Text)
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

// reader takes them off again. After the first fault everything is zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) time() time.Time {
	ms := r.int()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (r *reader) address() mail.Address { return mail.Address{Local: r.string(), Domain: r.string()} }

// count reads the length of a list whose elements have at least min octets each.
func (r *reader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.b)/least) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) params() []mail.Param {
	n := r.count(3)
	if n == 0 {
		return nil
	}
	ps := make([]mail.Param, n)
	for i := range ps {
		ps[i] = mail.Param{Keyword: r.string(), Value: r.string(), HasValue: r.byte() != 0}
	}
	return ps
}

func (r *reader) reply() mail.Reply {
	v := mail.Reply{Code: int(r.uint() & 0x3ff)}
	for i := range v.Enhanced {
		v.Enhanced[i] = uint16(r.uint())
	}
	v.Text = r.string()
	return v
}

func (r *reader) end() error {
	if r.bad || len(r.b) != 0 {
		return errRow
	}
	return nil
}
