package row_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/samotop/samotop/store/row"
)

func TestReader(t *testing.T) {
	b := binary.AppendUvarint(nil, 1<<40)
	b = binary.AppendVarint(b, -3)
	b = append(b, 9)
	b = row.AppendText(b, "text")
	b = row.AppendBytes(b, []byte{1, 2})
	b = append(b, 2, 5, 6)
	r := row.Reader{B: b}
	if n, i, c, s, p := r.Uint(), r.Int(), r.Byte(), r.Text(), r.Bytes(); n != 1<<40 || i != -3 || c != 9 || s != "text" || !bytes.Equal(p, []byte{1, 2}) {
		t.Error(n, i, c, s, p)
	}
	if n := r.Count(1); n != 2 || !bytes.Equal(r.Take(2), []byte{5, 6}) || r.Bad || len(r.B) != 0 {
		t.Error(n, r)
	}
	for n := range b { // cut anywhere, it is bad and nothing else
		r := row.Reader{B: b[:n]}
		r.Uint()
		r.Int()
		r.Byte()
		_ = r.Text()
		r.Bytes()
		if r.Take(uint64(r.Count(1))); !r.Bad {
			t.Errorf("cut after %d octets it can be read", n)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte("uibtxkc"))
	f.Add(binary.AppendUvarint(nil, 1<<63), []byte("xk"))
	f.Fuzz(func(t *testing.T, b, what []byte) {
		r := row.Reader{B: b}
		for _, w := range what {
			left := len(r.B)
			switch w {
			case 'u':
				r.Uint()
			case 'i':
				r.Int()
			case 'b':
				r.Byte()
			case 't':
				_ = r.Text()
			case 'x':
				r.Bytes()
			case 'k':
				r.Take(uint64(w))
			default:
				if n := r.Count(3); 3*n > left {
					t.Fatal(n, left)
				}
			}
			if len(r.B) > left || r.Bad && r.B != nil {
				t.Fatal(r)
			}
		}
	})
}
