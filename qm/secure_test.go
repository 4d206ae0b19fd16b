package qm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/mailtls/dane"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/mailtls/tlsrpt"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/store/mem"
)

// authority issues certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.make(nil, "authority")
	return a
}

func (a *authority) make(parent *authority, names ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: parent == nil}
	issuer, signer := tmpl, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue makes a certificate for TLS; self: of nobody but itself.
func (a *authority) issue(self bool, names ...string) tls.Certificate {
	parent := a
	if self {
		parent = nil
	}
	cert, key := a.make(parent, names...)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// internet is a zone, mail servers at 192.0.2.N and a web server for policies at 192.0.2.99.
type internet struct {
	t    testing.TB
	ca   *authority
	zone strings.Builder
	at   map[string]string // address -> where it is really
	rec  map[string]*mailtest.Recorder
	sts  map[string]*mtasts.Policy
}

func newInternet(t testing.TB) *internet {
	n := &internet{t: t, ca: newAuthority(t), at: map[string]string{}, rec: map[string]*mailtest.Recorder{}, sts: map[string]*mtasts.Policy{}}
	web := &http.Server{Handler: mtasts.Handler(func(_ *http.Request, d string) *mtasts.Policy { return n.sts[d] }),
		TLSConfig: &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := n.ca.issue(false, h.ServerName)
			return &c, nil
		}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = web.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = web.Close() })
	n.at["192.0.2.99:443"] = l.Addr().String()
	return n
}

// host adds a domain with one mail server; tlsa is its TLSA record, "" for none, "good" for that of its certificate.
func (n *internet) host(domain string, cert *tls.Certificate, tlsa string, mode mtasts.Mode) {
	mx := "mx." + domain
	rec := &mailtest.Recorder{}
	srv := &smtp.Server{Door: rec, Hostname: mx, Extensions: smtp.DefaultExtensions | smtp.ExtRequireTLS}
	if cert != nil {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
	}
	ip := fmt.Sprintf("192.0.2.%d", len(n.rec)+1)
	n.at[ip+":25"] = serve(n.t, "tcp", "127.0.0.1:0", srv)
	n.rec[domain] = rec
	fmt.Fprintf(&n.zone, "%s. MX 10 %s.\n%s. A %s\n", domain, mx, mx, ip)
	if tlsa == "good" {
		tlsa = dane.Record(cert.Leaf)
	}
	if tlsa != "" {
		fmt.Fprintf(&n.zone, "_25._tcp.%s. TLSA %s\n", mx, tlsa)
	}
	if mode != "" {
		n.sts[domain] = &mtasts.Policy{Mode: mode, MX: []string{mx}, MaxAge: time.Hour}
		fmt.Fprintf(&n.zone, "_mta-sts.%s. TXT \"%s\"\nmta-sts.%s. A 192.0.2.99\n", domain, mtasts.Record(n.sts[domain]), domain)
	}
}

func (n *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	where, ok := n.at[address]
	if !ok {
		return nil, fmt.Errorf("nothing is at %s", address)
	}
	return new(net.Dialer).DialContext(ctx, network, where)
}

// queue runs a queue in this world.
func (n *internet) queue(r resolver.Resolver) *QM {
	w := newWorld(n.t)
	cfg := w.config(mem.New(mem.Options{}))
	cfg.Resolver, cfg.Dial, cfg.Log = r, n.dial, nil
	cfg.TLS = &tls.Config{RootCAs: n.ca.pool()}
	cfg.TLSReports.Collect = true
	q, err := Open(context.Background(), cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- q.Run(context.Background()) }()
	n.t.Cleanup(func() {
		if err := q.Drain(context.Background()); err != nil {
			n.t.Error(err)
		}
		<-done
	})
	return q
}

const wrongKey = "3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// fate is what is to become of a message.
type fate struct {
	domain string
	want   string // "" is delivered; else what stands in the last answer
}

