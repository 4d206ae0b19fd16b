package message

// base64Value gives the value of an octet in base64 (RFC 2045 section 6.8); padChar for "=", notBase64 for what a
// decoder passes over.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = notBase64
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	t['='] = padChar
	return t
}()

const (
	padChar   = 64
	notBase64 = 65
)

// base64Decoder decodes leniently: octets that are not of the alphabet are passed over, missing padding at the end
// is supplied, and what follows padding is decoded as another run, as some programs encode line by line.
type base64Decoder struct {
	bits uint32
	n    uint8 // characters in bits, below 4
}

func (d *base64Decoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		if d.n == 0 && i+4 <= len(src) {
			a, b, c, e := base64Value[src[i]], base64Value[src[i+1]], base64Value[src[i+2]], base64Value[src[i+3]]
			if a|b|c|e < 64 {
				dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
				i += 4
				continue
			}
		}
		switch v := base64Value[src[i]]; {
		case v < 64:
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
				d.n, d.bits = 0, 0
			}
		case v == padChar:
			dst = d.flush(dst)
		}
		i++
	}
	return dst
}

func (d *base64Decoder) flush(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.n, d.bits = 0, 0
	return dst
}
