package mta

import (
	"bytes"
	"strings"
)

// maxLineOctets of a header line are looked at.
const maxLineOctets = 256

// hopCounter counts the Received fields of a message while it streams through, to find loops (RFC 5321 section
// 6.3), and finds its Message-ID for the journal. It keeps only the beginning of the current line.
type hopCounter struct {
	max, n int
	line   [maxLineOctets]byte // the beginning of the line
	have   int                 // octets in it
	body   bool                // the header has ended
	inID   bool                // the line before was a Message-ID without its value
	id     string
}

func (h *hopCounter) looping() bool { return h.n > h.max }

func (h *hopCounter) write(p []byte) {
	for !h.body && len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		line := p
		if end >= 0 {
			line = p[:end]
		}
		h.have += copy(h.line[h.have:], line)
		if end < 0 {
			return
		}
		h.endLine()
		p = p[end+1:]
	}
}

func (h *hopCounter) endLine() {
	line := bytes.TrimRight(h.line[:h.have], "\r")
	h.have = 0
	switch {
	case len(line) == 0:
		h.body = true
	case h.inID && (line[0] == ' ' || line[0] == '\t'):
		h.keep(line)
	case hasName(line, "received:"):
		h.n++
	case h.id == "" && hasName(line, "message-id:"):
		h.keep(line[len("message-id:"):])
		h.inID = h.id == ""
		return
	}
	h.inID = false
}

func (h *hopCounter) keep(value []byte) {
	h.id = strings.ToValidUTF8(strings.Trim(string(bytes.TrimSpace(value)), "<>"), "?")
}

func hasName(line []byte, name string) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}
