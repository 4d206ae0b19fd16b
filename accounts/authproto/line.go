package authproto

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/samotop/samotop/mail"
)

// maxParams is the most parameters of one line.
const maxParams = 256

var errLine = errors.New("authproto: the client does not keep to the protocol")

// splitLine parts a line into its command and parameters, unescaped.
func splitLine(line string) ([]string, error) {
	if strings.Count(line, "\t") >= maxParams {
		return nil, errLine
	}
	words := strings.Split(line, "\t")
	for i, w := range words {
		words[i] = unescape(w)
	}
	return words, nil
}

// unescape undoes Dovecot's tab-escaping.
func unescape(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 1 || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case '0':
			b.WriteByte(0)
		case '1':
			b.WriteByte(1)
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

var escaper = strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")

func escape(s string) string { return escaper.Replace(s) }

// authLine is what an AUTH line says.
type authLine struct {
	id, mechanism string
	session       mail.Session
	finalInOK     bool   // the client takes a last challenge with OK
	initial       []byte // nil: none
	malformed     bool   // the initial response is not base64; that is the fault of the client's client
}

// parseAuth reads the words of AUTH <id> <mechanism> service=<service> [<parameters>] [resp=<base64>].
func parseAuth(words []string) (a authLine, err error) {
	if len(words) < 3 || !isID(words[1]) {
		return a, errLine
	}
	a.id, a.mechanism = words[1], words[2]
	var lip, rip, lport, rport string
	var shown []byte
	for i, w := range words[3:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "service":
			a.session.Service = value
		case "lip":
			lip = value
		case "rip":
			rip = value
		case "lport":
			lport = value
		case "rport":
			rport = value
		case "session":
			a.session.ID = value
		case "secured": // also secured=tls
			state := secured
			a.session.TLS = &state
		case certificate:
			shown = decode(value)
		case "final-resp-ok":
			a.finalInOK = true
		default:
			if kind, ok := strings.CutPrefix(name, cbind); ok && len(a.session.Facts) < len(bindings) && decode(value) != nil {
				a.session.SetFact(cbind+kind, value)
			}
		case "resp": // by definition the last parameter
			if i != len(words)-4 {
				return a, errLine
			}
			a.initial = decode(value)
			a.malformed = a.initial == nil
		}
	}
	if leaf, err := x509.ParseCertificate(shown); err == nil && a.session.TLS != nil {
		a.session.TLS.PeerCertificates, a.session.TLS.VerifiedChains = []*x509.Certificate{leaf}, [][]*x509.Certificate{{leaf}}
	}
	a.session.LocalAddr, a.session.RemoteAddr = tcpAddr(lip, lport), tcpAddr(rip, rport)
	return a, nil
}

func isID(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// tcpAddr returns nil for what is not an address: such a client is counted as a local one.
func tcpAddr(ip, port string) net.Addr {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return nil
	}
	p, _ := strconv.ParseUint(port, 10, 16)
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(p)))
}

// decode returns nil for what is not base64, and for nothing else.
func decode(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return append([]byte{}, b...)
}
