package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]string{ // lines joined by |; "" is an error
		"version: STSv1\nmode: enforce\nmx: A.example.org\nmx: *.example.net\nmax_age: 86400\n": "version: STSv1|mode: enforce|mx: a.example.org|mx: *.example.net|max_age: 86400",
		"version: STSv1\r\nmode:testing\r\nmx:a.b\r\nmax_age:1":                                 "version: STSv1|mode: testing|mx: a.b|max_age: 1",
		"version: STSv1\nmode: none\nmax_age: 9999999999\nfuture: x\n":                          "version: STSv1|mode: none|max_age: 31557600",
		"version: STSv1\nmode: none\nmode: enforce\nmax_age: 5\n":                               "version: STSv1|mode: none|max_age: 5",
		"version: STSv2\nmode: none\nmax_age: 5\n":                                              "",
		"mode: none\nversion: STSv1\nmax_age: 5\n":                                              "",
		"version: STSv1\nmode: enforce\nmax_age: 5\n":                                           "",
		"version: STSv1\nmode: strict\nmx: a.b\nmax_age: 5\n":                                   "",
		"version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 5\n":                                "",
		"version: STSv1\nmode: enforce\nmx: *\nmax_age: 5\n":                                    "",
		"version: STSv1\nmode: none\nmax_age: -5\n":                                             "",
		"version: STSv1\nmode: none\nmax_age: 99999999999999\n":                                 "",
		"version: STSv1\nmode: none\n":                                                          "",
		"<html>":                                                                                "",
		"":                                                                                      "",
	} {
		p, err := ParsePolicy(text)
		if want == "" {
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil || strings.Join(p.Lines(), "|") != want {
			t.Errorf("%q: %+v %v", text, p, err)
		}
	}
}

func TestMatches(t *testing.T) {
	p := Policy{MX: []string{"mx.example.org", "*.example.net"}}
	for host, want := range map[string]bool{"mx.example.org": true, "MX.Example.Org.": true, "a.mx.example.org": false, "a.example.net": true,
		"a.b.example.net": false, "example.net": false, ".example.net": false, "xexample.net": false, "": false} {
		if p.Matches(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	for _, c := range []struct {
		txt []string
		id  string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=spf1 -all", "v=STSv1 ;id=a ; x=y"}, "a"},
		{[]string{"v=STSv1; id=a;", "v=STSv1; id=b;"}, ""},
		{[]string{"v=STSv1; id=a-b;"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("a", 33)}, ""},
		{[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv10; id=a;"}, ""},
		{nil, ""},
	} {
		id, err := ParseRecord(c.txt)
		if id != c.id || (err == nil) != (c.id != "") {
			t.Errorf("%q: %q %v", c.txt, id, err)
		}
	}
	p := &Policy{Mode: Enforce, MX: []string{"mx.example.org"}, MaxAge: time.Hour}
	if id, err := ParseRecord([]string{Record(p)}); err != nil || len(id) != 20 {
		t.Errorf("our own record: %q %v", id, err)
	}
}

// web is a domain with a policy: the DNS, and a server for HTTPS with a certificate for mta-sts.example.org or another.
type web struct {
	zone   *resolver.Zone
	now    time.Time
	answer http.HandlerFunc
	hits   int
	client *Client
}

type memStore struct {
	mu sync.Mutex
	m  map[string]*Cached
}

func (s *memStore) Policy(_ context.Context, d string) (*Cached, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[d], nil
}

func (s *memStore) KeepPolicy(_ context.Context, d string, c *Cached) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[d] = c
	return nil
}

func newWeb(t *testing.T, trusted bool) *web {
	w := &web{now: time.Now(), zone: resolvertest.Zone(t, `_mta-sts.example.org TXT "v=STSv1; id=1;"
		mta-sts.example.org A 192.0.2.1
		_mta-sts.loop.example TXT "v=STSv1; id=1;"
		mta-sts.loop.example A 127.0.0.1`)}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.hits++; w.answer(rw, r) }))
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	conf := &tls.Config{RootCAs: roots, ServerName: "example.com"} // the name of httptest's certificate
	if !trusted {
		conf.ServerName = "" // then it is mta-sts.example.org, which the certificate is not for
	}
	w.client = New(Config{Resolver: w.zone.Resolver(resolver.Config{MaxCacheEntries: -1}), Store: &memStore{m: map[string]*Cached{}}, TLS: conf,
		FetchTime: 10 * time.Second, Clock: func() time.Time { return w.now },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.1:443" {
				t.Errorf("connects to %s", address)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
		}})
	return w
}

func (w *web) serve(mode string) {
	w.answer = Handler(func(_ *http.Request, domain string) *Policy {
		if domain != "example.org" {
			return nil
		}
		return &Policy{Mode: Mode(mode), MX: []string{"mx.example.org"}, MaxAge: 100 * time.Hour}
	}).ServeHTTP
}

