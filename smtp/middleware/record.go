package middleware

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
)

// Recorder writes each session down as a dialogue that smtptest.Script plays again: "C: " in front of what the client
// says, "S: " in front of the server's replies. It stands below the server, at the listener, because it is about octets;
// under TLS begun by STARTTLS it sees only what is encrypted, and stops there. What it writes holds passwords and mail.
type Recorder struct {
	// New gives the place for one session, which is closed at its end; an error refuses the connection.
	New func(remote net.Addr) (io.WriteCloser, error)
	// MaxOctets ends the record of a session that grows too long; 0: 10 MiB.
	MaxOctets int
}

// Listener gives a net.Listener whose connections are recorded.
func (r Recorder) Listener(l net.Listener) net.Listener { return &recording{l, r} }

type recording struct {
	net.Listener
	r Recorder
}

func (l *recording) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		w, err := l.r.New(conn.RemoteAddr())
		if err != nil {
			conn.Close()
			continue
		}
		return l.r.Conn(conn, w), nil
	}
}

// Conn gives the server's end of a connection, recorded to w.
func (r Recorder) Conn(conn net.Conn, w io.WriteCloser) net.Conn {
	left := r.MaxOctets
	if left <= 0 {
		left = 10 << 20
	}
	return &recorded{Conn: conn, w: w, left: left}
}

type recorded struct {
	net.Conn
	mu    sync.Mutex
	w     io.WriteCloser
	left  int
	who   byte
	part  []byte // of a line of who
	ended bool
	err   error
}

// maxPart is how much of a line is kept before it is written in parts.
const maxPart = 4096

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.note('C', p[:n])
	return n, err
}

func (r *recorded) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.note('S', p[:n])
	return n, err
}

// CloseWrite ends what the server says, if the connection can do that.
func (r *recorded) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return net.ErrClosed
}

func (r *recorded) Close() error {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		r.flush()
		_ = r.w.Close()
	}
	r.mu.Unlock()
	return r.Conn.Close()
}

func (r *recorded) note(who byte, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.left <= 0 || len(p) == 0 {
		return
	}
	if who == 'C' && len(r.part) == 0 && p[0] == 22 && r.who == 'S' { // a TLS handshake record
		r.left = 0
		_, _ = io.WriteString(r.w, "# TLS from here\n")
		return
	}
	r.left -= len(p)
	if who != r.who {
		r.flush()
		r.who = who
	}
	for len(p) > 0 {
		n := len(p)
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			n = i + 1
		}
		r.part = append(r.part, p[:n]...)
		p = p[n:]
		if r.part[len(r.part)-1] == '\n' || len(r.part) > maxPart {
			r.flush()
		}
	}
}

// flush writes the line, or the part of one, that is held.
func (r *recorded) flush() {
	if len(r.part) == 0 {
		return
	}
	line, whole := bytes.CutSuffix(r.part, []byte("\r\n"))
	switch {
	case whole && isPlain(line):
		_, r.err = fmt.Fprintf(r.w, "%c: %s\n", r.who, line)
	default:
		_, r.err = fmt.Fprintf(r.w, "%c: %s\n", r.who|0x20, escape(r.part))
	}
	if r.err != nil {
		r.left = 0
	}
	r.part = r.part[:0]
}

func isPlain(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return string(line) != "EOF"
}

func escape(p []byte) []byte {
	var b []byte
	for _, c := range p {
		switch {
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\\':
			b = append(b, `\\`...)
		case c < ' ' || c > '~':
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return b
}
