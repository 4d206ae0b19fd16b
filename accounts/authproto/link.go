package authproto

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	errServer = errors.New("authproto: the server does not keep to the protocol")
	errFull   = errors.New("authproto: too many exchanges at once")
)

// link is one connection of a Client.
type link struct {
	nc   net.Conn
	done chan struct{} // closed with err set

	writing sync.Mutex

	mu      sync.Mutex
	err     error
	last    uint32
	waiting map[string]chan []string
}

// dial connects and shakes hands.
func (c *Client) dial(ctx context.Context) (*link, []mechanism, error) {
	nc, err := c.Dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		nc.SetDeadline(end)
	}
	l := &link{nc: nc, done: make(chan struct{}), waiting: map[string]chan []string{}}
	r := bufio.NewReaderSize(nc, orDefault(c.MaxLineOctets, 16384))
	if _, err := io.WriteString(nc, "VERSION\t1\t2\nCPID\t"+strconv.Itoa(os.Getpid())+"\n"); err != nil {
		nc.Close()
		return nil, nil, err
	}
	mechs, err := handshake(r)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	nc.SetDeadline(time.Time{})
	go l.read(r)
	return l, mechs, nil
}

// handshake reads the server's side until DONE.
func handshake(r *bufio.Reader) ([]mechanism, error) {
	var mechs []mechanism
	versioned := false
	for range maxParams {
		words, err := readLine(r)
		if err != nil {
			return nil, err
		}
		switch words[0] {
		case "VERSION":
			if len(words) < 3 || words[1] != "1" {
				return nil, errServer
			}
			versioned = true
		case "MECH":
			if len(words) < 2 {
				return nil, errServer
			}
			m := mechanism{name: strings.ToUpper(words[1])}
			for _, flag := range words[2:] {
				m.plaintext = m.plaintext || flag == "plaintext"
				m.bound = m.bound || flag == flagBound
				m.certificate = m.certificate || flag == flagCertificate
			}
			mechs = append(mechs, m)
		case "DONE":
			if !versioned {
				return nil, errServer
			}
			return mechs, nil
		}
	}
	return nil, errServer
}

func readLine(r *bufio.Reader) ([]string, error) {
	raw, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errServer
	}
	if err != nil {
		return nil, err
	}
	return splitLine(strings.TrimSuffix(string(raw), "\n"))
}

// read gives each answer to whoever waits for it, until the connection ends.
func (l *link) read(r *bufio.Reader) {
	for {
		words, err := readLine(r)
		if err != nil {
			l.fail(err)
			return
		}
		switch words[0] {
		case "OK", "FAIL", "CONT":
		default:
			continue // what later versions may add
		}
		if len(words) < 2 {
			l.fail(errServer)
			return
		}
		l.mu.Lock()
		in := l.waiting[words[1]]
		l.mu.Unlock()
		if in == nil {
			continue // cancelled
		}
		select {
		case in <- words:
		default:
			l.fail(errServer) // two answers to one response
			return
		}
	}
}

func (l *link) write(s string) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.nc.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := io.WriteString(l.nc, s)
	if err != nil {
		l.fail(err)
	}
	return err
}

// add makes room for an exchange.
func (l *link) add(limit int) (string, chan []string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return "", nil, l.err
	case len(l.waiting) >= limit:
		return "", nil, errFull
	}
	for { // ids come round after four thousand million
		if l.last++; l.last == 0 {
			l.last = 1
		}
		id := strconv.FormatUint(uint64(l.last), 10)
		if _, taken := l.waiting[id]; !taken {
			in := make(chan []string, 1)
			l.waiting[id] = in
			return id, in, nil
		}
	}
}

func (l *link) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}

func (l *link) alive() bool { return l.cause() == nil }

func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fail ends the connection.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.err = err; err == nil {
		l.err = io.EOF
	}
	close(l.done)
	l.nc.Close()
}
