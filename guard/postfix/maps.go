package postfix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Maps answers socketmap requests: netstrings "NAME KEY", answered by "OK VALUE", "NOTFOUND ", "TEMP REASON".
type Maps struct {
	// Lookup finds what a map holds for a key; found is false if there is nothing, or no such map.
	Lookup func(ctx context.Context, name, key string) (value string, found bool, err error)

	MaxConnections int           // 0: DefaultMaxConnections
	IdleTime       time.Duration // 0: DefaultIdleTime
	Log            *slog.Logger  // nil: none
}

// Limits of socketmap: Postfix itself takes answers of at most 100,000 octets.
const (
	maxKeyOctets    = 4096
	maxAnswerOctets = 100_000
)

// Serve answers until ctx ends, which closes the listener.
func (m *Maps) Serve(ctx context.Context, l net.Listener) error {
	s := server{max: m.MaxConnections, idle: m.IdleTime, log: m.Log, talk: func(ctx context.Context, c net.Conn) error { return m.talk(ctx, c) }}
	return s.serve(ctx, l)
}

func (m *Maps) talk(ctx context.Context, c io.ReadWriter) error {
	r := bufio.NewReader(c)
	for {
		q, err := readNetstring(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a := m.answer(ctx, q)
		if _, err := fmt.Fprintf(c, "%d:%s,", len(a), a); err != nil {
			return err
		}
	}
}

func (m *Maps) answer(ctx context.Context, q string) string {
	name, key, ok := strings.Cut(q, " ")
	if !ok || strings.ContainsAny(key, "\x00\r\n") {
		return "PERM not of the form NAME KEY"
	}
	value, found, err := m.Lookup(ctx, name, key)
	switch {
	case err != nil:
		return "TEMP it cannot be looked up now"
	case !found:
		return "NOTFOUND "
	case len(value) > maxAnswerOctets-3:
		return "PERM the value is too long"
	}
	return "OK " + value
}

var errNetstring = errors.New("not a netstring, or too long")

// readNetstring reads "LENGTH:OCTETS,"; io.EOF if there is none.
func readNetstring(r *bufio.Reader) (string, error) {
	n := ""
	for {
		c, err := r.ReadByte()
		if err != nil {
			if n != "" {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		if c == ':' {
			break
		}
		if c < '0' || c > '9' || len(n) == 5 {
			return "", errNetstring
		}
		n += string(rune(c))
	}
	length, err := strconv.Atoi(n)
	if err != nil || length > maxKeyOctets {
		return "", errNetstring
	}
	b := make([]byte, length+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", io.ErrUnexpectedEOF
	}
	if b[length] != ',' {
		return "", errNetstring
	}
	return string(b[:length]), nil
}
