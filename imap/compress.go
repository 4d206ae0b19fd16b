package imap

import (
	"compress/flate"
	"io"
	"net"
	"sync"
)

// deflater compresses what is written (RFC 4978). A compressor takes a MiB, so that it is borrowed for each write:
// blocks that do not refer to earlier ones continue the stream as well.
type deflater struct {
	to   io.Writer
	pool *sync.Pool
}

func (d *deflater) Write(p []byte) (int, error) {
	w, ok := d.pool.Get().(*flate.Writer)
	if !ok {
		var err error
		if w, err = flate.NewWriter(d.to, flate.BestSpeed); err != nil {
			return 0, err
		}
	}
	w.Reset(d.to)
	n, err := w.Write(p)
	if err == nil {
		err = w.Flush()
	}
	w.Reset(io.Discard) // it must not hold the connection
	d.pool.Put(w)
	return n, err
}

// inflater decompresses what is read. The decompressor cannot go on after an error, so that a poke must not reach
// it: only the wait for the first octet can be ended by one.
type inflater struct {
	nc   net.Conn
	z    io.ReadCloser
	raw  [512]byte
	r, n int
	wait func() error // renews the deadline after a poke; an error ends the connection
	pool *sync.Pool
	buf  *[windowOctets]byte // what was decompressed and not read yet is rest, in buf
	rest []byte
}

// windowOctets is the most that the decompressor gives at once: less room would leave text in it that no new octet
// announces.
const windowOctets = 32 << 10

func newInflater(nc net.Conn, pool *sync.Pool, wait func() error) *inflater {
	f := &inflater{nc: nc, pool: pool, wait: wait}
	f.z = flate.NewReader(f)
	return f
}

// inflated is the reader of the connection.
type inflated struct{ *inflater }

func (f inflated) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		if f.r == f.n {
			n, err := f.nc.Read(f.raw[:])
			if f.r, f.n = 0, n; n == 0 {
				return 0, err
			}
		}
		if f.buf, _ = f.pool.Get().(*[windowOctets]byte); f.buf == nil {
			f.buf = new([windowOctets]byte)
		}
		n, err := f.z.Read(f.buf[:])
		if f.rest = f.buf[:n]; n == 0 {
			f.pool.Put(f.buf)
			return 0, err
		}
	}
	n := copy(p, f.rest)
	if f.rest = f.rest[n:]; len(f.rest) == 0 {
		f.pool.Put(f.buf)
		f.buf, f.rest = nil, nil
	}
	return n, nil
}

// Read and ReadByte are for the decompressor.
func (f *inflater) Read(p []byte) (int, error) {
	if err := f.need(); err != nil {
		return 0, err
	}
	n := copy(p, f.raw[f.r:f.n])
	f.r += n
	return n, nil
}

func (f *inflater) ReadByte() (byte, error) {
	if err := f.need(); err != nil {
		return 0, err
	}
	f.r++
	return f.raw[f.r-1], nil
}

func (f *inflater) need() error {
	for f.r == f.n {
		n, err := f.nc.Read(f.raw[:])
		if f.r, f.n = 0, n; n > 0 {
			return nil
		}
		if !isTimeout(err) {
			return err
		}
		if err := f.wait(); err != nil {
			return err
		}
	}
	return nil
}

// cmdCompress: RFC 4978.
func (c *conn) cmdCompress(p *parser) error {
	if w := p.word(); w != "DEFLATE" {
		return bad("there is no compression %s", clip(w))
	}
	if err := p.end(); err != nil {
		return err
	}
	if c.compress {
		return no("COMPRESSIONACTIVE", "compression is on already")
	}
	c.drop()
	c.tagged("OK", "", "compression begins")
	if err := c.flush(); err != nil {
		return err
	}
	c.compress = true
	c.rd = inflated{newInflater(c.nc, &c.pool.inflate, c.renew)}
	c.wr = &deflater{to: c.nc, pool: &c.pool.deflate}
	return errAnswered
}
