package report

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
)

// Mail is a message that carries one report, for those who asked for it.
type Mail struct {
	From      string // addresses, as they stand in the field
	To        []string
	Subject   string
	MessageID string // with its angle brackets
	Date      time.Time
	Text      string // for people

	ContentType string // of the report: "application/gzip"
	Filename    string
	Report      []byte // as it is attached

	Feedback *Feedback // of a failure report, in place of an attachment
}

// AggregateMail makes the message of an aggregate report (RFC 9990 section 3.5). receiver is our own domain.
func AggregateMail(a *Aggregate, receiver string) (*Mail, error) {
	packed, err := pack(func(w io.Writer) error { _, err := a.WriteTo(w); return err })
	if err != nil {
		return nil, err
	}
	return &Mail{Subject: a.Subject(receiver), ContentType: "application/gzip", Filename: a.Filename(receiver), Report: packed,
		Text: fmt.Sprintf("This is the DMARC aggregate report of %s about mail that claims to be from %s,\nfor %s to %s.\n",
			receiver, a.Published.Domain, a.Begin.UTC().Format(time.RFC3339), a.End.UTC().Format(time.RFC3339))}, nil
}

func pack(write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := write(z); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// WriteTo writes the message with CRLF line ends. A CR or LF in a value becomes a space.
func (m *Mail) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	field := func(name, value string) {
		b.WriteString(name + ": " + strings.NewReplacer("\r", " ", "\n", " ").Replace(value) + "\r\n")
	}
	boundary := "=_report_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, m.MessageID)
	boundary = boundary[:min(len(boundary), 60)]
	field("From", m.From)
	field("To", strings.Join(m.To, ", "))
	field("Subject", m.Subject)
	field("Date", m.Date.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	field("Message-ID", m.MessageID)
	field("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	field("MIME-Version", "1.0")
	kind := "multipart/mixed"
	if m.Feedback != nil {
		kind = "multipart/report; report-type=feedback-report"
	}
	b.WriteString("Content-Type: " + kind + ";\r\n\tboundary=\"" + boundary + "\"\r\n\r\n--" + boundary + "\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n")
	b.WriteString(strings.ReplaceAll(m.Text, "\n", "\r\n"))
	if m.Feedback != nil {
		m.feedback(&b, boundary)
		n, err := w.Write(b.Bytes())
		return int64(n), err
	}
	b.WriteString("\r\n--" + boundary + "\r\nContent-Type: " + m.ContentType + "\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n\tfilename=\"" +
		strings.Map(plainName, m.Filename) + "\"\r\n\r\n")
	wrapped(&b, m.Report)
	b.WriteString("--" + boundary + "--\r\n")
	n, err := w.Write(b.Bytes())
	return int64(n), err
}

func plainName(r rune) rune {
	if r <= ' ' || r > '~' || r == '"' || r == '\\' || r == '/' {
		return '_'
	}
	return r
}

// wrapped writes base64 in lines of 76 octets (RFC 2045 section 6.8).
func wrapped(b *bytes.Buffer, data []byte) {
	const octets = 57
	for len(data) > 0 {
		n := min(octets, len(data))
		b.WriteString(base64.StdEncoding.EncodeToString(data[:n]))
		b.WriteString("\r\n")
		data = data[n:]
	}
}
