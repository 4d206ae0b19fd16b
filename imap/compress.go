package imap

import (
	"compress/flate"
	"io"
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

// inflater decompresses what is read. An error of the connection, such as a deadline, passes through and does not
// end it.
type inflater struct {
	from io.Reader
	z    inflate
	raw  [512]byte
	r, n int
}

func (f *inflater) Read(p []byte) (int, error) {
	for {
		out, in, err := f.z.run(p, f.raw[f.r:f.n])
		f.r += in
		if out > 0 || err != nil {
			return out, err
		}
		n, err := f.from.Read(f.raw[:])
		if f.r, f.n = 0, n; n == 0 && err != nil {
			return 0, err
		}
	}
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
	c.rd = &inflater{from: c.nc}
	c.wr = &deflater{to: c.nc, pool: &c.pool.deflate}
	return errAnswered
}
