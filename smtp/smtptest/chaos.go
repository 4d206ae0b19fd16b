package smtptest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// Chaos is what can go wrong with a connection. Zero fields do nothing.
type Chaos struct {
	Piece    int            // octets that are read or written at a time at most
	Delay    time.Duration  // before each of these pieces
	CutRead  int            // the connection breaks after so many octets were read; counted from 1
	CutWrite int            // the same for writing; the octets before the cut arrive
	Replies  map[int]string // lines written instead of the n-th, counted from 0; "" leaves it out
}

// Conn gives a connection on which these things happen, to be put under a server (Replies) or a client.
func (c Chaos) Conn(conn net.Conn) net.Conn { return &chaotic{Conn: conn, c: c} }

type chaotic struct {
	net.Conn
	c  Chaos
	mu sync.Mutex
	// read and written so far, and lines written
	r, w, lines int
}

// CloseWrite is passed on.
func (c *chaotic) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return net.ErrClosed
}

func (c *chaotic) Read(p []byte) (int, error) {
	if c.c.Piece > 0 && len(p) > c.c.Piece {
		p = p[:c.c.Piece]
	}
	time.Sleep(c.c.Delay)
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r += n
	if c.c.CutRead > 0 && c.r >= c.c.CutRead {
		c.Conn.Close()
		return max(0, n-(c.r-c.c.CutRead)), io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *chaotic) Write(p []byte) (int, error) {
	n := len(p)
	if c.c.Replies != nil {
		p = c.swap(p)
	}
	for len(p) > 0 {
		piece := p
		if c.c.Piece > 0 && len(p) > c.c.Piece {
			piece = p[:c.c.Piece]
		}
		time.Sleep(c.c.Delay)
		if err := c.piece(piece); err != nil {
			return 0, err
		}
		p = p[len(piece):]
	}
	return n, nil
}

func (c *chaotic) piece(p []byte) error {
	c.mu.Lock()
	cut := c.c.CutWrite > 0 && c.w+len(p) >= c.c.CutWrite
	if cut {
		p = p[:max(0, c.c.CutWrite-c.w)]
	}
	c.w += len(p)
	c.mu.Unlock()
	_, err := c.Conn.Write(p)
	if cut {
		c.Conn.Close()
		return io.ErrClosedPipe
	}
	return err
}

// swap puts other lines in the place of those that are named.
func (c *chaotic) swap(p []byte) []byte {
	var out []byte
	for _, line := range bytes.SplitAfter(p, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if other, ok := c.c.Replies[c.lines]; !ok {
			out = append(out, line...)
		} else if other != "" {
			out = append(append(out, other...), '\r', '\n')
		}
		c.lines++
	}
	return out
}