func (w *web) setID(t *testing.T, txt string) {
	w.client.cfg.Resolver = resolvertest.New(t, txt+"\nmta-sts.example.org A 192.0.2.1\n")
}

func (w *web) find(t *testing.T, domain string) Found {
	t.Helper()
	f, err := w.client.Find(context.Background(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFind(t *testing.T) {
	w := newWeb(t, true)
	w.serve("enforce")
	if f := w.find(t, "Example.org."); f.Policy == nil || f.Policy.Mode != Enforce || f.Failure != nil {
		t.Fatalf("%+v", f)
	}
	if w.find(t, "example.org"); w.hits != 1 {
		t.Errorf("fetched %d times", w.hits)
	}
	if f := w.find(t, "example.net"); f.Policy != nil || f.Failure != nil {
		t.Errorf("no record: %+v", f)
	}
	if f := w.find(t, "loop.example"); f.Policy != nil || !errors.Is(f.Failure, ErrFetch) {
		t.Errorf("a web server on our own loopback: %+v", f)
	}
	w.setID(t, "") // who takes the record away takes nothing
	if f := w.find(t, "example.org"); f.Policy == nil {
		t.Error("the policy is forgotten with its record")
	}
	w.setID(t, `_mta-sts.example.org TXT "v=STSv1; id=2;"`)
	w.answer = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }
	if f := w.find(t, "example.org"); f.Policy == nil || !errors.Is(f.Failure, ErrFetch) || w.hits != 2 {
		t.Errorf("a newer policy that cannot be had: %+v", f)
	}
	w.serve("testing")
	if w.find(t, "example.org"); w.hits != 2 {
		t.Error("asked again at once")
	}
	w.now = w.now.Add(6 * time.Minute)
	if f := w.find(t, "example.org"); f.Policy.Mode != Testing || w.hits != 3 {
		t.Errorf("not the newer policy: %+v", f)
	}
	w.now = w.now.Add(60 * time.Hour)
	if w.find(t, "example.org"); w.hits != 4 {
		t.Error("not renewed before it ends")
	}
	w.setID(t, "")
	w.now = w.now.Add(101 * time.Hour)
	if f := w.find(t, "example.org"); f.Policy != nil {
		t.Error("holds beyond max_age")
	}
}

func TestFetchRefuses(t *testing.T) {
	text := func(typ, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", typ)
			_, _ = rw.Write([]byte(body))
		}
	}
	good := (&Policy{Mode: Enforce, MX: []string{"mx.example.org"}, MaxAge: time.Hour}).String()
	for name, h := range map[string]http.HandlerFunc{
		"html":       text("text/html", good),
		"untyped":    text("", good),
		"too large":  text("text/plain", good+strings.Repeat("x: y\n", 20000)),
		"not found":  http.NotFound,
		"redirected": http.RedirectHandler("https://mta-sts.example.org/elsewhere", http.StatusFound).ServeHTTP,
		"malformed":  text("text/plain", "hello"),
		"slow": func(rw http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, true)
			w.answer = h
			if name == "slow" {
				w.client.cfg.FetchTime = 50 * time.Millisecond
			}
			if f := w.find(t, "example.org"); f.Policy != nil || f.Failure == nil {
				t.Errorf("%+v", f)
			}
			if w.hits > 1 {
				t.Errorf("%d requests", w.hits)
			}
		})
	}
	w := newWeb(t, false)
	w.serve("enforce")
	if f := w.find(t, "example.org"); f.Policy != nil || !errors.Is(f.Failure, ErrCert) {
		t.Errorf("a certificate for another name: %+v", f)
	}
}

func TestHandler(t *testing.T) {
	h := Handler(func(_ *http.Request, d string) *Policy {
		if d == "example.org" {
			return &Policy{Mode: None, MaxAge: time.Hour}
		}
		return nil
	})
	for _, c := range []struct {
		method, host, path string
		code               int
	}{
		{"GET", "mta-sts.example.org", Path, 200}, {"HEAD", "MTA-STS.example.org:443", Path, 200}, {"POST", "mta-sts.example.org", Path, 405},
		{"GET", "example.org", Path, 404}, {"GET", "mta-sts.example.net", Path, 404}, {"GET", "mta-sts.example.org", "/", 404},
	} {
		r := httptest.NewRequest(c.method, "https://x"+c.path, nil)
		r.Host = c.host
		rw := httptest.NewRecorder()
		h.ServeHTTP(rw, r)
		if rw.Code != c.code {
			t.Errorf("%+v: %d", c, rw.Code)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 86400\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		again, err := ParsePolicy(p.String())
		if err != nil || again.Mode != p.Mode || !slices.Equal(again.MX, p.MX) || again.MaxAge != p.MaxAge {
			t.Errorf("%q became %q: %v", text, p, err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=STSv1; id=20160831085700Z;")
	f.Fuzz(func(t *testing.T, txt string) {
		if id, err := ParseRecord([]string{txt}); err == nil && !isID(id) {
			t.Errorf("%q: %q", txt, id)
		}
	})
}
