package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/message"
)

// Pack returns the report as gzipped JSON (RFC 8460 section 4.4).
func Pack(r *report.TLS) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(r); err != nil {
		return nil, fmt.Errorf("tlsrpt: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("tlsrpt: %w", err)
	}
	return b.Bytes(), nil
}

// FileName is how the report is called (RFC 8460 section 5.1).
func FileName(domain string, r *report.TLS, a About) string {
	return a.Submitter + "!" + domain + "!" + strconv.FormatInt(r.Range.Start.Unix(), 10) + "!" +
		strconv.FormatInt(r.Range.End.Unix(), 10) + "!" + a.ID + ".json.gz"
}

// Letter is a report by mail.
type Letter struct {
	From, To mail.Address
	Domain   string // reported about
	Date     time.Time
	Rand     io.Reader // nil: crypto/rand
}

// Write writes the report as a message (RFC 8460 section 5.3). It says TLS-Required: No (RFC 8689 section 5), for it has
// to arrive also where TLS does not work (RFC 8460 section 3).
func (l Letter) Write(w io.Writer, r *report.TLS, a About) error {
	packed, err := Pack(r)
	if err != nil {
		return err
	}
	mw := message.NewWriter(w, message.WriterOptions{Rand: l.Rand})
	mw.Addresses("From", []message.AddressOrGroup{{Name: "TLS reports", Address: l.From}})
	mw.Addresses("To", []message.AddressOrGroup{{Address: l.To}})
	mw.Field("Subject", "Report Domain: "+l.Domain+" Submitter: "+a.Submitter+" Report-ID: <"+a.ID+"@"+a.Submitter+">")
	mw.Date("Date", l.Date)
	mw.RawField("Message-ID", "<"+a.ID+"@"+a.Submitter+">")
	mw.RawField("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	mw.RawField("TLS-Required", "No")
	mw.RawField("TLS-Report-Domain", l.Domain)
	mw.RawField("TLS-Report-Submitter", a.Submitter)
	m := mw.Multipart("report", message.Param{Name: "report-type", Value: "tlsrpt"})
	m.Part().Text("plain", "This is a report about TLS in SMTP sessions to the mail servers of "+l.Domain+"\r\non "+
		r.Range.Start.UTC().Format(time.DateOnly)+" (RFC 8460), made by "+a.Submitter+". The report is in the attachment.\r\n"+
		"Who runs that host can be reached at "+a.Contact+".\r\n")
	m.Part().Attachment("application", "tlsrpt+gzip", FileName(l.Domain, r, a), bytes.NewReader(packed))
	m.Close()
	return mw.Close()
}

// Post sends a report by HTTPS (RFC 8460 section 5.4). Any certificate is taken if the client takes it: RFC 8460 section
// 5.4 lets a report pass where validation fails.
func Post(ctx context.Context, client *http.Client, url string, r *report.TLS) error {
	packed, err := Pack(r)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("tlsrpt: %w", err)
	}
	req.Header.Set("Content-Type", "application/tlsrpt+gzip")
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("tlsrpt: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("tlsrpt: %s answers %s", url, res.Status)
	}
	return nil
}
