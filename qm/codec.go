package qm

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/row"
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

// reader takes them off again. After the first fault everything is zero and Bad is set.
type reader struct{ row.Reader }

func readerOf(b []byte) *reader { return &reader{row.Reader{B: b}} }

func (r *reader) time() time.Time {
	ms := r.Int()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (r *reader) address() mail.Address { return mail.Address{Local: r.Text(), Domain: r.Text()} }

func (r *reader) params() []mail.Param {
	n := r.Count(3)
	if n == 0 {
		return nil
	}
	ps := make([]mail.Param, n)
	for i := range ps {
		ps[i] = mail.Param{Keyword: r.Text(), Value: r.Text(), HasValue: r.Byte() != 0}
	}
	return ps
}

func (r *reader) reply() mail.Reply {
	v := mail.Reply{Code: int(r.Uint() & 0x3ff)}
	for i := range v.Enhanced {
		v.Enhanced[i] = uint16(r.Uint())
	}
	v.Text = r.Text()
	return v
}

func (r *reader) end() error {
	if r.Bad || len(r.B) != 0 {
		return errRow
	}
	return nil
}
