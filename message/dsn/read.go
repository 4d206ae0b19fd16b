package dsn

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// Parse reads the report of a parsed message, its content being read from r. A message without a delivery status
// gives ErrNotReport; other errors are r's.
func Parse(root *message.Part, r io.ReaderAt) (*Report, error) {
	for p := range root.All() {
		if p.Type == "message" && (p.Subtype == "delivery-status" || p.Subtype == "global-delivery-status") {
			body := message.DecodeBody(io.NewSectionReader(r, p.BodyStart, p.End-p.BodyStart), p.Encoding)
			b, err := io.ReadAll(io.LimitReader(body, MaxStatusBytes))
			if err != nil {
				return nil, fmt.Errorf("dsn: read the delivery status: %w", err)
			}
			return ParseStatus(b), nil
		}
	}
	return nil, ErrNotReport
}

// ParseStatus reads the body of a message/delivery-status part, decoded.
func ParseStatus(b []byte) *Report {
	rep := &Report{}
	first := true
	for len(b) > 0 {
		h := message.ParseHeader(b)
		b = b[len(h.Raw()):]
		if h.Len() == 0 {
			continue
		}
		// RFC 3464 section 2.1: the first group is about the message; some systems leave it out.
		if !h.Has("Final-Recipient") && !h.Has("Action") {
			if first {
				rep.readMessage(&h)
			}
			first = false
			continue
		}
		first = false
		if len(rep.Recipients) < MaxRecipients {
			rep.Recipients = append(rep.Recipients, readRecipient(&h))
		}
	}
	return rep
}

func (r *Report) readMessage(h *message.Header) {
	r.EnvelopeID = h.Text("Original-Envelope-Id")
	r.ReportingMTA = name(h, "Reporting-MTA")
	r.ReceivedFrom = name(h, "Received-From-MTA")
	r.Gateway = name(h, "DSN-Gateway")
	r.Arrival, _ = message.ParseDate(h.Get("Arrival-Date"))
}

func readRecipient(h *message.Header) Recipient {
	var d Recipient
	if kind, addr, ok := strings.Cut(h.Text("Original-Recipient"), ";"); ok {
		kind = strings.ToLower(strings.TrimSpace(kind))
		d.Original = kind + ";" + unescapeAddress(kind, strings.TrimSpace(addr))
	}
	kind, addr, ok := strings.Cut(h.Text("Final-Recipient"), ";")
	if !ok {
		kind, addr = "", kind
	}
	d.Final = readAddress(unescapeAddress(strings.ToLower(strings.TrimSpace(kind)), strings.TrimSpace(addr)))
	d.Action = readAction(h.Text("Action"))
	d.Status = readStatus(h.Text("Status"))
	d.RemoteMTA = name(h, "Remote-MTA")
	d.Reply = readDiagnostic(h.Text("Diagnostic-Code"))
	d.LastAttempt, _ = message.ParseDate(h.Get("Last-Attempt-Date"))
	d.RetryUntil, _ = message.ParseDate(h.Get("Will-Retry-Until"))
	d.LogID = h.Text("Final-Log-ID")
	return d
}

// name reads "type; name", without the type.
func name(h *message.Header, field string) string {
	v := h.Text(field)
	if _, n, ok := strings.Cut(v, ";"); ok {
		v = n
	}
	return strings.TrimSpace(v)
}

func readAction(s string) Action {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(s)), " ")
	switch a := Action(word); a {
	case Failed, Delayed, Delivered, Relayed, Expanded:
		return a
	}
	return ""
}

// readStatus reads "5.1.1", perhaps with a comment after it; zero if it is none.
func readStatus(s string) mail.Enhanced {
	word := s
	if i := strings.IndexAny(s, " \t(;"); i >= 0 {
		word = s[:i]
	}
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return mail.Enhanced{}
	}
	var e mail.Enhanced
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n > 999 {
			return mail.Enhanced{}
		}
		e[i] = uint16(n)
	}
	return e
}

// readDiagnostic reads a diagnostic code of type smtp; of another type all is text.
func readDiagnostic(s string) mail.Reply {
	kind, text, ok := strings.Cut(s, ";")
	if !ok {
		kind, text = "", s
	}
	text = strings.TrimSpace(text)
	var r mail.Reply
	kind = strings.ToLower(strings.TrimSpace(kind))
	if len(text) >= 3 && (kind == "smtp" || kind == "x-samotop") {
		if code, err := strconv.Atoi(text[:3]); err == nil && code >= 200 && code < 600 {
			r.Code = code
			text = strings.TrimLeft(text[3:], " -")
			word, rest, _ := strings.Cut(text, " ")
			if e := readStatus(word); e[0] != 0 {
				r.Enhanced, text = e, rest
			}
		}
	}
	r.Text = text
	return r
}

// readAddress takes what is no address as a local part alone.
func readAddress(s string) mail.Address {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
	if a, err := mail.ParseAddress(s); err == nil {
		return a
	}
	if list := message.ParseAddressList([]byte(s)); len(list) > 0 {
		return list[0].Address
	}
	return mail.Address{}
}

// unescapeAddress decodes \x{HEX} of type utf-8 (RFC 6533 section 3).
func unescapeAddress(kind, s string) string {
	if kind != "utf-8" || !strings.Contains(s, `\x{`) {
		return s
	}
	var b strings.Builder
	for s != "" {
		before, rest, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			break
		}
		hex, after, closed := strings.Cut(rest, "}")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !closed || err != nil || len(hex) > 6 || n > 0x10ffff {
			b.WriteString(`\x{`)
			s = rest
			continue
		}
		b.WriteRune(rune(n))
		s = after
	}
	return b.String()
}
