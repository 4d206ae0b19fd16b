package dsn

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// Write writes the report as a whole message, lines ending in CRLF.
func Write(w io.Writer, r *Report, o Options) error {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Date.IsZero() {
		o.Date = time.Now()
	}
	orig, err := openOriginal(o)
	if err != nil {
		return err
	}
	mw := message.NewWriter(w, message.WriterOptions{UTF8: o.UTF8, EightBit: o.EightBit, Rand: o.Rand})
	if err := writeHeader(mw, r, o, orig); err != nil {
		return err
	}
	m := mw.Multipart("report", message.Param{Name: "report-type", Value: "delivery-status"}) // RFC 6522 section 3
	p := m.Part()
	p.Field("Content-Description", "Notification")
	p.Text("plain", words(r, o))
	writeStatus(m.Part(), r, o)
	if orig != nil {
		orig.write(m.Part(), o)
	}
	m.Close()
	return mw.Close()
}

func writeHeader(w *message.Writer, r *Report, o Options, orig *original) error {
	if o.From.IsNull() {
		o.From = mail.Address{Local: "MAILER-DAEMON", Domain: r.ReportingMTA}
	}
	if o.FromName == "" {
		o.FromName = "Mail Delivery System"
	}
	if o.MessageID == "" {
		var b [15]byte
		if _, err := io.ReadFull(o.Rand, b[:]); err != nil {
			return fmt.Errorf("dsn: make a message id: %w", err)
		}
		o.MessageID = base64.RawURLEncoding.EncodeToString(b[:]) + "@" + r.ReportingMTA
	}
	w.Addresses("From", []message.AddressOrGroup{{Name: o.FromName, Address: o.From}})
	w.Addresses("To", []message.AddressOrGroup{{Address: o.To}})
	w.Field("Subject", subject(r))
	w.Date("Date", o.Date)
	w.RawField("Message-ID", "<"+o.MessageID+">")
	if orig != nil {
		if ids := message.MessageIDs(orig.parsed.Get("Message-ID")); len(ids) > 0 && len(ids[0]) < 500 && isASCII(ids[0]) {
			w.RawField("In-Reply-To", "<"+ids[0]+">")
			w.RawField("References", "<"+ids[0]+">")
		}
	}
	w.RawField("Auto-Submitted", "auto-replied") // RFC 3834 section 5
	return nil
}

func subject(r *Report) string {
	var kinds []Action
	for i := range r.Recipients {
		if a := r.Recipients[i].action(); !slices.Contains(kinds, a) {
			kinds = append(kinds, a)
		}
	}
	switch {
	case slices.Contains(kinds, Failed):
		return "Undelivered Mail Returned to Sender"
	case slices.Contains(kinds, Delayed):
		return "Delayed Mail (still being retried)"
	case len(kinds) == 1 && kinds[0] == Relayed:
		return "Mail Relay Report"
	}
	return "Successful Mail Delivery Report"
}

// writeStatus writes the machine's part (RFC 3464 section 2), or its form of RFC 6533 section 5.
func writeStatus(p *message.Writer, r *Report, o Options) {
	global := o.UTF8 && o.EightBit && r.needsUTF8()
	p.Field("Content-Description", "Delivery report")
	if global {
		p.MediaType("message", "global-delivery-status")
		p.RawField("Content-Transfer-Encoding", "8bit")
	} else {
		p.MediaType("message", "delivery-status")
	}
	var s statusWriter
	s.utf8 = global
	s.field("Original-Envelope-Id", r.EnvelopeID)
	s.typed("Reporting-MTA", "dns", r.ReportingMTA)
	s.typed("DSN-Gateway", "dns", r.Gateway)
	s.typed("Received-From-MTA", "dns", r.ReceivedFrom)
	s.date("Arrival-Date", r.Arrival)
	for i := range r.Recipients {
		s.b.WriteString("\r\n")
		s.recipient(&r.Recipients[i])
	}
	p.Body(&s.b)
}

func (r *Report) needsUTF8() bool {
	for i := range r.Recipients {
		if d := &r.Recipients[i]; d.Final.UTF8() || !isASCII(d.Original) {
			return true
		}
	}
	return false
}

// statusWriter writes the fields of a delivery status. Values that are empty are left out.
type statusWriter struct {
	b    bytes.Buffer
	utf8 bool
}

func (s *statusWriter) field(name, value string) {
	if value == "" {
		return
	}
	if !s.utf8 {
		value = toASCII(value)
	}
	s.b.WriteString(message.FoldField(name, value))
}

func (s *statusWriter) typed(name, kind, value string) {
	if value != "" {
		s.field(name, kind+"; "+value)
	}
}

func (s *statusWriter) date(name string, t time.Time) {
	if !t.IsZero() {
		s.field(name, message.FormatDate(t))
	}
}

func (s *statusWriter) recipient(d *Recipient) {
	if kind, addr, ok := strings.Cut(d.Original, ";"); ok {
		s.address("Original-Recipient", kind, addr)
	}
	kind := "rfc822"
	if d.Final.UTF8() {
		kind = "utf-8"
	}
	s.address("Final-Recipient", kind, d.Final.String())
	s.field("Action", string(d.action()))
	s.field("Status", d.status().String())
	s.typed("Remote-MTA", "dns", d.RemoteMTA)
	if d.Reply.Code != 0 {
		s.typed("Diagnostic-Code", diagnosticType(d), diagnostic(d.Reply))
	}
	s.date("Last-Attempt-Date", d.LastAttempt)
	s.field("Final-Log-ID", d.LogID)
	if d.action() == Delayed {
		s.date("Will-Retry-Until", d.RetryUntil)
	}
}

