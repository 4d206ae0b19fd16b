package house

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/samotop/samotop/internal/config"
)

// Where mail programs look for settings: Mozilla's config file format 1.1, which Thunderbird, KMail, Evolution, K-9 and
// others read.
const (
	autoconfigLabel = "autoconfig."
	autoconfigPath  = "/mail/config-v1.1.xml"
)

type clientConfig struct {
	XMLName  xml.Name       `xml:"clientConfig"`
	Version  string         `xml:"version,attr"`
	Provider clientProvider `xml:"emailProvider"`
}

type clientProvider struct {
	ID        string         `xml:"id,attr"`
	Domain    string         `xml:"domain"`
	Name      string         `xml:"displayName"`
	ShortName string         `xml:"displayShortName"`
	Incoming  []clientServer `xml:"incomingServer"`
	Outgoing  []clientServer `xml:"outgoingServer"`
}

type clientServer struct {
	Type           string `xml:"type,attr"`
	Hostname       string `xml:"hostname"`
	Port           uint16 `xml:"port"`
	SocketType     string `xml:"socketType"` // SSL, STARTTLS
	Authentication string `xml:"authentication"`
	Username       string `xml:"username"`
}

// clientConfigOf says how people of a domain reach this machine; TLS from the first octet comes first (RFC 8314 section 3).
func clientConfigOf(c *config.Config, domain string) clientConfig {
	servers := func(kind string, ls []config.Listen, plain, secure string) (out []clientServer) {
		for _, scheme := range []string{secure, plain} {
			for _, l := range ls {
				if l.Scheme != scheme {
					continue
				}
				socket := "STARTTLS"
				if scheme == secure {
					socket = "SSL"
				}
				out = append(out, clientServer{Type: kind, Hostname: c.Hostname, Port: l.Addr.Port(), SocketType: socket,
					Authentication: "password-cleartext", Username: "%EMAILADDRESS%"})
				break
			}
		}
		return out
	}
	return clientConfig{Version: "1.1", Provider: clientProvider{ID: domain, Domain: domain, Name: domain, ShortName: domain,
		Incoming: append(servers("imap", c.Mailbox.Listen, "imap", "imaps"), servers("pop3", c.Mailbox.Listen, "pop3", "pop3s")...),
		Outgoing: servers("smtp", c.MSA.Listen, "smtp", "smtps")}}
}

// autoconfig answers mail programs that ask autoconfig.DOMAIN for settings, and leaves all else to next. It tells nothing but
// what anybody may know: whether a domain is ours, and our ports.
func (h *House) autoconfig(ours func(r *http.Request, domain string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
		domain, ok := strings.CutPrefix(strings.TrimSuffix(host, "."), autoconfigLabel)
		if !ok || r.URL.Path != autoconfigPath || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if !ours(r, domain) {
			http.NotFound(w, r)
			return
		}
		text, err := xml.MarshalIndent(clientConfigOf(h.conf, domain), "", "  ")
		if err != nil {
			http.Error(w, "no settings", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(append([]byte(xml.Header), text...))
	})
}
