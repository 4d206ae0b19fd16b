package acme

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	acmeproto "github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"
)

// DNS answers DNS-01 by dynamic updates (RFC 2136) of the zone's primary server, signed by TSIG (RFC 8945). Server is required.
type DNS struct {
	Server    string        // address and port
	KeyName   string        // "": updates are not signed
	Secret    string        // base64
	Algorithm string        // "": hmac-sha256
	Delay     time.Duration // for the other servers of the zone, before the authority is told to look
}

// Limits of a challenge.
const (
	dnsTime = 10 * time.Second // for each exchange
	dnsTTL  = 60               // seconds
)

// Present publishes the answer.
func (d *DNS) Present(ctx context.Context, c acmeproto.Challenge) error {
	return d.update(ctx, c, (*dns.Msg).Insert)
}

// CleanUp takes it back.
func (d *DNS) CleanUp(ctx context.Context, c acmeproto.Challenge) error {
	return d.update(ctx, c, (*dns.Msg).Remove)
}

// Wait gives the other servers of the zone time to follow.
func (d *DNS) Wait(ctx context.Context, _ acmeproto.Challenge) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d.Delay):
		return nil
	}
}

func (d *DNS) update(ctx context.Context, c acmeproto.Challenge, how func(*dns.Msg, []dns.RR)) error {
	name := dns.CanonicalName(c.DNS01TXTRecordName())
	zone, err := d.zone(ctx, name)
	if err != nil {
		return fmt.Errorf("acme: update %s at %s: %w", name, d.Server, err)
	}
	m := new(dns.Msg)
	m.SetUpdate(zone)
	how(m, []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: dnsTTL}, Txt: []string{c.DNS01KeyAuthorization()}}})
	r, err := d.exchange(ctx, m)
	if err == nil && r.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("the server answers %s", dns.RcodeToString[r.Rcode])
	}
	if err != nil {
		return fmt.Errorf("acme: update %s in the zone %s at %s: %w", name, zone, d.Server, err)
	}
	return nil
}

// zone asks which zone of the server a name is in.
func (d *DNS) zone(ctx context.Context, name string) (string, error) {
	for at := name; at != "."; {
		m := new(dns.Msg)
		m.SetQuestion(at, dns.TypeSOA)
		r, err := d.exchange(ctx, m)
		if err != nil {
			return "", err
		}
		for _, rr := range append(r.Answer, r.Ns...) {
			if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
				return dns.CanonicalName(soa.Hdr.Name), nil
			}
		}
		_, rest, ok := strings.Cut(at, ".")
		if !ok || rest == "" {
			break
		}
		at = rest
	}
	return "", errors.New("the server has no zone for it")
}

func (d *DNS) exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	c := &dns.Client{Net: "tcp", Timeout: dnsTime}
	if d.KeyName != "" {
		key := dns.CanonicalName(d.KeyName)
		algorithm := dns.HmacSHA256
		if d.Algorithm != "" {
			algorithm = dns.CanonicalName(d.Algorithm)
		}
		c.TsigSecret = map[string]string{key: d.Secret}
		m.SetTsig(key, algorithm, 300, time.Now().Unix())
	}
	r, _, err := c.ExchangeContext(ctx, m, d.Server)
	return r, err
}
