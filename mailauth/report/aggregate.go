package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// Aggregate is a DMARC aggregate report (RFC 9990 section 3.1). Texts are as in the report; what is missing is empty.
type Aggregate struct {
	Version    string
	OrgName    string
	Email      string
	Contact    string // extra_contact_info
	ReportID   string
	Begin, End time.Time
	Errors     []string
	Generator  string
	Published  Published
	Records    []Record
	Extensions []Extension
}

// Published is the policy that was found (policy_published).
type Published struct {
	Domain, DKIM, SPF           string // adkim, aspf: "r" or "s"
	Policy, Subdomain, NonExist string // p, sp, np
	Testing                     bool
	Failure                     string // fo
	Percent                     string // pct, of RFC 7489
	Discovery                   string // discovery_method: "psl" or "treewalk"
}

// Record is one row: messages from one address that fared alike.
type Record struct {
	Source                               netip.Addr // not valid if the report has none
	Count                                int64
	Disposition, DKIM, SPF               string
	Reasons                              []Reason
	EnvelopeTo, EnvelopeFrom, HeaderFrom string
	DKIMResults                          []DKIMResult
	SPFResults                           []SPFResult
	Extensions                           []Extension
}

// Reason says why the disposition is not the policy.
type Reason struct{ Type, Comment string }

// DKIMResult is what became of one signature.
type DKIMResult struct{ Domain, Selector, Result, Human string }

// SPFResult is what SPF gave for one identity.
type SPFResult struct{ Domain, Scope, Result, Human string }

// Extension is the name of an extension; what is in it is not kept.
type Extension struct{ Name, Definition string }

// ParseAggregate reads the XML, unpacked. Unknown elements are passed over; of a report that is cut off nothing is
// returned.
func ParseAggregate(r io.Reader) (*Aggregate, error) {
	limited := &io.LimitedReader{R: r, N: MaxOctets + 1}
	d := xml.NewDecoder(limited)
	d.Strict = true
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) { // close enough for domain names and addresses; the rest is for people
		case "us-ascii", "iso-8859-1", "windows-1252", "latin1":
			return latin1{in}, nil
		}
		return nil, fmt.Errorf("%w: charset %.20q", ErrSyntax, charset)
	}
	p := &aggregateReader{a: &Aggregate{}}
	err := p.read(d)
	switch {
	case limited.N <= 0:
		return nil, ErrTooLarge
	case err != nil:
		return nil, err
	case !p.root:
		return nil, ErrNoReport
	}
	return p.a, nil
}

// latin1 makes UTF-8 of ISO 8859-1.
type latin1 struct{ r io.Reader }

func (l latin1) Read(p []byte) (int, error) {
	buf := make([]byte, max(1, len(p)/2))
	n, err := l.r.Read(buf)
	out := p[:0]
	for _, c := range buf[:n] {
		if c < 0x80 || len(p) < 2 {
			out = append(out, c)
		} else {
			out = append(out, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return len(out), err
}

// aggregateReader walks through the elements; path is where it stands.
type aggregateReader struct {
	a     *Aggregate
	path  []string
	text  []byte
	root  bool
	count int
	rec   Record
}

func (p *aggregateReader) read(d *xml.Decoder) error {
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			if len(p.path) > 0 {
				return fmt.Errorf("%w: it is cut off", ErrSyntax)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		switch t := t.(type) {
		case xml.Directive: // a DOCTYPE declares entities, which nobody needs
			if bytes.HasPrefix(bytes.ToUpper(bytes.TrimSpace(t)), []byte("DOCTYPE")) && bytes.Contains(t, []byte("[")) {
				return fmt.Errorf("%w: it declares entities", ErrSyntax)
			}
		case xml.StartElement:
			if err := p.start(t); err != nil {
				return err
			}
		case xml.CharData:
			if room := MaxText - len(p.text); room > 0 {
				p.text = append(p.text, t[:min(room, len(t))]...)
			}
		case xml.EndElement:
			if err := p.end(t.Name.Local); err != nil {
				return err
			}
		}
	}
}

func (p *aggregateReader) start(t xml.StartElement) error {
	if len(p.path) == 0 {
		if p.root || t.Name.Local != "feedback" {
			return ErrNoReport
		}
		p.root = true
	}
	if len(p.path) >= MaxDepth {
		return fmt.Errorf("%w: elements are too deep", ErrTooLarge)
	}
	p.path = append(p.path, t.Name.Local)
	p.text = p.text[:0]
	if p.count++; p.count > MaxRecords*20 {
		return fmt.Errorf("%w: too many elements", ErrTooLarge)
	}
	switch path := p.where(); path {
	case "record":
		if len(p.a.Records) == MaxRecords {
			return fmt.Errorf("%w: more than %d records", ErrTooLarge, MaxRecords)
		}
		p.rec = Record{}
	case "record/row/policy_evaluated/reason":
		p.rec.Reasons = append(p.rec.Reasons, Reason{})
	case "record/auth_results/dkim":
		p.rec.DKIMResults = append(p.rec.DKIMResults, DKIMResult{})
	case "record/auth_results/spf":
		p.rec.SPFResults = append(p.rec.SPFResults, SPFResult{})
	case "record/extensions/extension":
		p.rec.Extensions = append(p.rec.Extensions, extension(t))
	case "extensions/extension":
		p.a.Extensions = append(p.a.Extensions, extension(t))
	}
	return nil
}

func extension(t xml.StartElement) (e Extension) {
	for _, a := range t.Attr {
		switch a.Name.Local {
		case "name":
			e.Name = a.Value[:min(len(a.Value), MaxText)]
		case "definition":
			e.Definition = a.Value[:min(len(a.Value), MaxText)]
		}
	}
	return e
}

// where is the path below the root.
func (p *aggregateReader) where() string {
	if len(p.path) < 2 {
		return ""
	}
	return strings.Join(p.path[1:], "/")
}

func (p *aggregateReader) end(name string) error {
	if len(p.path) == 0 || p.path[len(p.path)-1] != name {
		return fmt.Errorf("%w: elements are not nested", ErrSyntax)
	}
	path, text := p.where(), strings.TrimSpace(string(p.text))
	p.path, p.text = p.path[:len(p.path)-1], p.text[:0]
	switch {
	case path == "record":
		p.a.Records = append(p.a.Records, p.rec)
	case strings.HasPrefix(path, "record/"):
		p.record(strings.TrimPrefix(path, "record/"), text)
	default:
		p.meta(path, text)
	}
	return nil
}
