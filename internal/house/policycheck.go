package house

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/management"
)

// policyTime is how long the MTA-STS policy of a domain may take to come.
const policyTime = 20 * time.Second

// policyChecker fetches the MTA-STS policy of a domain as other servers do (RFC 8461 section 3.3).
type policyChecker struct {
	recordChecker
	conf *config.Config
	tls  *tls.Config // nil: the system's authorities
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// policy says whether it can be had, whether it names this machine, and whether it is what [https] serves. A domain that
// neither announces nor serves one gives nothing.
func (k policyChecker) policy(ctx context.Context, domain string) []management.Record {
	r := management.Record{Name: "https://" + mtasts.Host(domain) + mtasts.Path, Type: "MTA-STS", Need: optional,
		Why: "the policy itself, as other servers fetch it (RFC 8461 section 3.3)"}
	served := stsPolicy(k.conf)
	if served != nil {
		r.Need, r.Value = recommended, inOneLine(served)
	}
	ctx, cancel := context.WithTimeout(ctx, policyTime)
	defer cancel()
	found, err := mtasts.New(mtasts.Config{Resolver: k.dns, TLS: k.tls, Dial: k.dial, FetchTime: policyTime}).Find(ctx, domain)
	switch p := found.Policy; {
	case err != nil:
		r.State, r.Found = stateUnknown, err.Error()
	case p == nil && found.Failure == nil: // the TXT record tells what is wrong with it
		if served == nil {
			return nil
		}
		r.State, r.Found = stateMissing, "there is no record at "+mtasts.RecordName(domain)+" that tells of it"
	case p == nil:
		r.State, r.Found = stateDifferent, reachable(found.Failure)
	case p.Mode != mtasts.None && !p.Matches(k.hostname):
		r.State, r.Found = stateDifferent, inOneLine(p)+": it does not allow "+k.hostname+", so that others will not deliver here"
	case served != nil && served.String() != p.String():
		r.State, r.Found = stateDifferent, inOneLine(p)
	default:
		r.State, r.Found = stateLive, inOneLine(p)
	}
	return []management.Record{r}
}

// reachable says of a failure what helps.
func reachable(err error) string {
	if errors.Is(err, mtasts.ErrCert) {
		return err.Error() + " (it must hold the name of the web server, and be signed by an authority that others know)"
	}
	return err.Error()
}

func inOneLine(p *mtasts.Policy) string {
	s := ""
	for i, l := range p.Lines() {
		if i > 0 {
			s += "; "
		}
		s += l
	}
	return s
}
