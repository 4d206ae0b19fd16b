package house

import (
	"fmt"
	"os"
	"strings"

	"github.com/samotop/samotop/qm"
	"github.com/samotop/samotop/sasl"
)

// maxPasswordOctets of a password file are read.
const maxPasswordOctets = 4096

// routes makes the routes of the queue from those of the configuration, with the passwords of those that log in.
func (h *House) routes() ([]qm.Route, error) {
	out := make([]qm.Route, len(h.conf.Routes))
	for i, r := range h.conf.Routes {
		out[i] = qm.Route{Domain: r.Domain, Sender: r.Sender, Account: r.Account, To: r.To, Fallback: r.Fallback, FallbackAfter: r.FallbackAfter,
			TLS: r.TLS, Hello: r.Hello, Source: r.Source, MaxConnections: r.MaxConnections, Interval: r.Interval}
		if r.User == "" {
			continue
		}
		b, err := os.ReadFile(r.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("qm.route for %q: password_file: %w", r.Domain, err)
		}
		if len(b) > maxPasswordOctets {
			return nil, fmt.Errorf("qm.route for %q: password_file %s is longer than %d octets", r.Domain, r.PasswordFile, maxPasswordOctets)
		}
		password := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		out[i].Auth = &sasl.ClientAuth{Config: sasl.ClientConfig{User: r.User, Password: password,
			PlaintextInClear: strings.HasPrefix(r.To, "unix:") || strings.HasPrefix(r.To, "exec:")}}
	}
	return out, nil
}
