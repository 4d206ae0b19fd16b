package guard

import (
	"bytes"
	"strings"

	"github.com/samotop/samotop/message"
)

// Limits of what is looked at of content for the owners of accounts.
const (
	learntHeaderOctets = 64 << 10 // of the header
	learntLineOctets   = 2 << 10  // of a line of a report
	learntOctets       = 1 << 20  // of a report
	maxRefers          = 100      // Message-IDs
)

// learnt reads the content for what owners want to know: the subject, the list, and what a report is about. It keeps the
// header, and of a report the ids.
type learnt struct {
	header []byte
	body   bool // the header is complete, or too long
	cut    bool // it is too long: not all of it is here
	line   []byte
	octets int
	field  bool // the line before was a field that names ids
	refers []string
}

// write takes content. With report it is looked through for ids, in whatever part they are.
func (l *learnt) write(p []byte, report bool) {
	if !l.body {
		from := max(len(l.header)-3, 0)
		l.header = append(l.header, p[:min(len(p), learntHeaderOctets-len(l.header))]...)
		end := bytes.Contains(l.header[from:], []byte("\n\r\n"))
		l.cut = !end && len(l.header) == learntHeaderOctets
		l.body = end || l.cut
	}
	if !report {
		return
	}
	p = p[:min(len(p), learntOctets-l.octets)]
	l.octets += len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		l.line = append(l.line, part[:min(len(part), learntLineOctets-len(l.line))]...)
		if end < 0 {
			return
		}
		l.endLine()
		p = p[end+1:]
	}
}

var referring = []string{"message-id:", "in-reply-to:", "references:", "original-message-id:"}

func (l *learnt) endLine() {
	line := l.line
	l.line = l.line[:0]
	if len(line) == 0 || line[0] != ' ' && line[0] != '\t' {
		l.field = false
		for _, name := range referring {
			l.field = l.field || len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name)
		}
	}
	for l.field && len(l.refers) < maxRefers {
		_, rest, found := bytes.Cut(line, []byte("<"))
		id, after, closed := bytes.Cut(rest, []byte(">"))
		if !found || !closed {
			return
		}
		l.refers = append(l.refers, string(id))
		line = after
	}
}

// tell fills in what was found. The last line need not have ended.
func (l *learnt) tell(q *ContactContent) {
	if len(l.line) > 0 {
		l.endLine()
	}
	h := message.ParseHeader(l.header)
	q.Subject = h.Text("Subject")
	if ids := h.Values("List-Id"); len(ids) == 1 && !l.cut { // of several only the last could be signed (RFC 6376 section 5.4.2)
		v := string(message.Unfold(ids[0]))
		if i := strings.LastIndexByte(v, '<'); i >= 0 { // RFC 2919 section 2: a phrase may stand before it
			v, _, _ = strings.Cut(v[i+1:], ">")
		}
		q.List = strings.TrimSpace(v)
	}
	q.Refers = l.refers
}
