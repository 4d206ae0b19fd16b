package report

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/message"
)

// FailureMail makes the message of a failure report (RFC 6591 section 3, RFC 9991 section 4): in words, in fields, and with
// the header in f.Headers. receiver is our own domain.
func FailureMail(f *Feedback, receiver string) *Mail {
	domain := strings.Join(f.Domains, ", ")
	return &Mail{Subject: "DMARC failure report for " + fileWord(domain), Feedback: f,
		Text: fmt.Sprintf("This is a report of %s about a message that claims to be from %s\nand was received from %s at %s.\nIts authentication failed (%s); what was done with it: %s.\n",
			receiver, domain, f.SourceIP, f.Arrival.UTC().Format(time.RFC3339), f.Failure, f.Delivery)}
}

// feedback writes the parts of a multipart/report (RFC 6522 section 3) behind the text.
func (m *Mail) feedback(b *bytes.Buffer, boundary string) {
	b.WriteString("\r\n--" + boundary + "\r\nContent-Type: message/feedback-report\r\n\r\n")
	b.Write(m.Feedback.Append(nil))
	b.WriteString("\r\n--" + boundary + "\r\nContent-Type: text/rfc822-headers\r\n")
	if plain(m.Feedback.Headers) {
		b.WriteString("\r\n")
		b.Write(m.Feedback.Headers)
	} else {
		b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		wrapped(b, m.Feedback.Headers)
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
}

// plain reports whether text may travel as it is: lines of printable ASCII, no longer than RFC 5322 section 2.1.1 allows.
func plain(text []byte) bool {
	for line := range bytes.Lines(text) {
		body, ended := bytes.CutSuffix(line, []byte("\r\n"))
		if !ended || len(body) > 998 {
			return false
		}
		for _, c := range body {
			if c < ' ' && c != '\t' || c > '~' {
				return false
			}
		}
	}
	return true
}

// privateFields say for whom a message was, which is not the business of who is told that it failed.
var privateFields = []string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc", "Delivered-To", "X-Original-To", "Envelope-To", "Apparently-To"}

// WithoutRecipients returns a header without the fields that name recipients, at most limit octets of whole fields.
func WithoutRecipients(header []byte, limit int) []byte {
	var out []byte
	h := message.ParseHeader(header)
fields:
	for f := range h.Fields() {
		for _, name := range privateFields {
			if strings.EqualFold(string(f.Name), name) {
				continue fields
			}
		}
		if len(out)+len(f.Raw) > limit {
			break
		}
		out = append(out, f.Raw...)
	}
	return out
}
