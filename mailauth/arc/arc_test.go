package arc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/resolver"
)

// zone answers TXT questions; a value "!" is a temporary failure.
type zone map[string]string

func (z zone) TXT(_ context.Context, name string) ([]string, resolver.Answer, error) {
	switch v, ok := z[name]; {
	case !ok:
		return nil, resolver.Answer{}, resolver.ErrNoName
	case v == "!":
		return nil, resolver.Answer{}, resolver.ErrTemporary
	default:
		return []string{v}, resolver.Answer{}, nil
	}
}

func verify(z zone, msg string, piece int) arc.Result {
	m := (&arc.Verifier{Resolver: z}).Message()
	for msg != "" {
		n := min(piece, len(msg))
		io.WriteString(m, msg[:n])
		msg = msg[n:]
	}
	return m.Close(context.Background())
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// The file names some cases twice, so it is read as nodes.
func TestValidationSuite(t *testing.T) {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	b, err := os.ReadFile(filepath.Join(dir, "vectors", "arc", "arc-draft-validation-tests.yml"))
	if os.IsNotExist(err) {
		t.Skipf("test vectors of others are missing: %v (set SAMOTOP_SHARED)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var doc struct {
			Tests yaml.Node
			Txt   map[string]string `yaml:"txt-records"`
		}
		if err := d.Decode(&doc); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(doc.Tests.Content); i += 2 {
			var c struct{ Description, Message, CV string }
			if err := doc.Tests.Content[i+1].Decode(&c); err != nil {
				t.Fatal(err)
			}
			cases++
			want := arc.Status(strings.ToLower(strings.TrimSpace(c.CV)))
			if want == "" { // a case without an expected status counts as fail
				want = arc.Fail
			}
			for _, piece := range []int{1 << 20, 5} {
				if got := verify(doc.Txt, crlf(c.Message), piece); got.Status != want {
					t.Errorf("%s (%s): %s %s, want %s", doc.Tests.Content[i].Value, c.Description, got.Status, got.Reason, want)
				}
			}
		}
	}
	if cases < 171 {
		t.Errorf("only %d cases were read", cases)
	}
	t.Logf("%d cases", cases)
}

const plain = "From: Alice <alice@example.test>\r\nTo: list@lists.test\r\nSubject: hello\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\r\nbody\r\n"

var now = time.Unix(1_700_000_000, 0)

func sealers(t testing.TB) ([]arc.Sealer, zone) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	z := zone{}
	var ss []arc.Sealer
	for i, key := range []crypto.Signer{rsaKey, edKey} {
		rec, err := dkim.Record(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		domain := fmt.Sprintf("hop%d.test", i)
		z["s._domainkey."+domain] = rec
		ss = append(ss, arc.Sealer{Domain: domain, Selector: "s", Key: key, ID: "mx." + domain})
	}
	return ss, z
}

func seal(t testing.TB, s arc.Sealer, z zone, msg string) string {
	out, err := trySeal(s, z, msg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func trySeal(s arc.Sealer, z zone, msg string) (string, error) {
	w := arc.NewSealing(now, s)
	io.WriteString(w, msg)
	fields, err := w.Close(verify(z, msg, 100), authres.Results{Methods: []authres.Method{{Name: "spf", Result: "pass"}}})
	var b []byte
	for _, f := range fields {
		b = f.Append(b)
	}
	return string(b) + msg, err
}

func TestChain(t *testing.T) {
	ss, z := sealers(t)
	msg := plain
	for i := 1; i <= 5; i++ {
		msg = seal(t, ss[i%2], z, msg)
		r := verify(z, msg, 33)
		if r.Status != arc.Pass || len(r.Sets) != i || r.OldestPass != 1 || r.Sets[i-1].Domain != ss[i%2].Domain || r.Sets[i-1].Results.ID != ss[i%2].ID {
			t.Fatalf("after %d: %+v", i, r)
		}
		msg = "Received: from x by y\r\n" + msg
	}
	changed := strings.Replace(msg, "Subject: hello", "Subject: [list] hello", 1)
	if r := verify(z, changed, 100); r.Status != arc.Fail || r.Temporary {
		t.Errorf("changed: %+v", r)
	}
	// A list verifies, changes and seals: the chain passes, and shows since when.
	w := arc.NewSealing(now, ss[0])
	io.WriteString(w, changed)
	fields, err := w.Close(verify(z, msg, 100), authres.Results{})
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, f := range fields {
		b = f.Append(b)
	}
	if r := verify(z, string(b)+changed, 100); r.Status != arc.Pass || r.OldestPass != 6 || r.Method().Get("header", "oldest-pass") != "6" {
		t.Errorf("changed and sealed: %+v", r)
	}
	for _, old := range []string{"cv=pass", "spf=pass", "t=1700000000", "i=3"} {
		if r := verify(z, strings.Replace(msg, old, old[:len(old)-1]+"x", 1), 100); r.Status != arc.Fail {
			t.Errorf("without %s: %s", old, r.Status)
		}
	}
	z["s._domainkey.hop0.test"] = "!"
	if r := verify(z, msg, 100); r.Status != arc.Fail || !r.Temporary {
		t.Errorf("without a resolver: %+v", r)
	}
}

func TestFailedChain(t *testing.T) {
	ss, z := sealers(t)
	broken := strings.Replace(seal(t, ss[0], z, plain), "body\r\n", "other\r\n", 1)
	sealed := seal(t, ss[1], z, broken)
	if !strings.Contains(sealed, "cv=fail") {
		t.Fatalf("%s", sealed)
	}
	if r := verify(z, sealed, 100); r.Status != arc.Fail {
		t.Errorf("%+v", r)
	}
	if _, err := trySeal(ss[0], z, sealed); err != arc.ErrEnded {
		t.Errorf("an ended chain was continued: %v", err)
	}
}

func TestLimits(t *testing.T) {
	ss, z := sealers(t)
	msg := plain
	for range arc.MaxInstances {
		msg = seal(t, ss[1], z, msg)
	}
	if r := verify(z, msg, 1<<20); r.Status != arc.Pass || len(r.Sets) != arc.MaxInstances {
		t.Errorf("%s %s", r.Status, r.Reason)
	}
	if _, err := trySeal(ss[1], z, msg); err != arc.ErrFull {
		t.Errorf("the 51st: %v", err)
	}
	for _, extra := range []string{"ARC-Seal: i=51; a=x\r\n", "ARC-Seal: i=99999999999999999999\r\n", "ARC-Seal: i=0;\r\n", "ARC-Authentication-Results: i=51; x\r\n",
		"ARC-Seal: " + strings.Repeat("x", arc.MaxFieldOctets) + "\r\n", "X: " + strings.Repeat("x", arc.MaxHeaderOctets) + "\r\n"} {
		if r := verify(z, extra+msg, 1<<20); r.Status != arc.Fail {
			t.Errorf("%.40s: %s", extra, r.Status)
		}
	}
}

func FuzzVerify(f *testing.F) {
	ss, z := sealers(f)
	f.Add(seal(f, ss[1], z, plain))
	f.Add("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x; s=y; b=\r\nARC-Message-Signature: i=1; h=; b=\r\nARC-Authentication-Results: i=1;\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		if r := verify(z, s, 7); r.Status != arc.None && r.Status != arc.Pass && r.Status != arc.Fail {
			t.Fatalf("%+v", r)
		}
		trySeal(ss[1], z, s)
	})
}
