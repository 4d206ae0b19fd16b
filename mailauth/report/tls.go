package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// TLS is an SMTP TLS report (RFC 8460 section 4.4). Its JSON form is what encoding/json makes of it.
type TLS struct {
	Organization string      `json:"organization-name"`
	Range        TLSRange    `json:"date-range"`
	Contact      string      `json:"contact-info"`
	ReportID     string      `json:"report-id"`
	Policies     []TLSPolicy `json:"policies"`
}

// TLSRange is the period of a report.
type TLSRange struct {
	Start time.Time `json:"start-datetime"`
	End   time.Time `json:"end-datetime"`
}

// TLSPolicy is what was found under one policy.
type TLSPolicy struct {
	Policy   TLSPolicyText `json:"policy"`
	Summary  TLSSummary    `json:"summary"`
	Failures []TLSFailure  `json:"failure-details,omitempty"`
}

// TLSPolicyText is a policy as it was found.
type TLSPolicyText struct {
	Type    string   `json:"policy-type"` // "tlsa", "sts" or "no-policy-found"
	Strings []string `json:"policy-string,omitempty"`
	Domain  string   `json:"policy-domain"`
	MXHosts hosts    `json:"mx-host,omitempty"`
}

// TLSSummary counts sessions.
type TLSSummary struct {
	Successful int64 `json:"total-successful-session-count"`
	Failed     int64 `json:"total-failure-session-count"`
}

// TLSFailure counts sessions that failed alike.
type TLSFailure struct {
	Type        string `json:"result-type"` // RFC 8460 section 4.3
	SendingIP   string `json:"sending-mta-ip,omitempty"`
	ReceivingMX string `json:"receiving-mx-hostname,omitempty"`
	MXHelo      string `json:"receiving-mx-helo,omitempty"`
	ReceivingIP string `json:"receiving-ip,omitempty"`
	Count       int64  `json:"failed-session-count"`
	Additional  string `json:"additional-information,omitempty"`
	Reason      string `json:"failure-reason-code,omitempty"`
}

// hosts is a list that some write as one text, which RFC 8460 section 4.4 has too.
type hosts []string

// UnmarshalJSON is of json.Unmarshaler.
func (h *hosts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*h = hosts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(h))
}

// ParseTLS reads the JSON, unpacked.
func ParseTLS(r io.Reader) (*TLS, error) {
	limited := &io.LimitedReader{R: r, N: MaxOctets + 1}
	t := &TLS{}
	err := json.NewDecoder(limited).Decode(t)
	if limited.N <= 0 {
		return nil, ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	n := len(t.Policies)
	for _, p := range t.Policies {
		n += len(p.Failures)
	}
	switch {
	case n > MaxRecords:
		return nil, ErrTooLarge
	case t.ReportID == "" && t.Policies == nil:
		return nil, errors.Join(ErrNoReport)
	}
	return t, nil
}