// build makes the domains that both tests below send to.
func (n *internet) build() []fate {
	own := func(d string) *tls.Certificate { c := n.ca.issue(true, "mx."+d); return &c }
	good := func(d string) *tls.Certificate { c := n.ca.issue(false, "mx."+d); return &c }
	n.host("clear.test", nil, "", "")
	n.host("self.test", own("self.test"), "", "")
	n.host("dane.test", own("other.test"), "good", "")
	n.host("wrong.test", good("wrong.test"), wrongKey, "")
	n.host("unusable.test", own("unusable.test"), "1 0 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "")
	n.host("unusableclear.test", nil, "1 0 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "")
	n.host("daneclear.test", nil, wrongKey, "")
	n.host("both.test", good("both.test"), wrongKey, mtasts.Enforce)
	n.host("sts.test", good("sts.test"), "", mtasts.Enforce)
	n.host("stsself.test", own("stsself.test"), "", mtasts.Enforce)
	n.host("stsname.test", good("elsewhere.test"), "", mtasts.Enforce)
	n.host("stsclear.test", nil, "", mtasts.Enforce)
	n.host("ststesting.test", own("ststesting.test"), "", mtasts.Testing)
	n.host("stsnone.test", nil, "", mtasts.None)
	n.host("stsmx.test", good("stsmx.test"), "", mtasts.Enforce)
	n.sts["stsmx.test"].MX = []string{"other.test"}
	return []fate{{"clear.test", ""}, {"self.test", ""}, {"dane.test", ""}, {"wrong.test", "DANE"}, {"unusable.test", ""}, {"unusableclear.test", "DANE"},
		{"daneclear.test", "DANE"}, {"both.test", "DANE"}, {"sts.test", ""}, {"stsself.test", "MTA-STS"}, {"stsname.test", "MTA-STS"},
		{"stsclear.test", "MTA-STS"}, {"ststesting.test", ""}, {"stsnone.test", ""}, {"stsmx.test", "MTA-STS"}}
}

// check sends to each domain and sees what becomes of it.
func (n *internet) check(q *QM, fates []fate, body string) {
	n.t.Helper()
	ids := map[string]string{}
	for _, f := range fates {
		id, err := submit(context.Background(), q, mail.Sender{Address: addr("a@home.test")}, body, mail.Recipient{Address: addr("x@" + f.domain)})
		if err != nil {
			n.t.Fatal(err)
		}
		ids[f.domain] = id
	}
	for _, f := range fates {
		last := ""
		eventually(n.t, "nothing becomes of the mail for "+f.domain, func() bool {
			e, err := q.Show(context.Background(), ids[f.domain])
			if err != nil {
				last = ""
				return true
			}
			last = e.Recipients[0].Last.Reply.String()
			return e.Recipients[0].Attempts > 0
		})
		came := len(n.rec[f.domain].Messages()) > 0
		if f.want == "" && (last != "" || !came) || f.want != "" && (came || !strings.Contains(last, f.want) || !strings.HasPrefix(last, "450 4.7.5")) {
			n.t.Errorf("%s: came %v, %q; want %q", f.domain, came, last, f.want)
		}
	}
}

func TestSecureTransport(t *testing.T) {
	n := newInternet(t)
	fates := n.build()
	n.host("bogus.test", nil, "", "")
	z := resolvertest.Zone(t, n.zone.String())
	z.SetAuthentic(true)
	z.Fail("_25._tcp.mx.bogus.test", resolver.ErrBogus)
	q := n.queue(z.Resolver(resolver.Config{TrustAD: true, MaxCacheEntries: -1}))
	n.check(q, append(fates, fate{"bogus.test", "DANE"}), letter)
	q.tls.mu.Lock()
	c := q.tls.today
	q.tls.mu.Unlock()
	for domain, want := range map[string]string{"clear.test": "no-policy-found starttls-not-supported", "dane.test": "tlsa ", "wrong.test": "tlsa tlsa-invalid",
		"sts.test": "sts ", "stsself.test": "sts certificate-not-trusted", "stsname.test": "sts certificate-host-mismatch", "stsclear.test": "sts starttls-not-supported",
		"ststesting.test": "sts certificate-not-trusted", "stsmx.test": "sts validation-failure", "bogus.test": "tlsa dnssec-invalid", "daneclear.test": "tlsa starttls-not-supported"} {
		r, ok := c.Report(domain, tlsrpt.About{})
		if !ok {
			t.Errorf("%s: nothing was counted", domain)
			continue
		}
		p := r.Policies[0]
		got := p.Policy.Type + " "
		if len(p.Failures) > 0 {
			got += p.Failures[0].Type
		}
		if got != want || p.Summary.Successful+p.Summary.Failed != 1 {
			t.Errorf("%s: %q %+v, want %q", domain, got, p.Summary, want)
		}
	}
}

// TestTLSRequiredNo: who asks for it gets delivery whatever the policies say (RFC 8689 section 5).
func TestTLSRequiredNo(t *testing.T) {
	n := newInternet(t)
	var fates []fate
	for _, f := range n.build() {
		fates = append(fates, fate{f.domain, ""})
	}
	z := resolvertest.Zone(t, n.zone.String())
	z.SetAuthentic(true)
	q := n.queue(z.Resolver(resolver.Config{TrustAD: true, MaxCacheEntries: -1}))
	n.check(q, fates, "TLS-Required: no\r\n"+letter)
}

// TestRequireTLSPolicies: a name that nobody vouches for is not good enough (RFC 8689 section 4.2.1).
func TestRequireTLSPolicies(t *testing.T) {
	for _, signed := range []bool{true, false} {
		n := newInternet(t)
		good := n.ca.issue(false, "mx.plain.test", "mx.sts.test")
		n.host("plain.test", &good, "", "")
		n.host("sts.test", &good, "", mtasts.Enforce)
		z := resolvertest.Zone(t, n.zone.String())
		z.SetAuthentic(signed)
		q := n.queue(z.Resolver(resolver.Config{TrustAD: true, MaxCacheEntries: -1}))
		for _, d := range []string{"plain.test", "sts.test"} {
			if _, err := submit(context.Background(), q, mail.Sender{Address: addr("a@home.test"), RequireTLS: true}, letter, mail.Recipient{Address: addr("x@" + d)}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the queue does not become empty", func() bool { return len(rows(t, q.cfg.Engine)) == 0 })
		if p, s := len(n.rec["plain.test"].Messages()), len(n.rec["sts.test"].Messages()); (p == 1) != signed || s != 1 {
			t.Errorf("signed %v: %d and %d came", signed, p, s)
		}
	}
}

// TestTLSReport: the day after, who asks is told, although his TLS fails.
func TestTLSReport(t *testing.T) {
	n := newInternet(t)
	own := n.ca.issue(true, "mx.sts.test")
	n.host("sts.test", &own, "", mtasts.Enforce)
	fmt.Fprintf(&n.zone, "_smtp._tls.sts.test. TXT \"%s\"\n", tlsrpt.Record("mailto:r@sts.test"))
	q := n.queue(resolvertest.Zone(t, n.zone.String()).Resolver(resolver.Config{MaxCacheEntries: -1}))
	n.check(q, []fate{{"sts.test", "MTA-STS"}}, letter)
	q.tls.mu.Lock()
	q.tls.today.Day, q.tls.dirty = "2026-06-01", true // yesterday
	q.tls.mu.Unlock()
	if err := q.keepResults(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := q.sendResults(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no report comes", func() bool { return len(n.rec["sts.test"].Messages()) == 1 })
	m := n.rec["sts.test"].Messages()[0]
	rs, err := report.Read(bytes.NewReader(m.Content))
	if err != nil {
		t.Fatal(err)
	}
	if r := rs[0].(*report.TLS); r.Policies[0].Summary.Failed != 1 || r.Policies[0].Policy.Domain != "sts.test" {
		t.Errorf("%+v", r)
	}
}

// TestUnbound sends by what a validating resolver from Debian says of a zone that is signed here.
func TestUnbound(t *testing.T) {
	for _, p := range []string{"/usr/sbin/unbound", "/usr/bin/ldns-keygen", "/usr/bin/ldns-signzone"} {
		if _, err := os.Stat(p); err != nil {
			t.Skip("Debian packages unbound and ldnsutils are needed: ", err)
		}
	}
	n := newInternet(t)
	fates := n.build()
	tampered := n.ca.issue(true, "mx.tampered.test")
	n.host("tampered.test", &tampered, "good", "")
	fates = append(fates, fate{"tampered.test", "DANE"})
	wrong := n.ca.issue(true, "mx.away.plain.test")
	n.host("away.plain.test", &wrong, "", "") // its records are in a zone that is not signed: nothing there counts
	fates = append(fates, fate{"away.plain.test", ""})
	q := n.queue(unbound(t, n.zone.String(), "_25._tcp.mx.away.plain.test. TLSA "+wrongKey+"\n"))
	n.check(q, fates, letter)
}

func run(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v %s", name, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// unbound signs the zone test., spoils the TLSA record of tampered.test, and runs a resolver that trusts the key. What
// stands under plain.test is a zone of its own, without signatures.
func unbound(t testing.TB, zone, plain string) resolver.Resolver {
	t.Helper()
	dir := t.TempDir()
	var signed, unsigned strings.Builder
	for line := range strings.Lines(zone) {
		if strings.Contains(line, "plain.test.") {
			unsigned.WriteString(line)
		} else {
			signed.WriteString(line)
		}
	}
	soa := "@ 300 IN SOA ns.test. root.test. 1 3600 600 86400 300\n@ 300 IN NS ns.test.\n"
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("test.zone", "$ORIGIN test.\n$TTL 300\n"+soa+"ns.test. A 127.0.0.1\nplain.test. NS ns.test.\n"+signed.String())
	write("plain.zone", "$ORIGIN plain.test.\n$TTL 300\n"+soa+unsigned.String()+plain)
	key := run(t, dir, "/usr/bin/ldns-keygen", "-a", "ECDSAP256SHA256", "-r", "/dev/urandom", "-k", "test")
	run(t, dir, "/usr/bin/ldns-signzone", "-f", "signed.zone", "test.zone", key)
	b, err := os.ReadFile(filepath.Join(dir, "signed.zone"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 7 && f[0] == "_25._tcp.mx.tampered.test." && f[3] == "TLSA" {
			line = f[0] + " 300 IN TLSA " + wrongKey + "\n" // the signature stays
		}
		text.WriteString(line)
	}
	write("signed.zone", text.String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	write("unbound.conf", fmt.Sprintf(`server:
 interface: 127.0.0.1
 port: %d
 do-daemonize: no
 do-ip6: no
 use-syslog: no
 logfile: ""
 verbosity: 1
 chroot: ""
 username: ""
 pidfile: ""
 directory: %q
 module-config: "validator iterator"
 trust-anchor-file: %q
 local-zone: "test." nodefault
 ede: yes
 do-not-query-localhost: no
remote-control:
 control-enable: no
auth-zone:
 name: "test."
 zonefile: "signed.zone"
 for-downstream: no
 for-upstream: yes
 fallback-enabled: no
auth-zone:
 name: "plain.test."
 zonefile: "plain.zone"
 for-downstream: no
 for-upstream: yes
 fallback-enabled: no
`, at.Port, dir, filepath.Join(dir, key+".key")))
	cmd := exec.Command("/usr/sbin/unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
	var logs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &logs, &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	r, err := resolver.New(resolver.Config{Servers: []string{at.String()}, TrustAD: true, MaxSilent: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if _, ans, err := r.MX(context.Background(), "dane.test"); err == nil {
			if !ans.Authentic {
				t.Fatal("the signed zone is not authentic")
			}
			return r
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("unbound does not answer")
	return nil
}