// address writes an address with its type: of type utf-8 with what is not ASCII as \x{HEX}, unless the report itself
// is in UTF-8 (RFC 6533 section 3).
func (s *statusWriter) address(name, kind, addr string) {
	kind = strings.TrimSpace(kind)
	if !s.utf8 && !isASCII(addr) {
		kind, addr = "utf-8", escapeAddress(addr)
	}
	s.typed(name, kind, addr)
}

// escapeAddress gives the utf-8-addr-xtext form of RFC 6533 section 3.
func escapeAddress(addr string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(addr, "\uFFFD") {
		if r > ' ' && r < 127 && r != '\\' && r != '+' && r != '=' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return b.String()
}

// diagnosticType: what a remote host said is smtp, what we found ourselves is our own kind (RFC 3464 section 2.3.6).
func diagnosticType(d *Recipient) string {
	if d.RemoteMTA != "" {
		return "smtp"
	}
	return "x-samotop"
}

// diagnostic is a reply on one line.
func diagnostic(r mail.Reply) string {
	r.Text = strings.ReplaceAll(r.Text, "\n", " ")
	s := r.String()
	if len(s) > MaxDiagnosticOctets {
		s = strings.ToValidUTF8(s[:MaxDiagnosticOctets], "") + "..."
	}
	return s
}

func (d *Recipient) action() Action {
	switch {
	case d.Action != "":
		return d.Action
	case d.status()[0] == 2:
		return Delivered
	case d.status()[0] == 4:
		return Delayed
	}
	return Failed
}

// status is the status code: of the reply, or the general one of the action. Its class agrees with the action: a
// temporary trouble that was retried too long has become a failure, and RFC 3464 section 2.3.4 keeps its 4.
func (d *Recipient) status() mail.Enhanced {
	switch {
	case d.Status[0] != 0:
		return d.Status
	case d.Reply.Enhanced[0] != 0:
		return d.Reply.Enhanced
	case d.Reply.Code >= 200 && d.Reply.Code < 600:
		return mail.Enhanced{uint16(d.Reply.Code / 100), 0, 0}
	case d.Action == Delayed:
		return mail.Enhanced{4, 0, 0}
	case d.Action == Failed || d.Action == "":
		return mail.Enhanced{5, 0, 0}
	}
	return mail.Enhanced{2, 0, 0}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func toASCII(s string) string {
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '?'
		}
		return r
	}, s)
}

// original is the message that the report is about, its header read.
type original struct {
	header []byte // with its empty line, if it was not cut
	parsed message.Header
	cut    bool
	rest   *bufio.Reader
}

func openOriginal(o Options) (*original, error) {
	if o.Original == nil {
		return nil, nil
	}
	g := &original{rest: bufio.NewReader(o.Original)}
	for {
		line, err := g.rest.ReadSlice('\n')
		if len(g.header)+len(line) > MaxOriginalHeaderBytes {
			g.cut = true
			break
		}
		g.header = append(g.header, line...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("dsn: read the original: %w", err)
		}
		if err == io.EOF || len(line) <= 2 && strings.Trim(string(line), "\r\n") == "" && g.lineIsEmpty(len(line)) {
			break
		}
	}
	g.parsed = message.ParseHeader(g.header)
	return g, nil
}

// lineIsEmpty: the last n octets of the header are a whole line, not the end of a longer one.
func (g *original) lineIsEmpty(n int) bool {
	before := len(g.header) - n
	return before == 0 || g.header[before-1] == '\n'
}

// whole reports whether the message itself is returned. What needs 8BITMIME is not forced through a way without it,
// as message/rfc822 must not be encoded (RFC 2046 section 5.2.1).
func (g *original) whole(o Options) bool {
	limit := o.OriginalBytes
	if limit <= 0 {
		limit = 1 << 20
	}
	eightBit := o.Original8Bit || o.OriginalUTF8
	return o.Ret == mail.RetFull && !g.cut && o.Size > 0 && o.Size <= limit && (o.EightBit || !eightBit) && (o.UTF8 || !o.OriginalUTF8)
}

func (g *original) write(p *message.Writer, o Options) {
	if g.whole(o) {
		p.Field("Content-Description", "Undelivered message")
		p.Message(io.MultiReader(bytes.NewReader(g.header), g.rest), o.OriginalUTF8, o.Original8Bit)
		return
	}
	header := g.header
	if g.cut { // at the last whole line
		header = header[:bytes.LastIndexByte(header, '\n')+1]
	}
	header = bytes.TrimRight(header, "\r\n")
	text, _ := message.DecodeString(header, "us-ascii") // 8-bit octets as well as can be
	p.Field("Content-Description", "Message header")
	if o.OriginalUTF8 && o.UTF8 { // RFC 6533 section 6
		p.TextAs("message", "global-headers", text)
		return
	}
	p.Text("rfc822-headers", text)
}
