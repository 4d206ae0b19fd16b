package mta

import "bytes"

// hopCounter counts the Received fields of a message while it streams through, to find loops (RFC 5321 section
// 6.3). It keeps only the beginning of the current line.
type hopCounter struct {
	max, n int
	name   [9]byte // beginning of the line: "received:" is as long as it needs to be
	have   int     // octets in the line so far, as far as they matter
	body   bool    // the header has ended
}

func (h *hopCounter) looping() bool { return h.n > h.max }

func (h *hopCounter) write(p []byte) {
	for !h.body && len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		line := p
		if end >= 0 {
			line = p[:end]
		}
		h.add(line)
		if end < 0 {
			return
		}
		h.endLine()
		p = p[end+1:]
	}
}

func (h *hopCounter) add(b []byte) {
	if h.have < len(h.name) {
		h.have += copy(h.name[h.have:], b)
	}
}

func (h *hopCounter) endLine() {
	switch line := h.name[:h.have]; {
	case len(line) == 0, string(line) == "\r":
		h.body = true
	case len(line) == len("received:") && bytes.EqualFold(line, []byte("received:")):
		h.n++
	}
	h.have = 0
}
