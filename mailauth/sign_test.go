package mailauth_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/resolver/resolvertest"
)

func TestSigner(t *testing.T) {
	_, fast := keys(t)
	slow, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for selector, key := range map[string]crypto.PublicKey{"r": slow.Public(), "e": fast.Public()} {
		rec, err := dkim.Record(key)
		if err != nil {
			t.Fatal(err)
		}
		half := len(rec) / 2
		text += selector + "._domainkey.our.test TXT \"" + rec[:half] + "\" \"" + rec[half:] + "\"\n"
	}
	dns := resolvertest.New(t, text)
	broken := errors.New("disk")
	s := &mailauth.Signer{Host: "mx.our.test", DKIM: true, Seal: true, Clock: func() time.Time { return now },
		Keys: func(domain string) ([]dkim.Signer, error) {
			switch {
			case domain == "broken.test":
				return nil, broken
			case !strings.HasSuffix(domain, "our.test"):
				return nil, nil
			}
			return []dkim.Signer{{Domain: "our.test", Selector: "r", Key: slow}, {Domain: "our.test", Selector: "e", Key: fast}}, nil
		}}
	check := func(msg string) mailauth.Report {
		k := (&mailauth.Checker{Resolver: dns, ID: "x", Clock: func() time.Time { return now }}).Begin(mailauth.Facts{IP: netip.MustParseAddr("192.0.2.1")})
		io.WriteString(k, msg)
		return k.Close(t.Context())
	}
	login := mail.Identity{Account: "a@our.test"}
	for _, c := range []struct {
		name, from string
		login      mail.Identity
		trace      string
		want       string // of dkim and arc
	}{
		{"our own", "our.test", login, "", "pass pass, none"},
		{"below our domain", "sub.our.test", login, "", "pass pass, none"},
		{"somebody else's", "far.test", login, "", ", none"},
		{"passed on", "our.test", mail.Identity{}, "mx.our.test; spf=pass; arc=none", ", pass"},
		{"passed on and not checked", "our.test", mail.Identity{}, "mx.far.test; spf=pass; arc=none", ", none"},
		{"chain could not be checked", "our.test", mail.Identity{}, "mx.our.test; spf=temperror", ", pass"},
	} {
		end := &sink{}
		tx := begin(t, s.Middleware()(end), &mail.Session{Login: c.login})
		msg := "From: a@" + c.from + "\r\nSubject: x\r\n\r\nbody  x\r\n\r\n"
		io.WriteString(tx, msg)
		if c.trace != "" {
			tx.Trace(mail.Field{Name: "Authentication-Results", Value: c.trace})
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		var out []byte
		for i := len(end.fields) - 1; i >= 0; i-- {
			out = end.fields[i].Append(out)
		}
		r := check(string(out) + end.content.String())
		var got []string
		for _, d := range r.DKIM {
			got = append(got, string(d.Status))
		}
		if got := strings.Join(got, " ") + ", " + string(r.ARC.Status); got != c.want {
			t.Errorf("%s: %s, want %s\n%s", c.name, got, c.want, out)
		}
		// Oversigned: a second From breaks it.
		if r := check(string(out) + "From: b@our.test\r\n" + end.content.String()); len(r.DKIM) > 0 && r.DKIM[0].Status != dkim.Fail {
			t.Errorf("%s: a second From: %s", c.name, r.DKIM[0].Status)
		}
	}
	tx := begin(t, s.Middleware()(&sink{}), &mail.Session{Login: login})
	io.WriteString(tx, "From: a@broken.test\r\n\r\n")
	if _, err := tx.Commit(t.Context()); !errors.Is(err, broken) {
		t.Errorf("keys that cannot be read: %v", err)
	}
	own := s.Message()
	io.WriteString(own, "From: Mailer <MAILER-DAEMON@mx.our.test>\r\n\r\nreport\r\n")
	if f, err := own.Close(); err != nil || len(f) != 2 {
		t.Errorf("our own report: %v %v", f, err)
	}
}

// TestSealEnds: a chain that was sealed as failed is not continued, and the mail goes on all the same.
func TestSealEnds(t *testing.T) {
	_, key := keys(t)
	s := &mailauth.Signer{Host: "list.test", Seal: true, Clock: func() time.Time { return now },
		Keys: func(string) ([]dkim.Signer, error) {
			return []dkim.Signer{{Domain: "list.test", Selector: "s", Key: key}}, nil
		}}
	msg := "From: a@b.test\r\n\r\nx\r\n"
	first := arc.NewSealing(now, arc.Sealer{Domain: "list.test", Selector: "s", Key: key, ID: "i"})
	io.WriteString(first, "ARC-Seal: i=1; rubbish\r\n"+msg)
	fields, err := first.Close(arc.Result{Status: arc.Fail}, authres.Results{})
	if err != nil {
		t.Fatal(err)
	}
	end := &sink{}
	tx := begin(t, s.Middleware()(end), &mail.Session{})
	io.WriteString(tx, text(fields, msg))
	tx.Trace(mail.Field{Name: "Authentication-Results", Value: "list.test; arc=fail"})
	if _, err := tx.Commit(t.Context()); err != nil || len(end.fields) != 1 || !end.done {
		t.Errorf("%v %+v", err, end.fields)
	}
}

func begin(t *testing.T, door mail.Door, s *mail.Session) mail.Transaction {
	t.Helper()
	r, err := door.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, mail.Sender{})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}
