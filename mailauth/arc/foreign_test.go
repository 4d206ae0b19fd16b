package arc_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/dkim"
)

func python(t *testing.T, program, stdin string, args ...string) string {
	const interpreter = "/usr/bin/python3"
	if _, err := os.Stat("/usr/lib/python3/dist-packages/authres"); err != nil {
		t.Skipf("python3-dkim or python3-authres is missing: %v", err)
	}
	cmd := exec.Command(interpreter, append([]string{"-c", program}, args...)...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3-dkim: %v\n%s", err, errs.String())
	}
	return string(out)
}

// pyVerify is arcverify with a resolver of our own, for a JSON list of messages: to start Python costs more than to verify.
const pyVerify = `
import sys, json, dkim
records = dict(zip(sys.argv[1::2], sys.argv[2::2]))
def txt(name, timeout=5):
    return records.get(name.decode().rstrip(".")).encode()
for message in json.load(sys.stdin):
    cv, sets, why = dkim.arc_verify(message.encode(), dnsfunc=txt)
    print(cv.decode(), len(sets), why)
`

// TestBothWays lets arcsign and us continue each other's chains, and arcverify judge them.
func TestBothWays(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	record, err := dkim.Record(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	z := zone{"s._domainkey.hop.test": record}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := arc.Sealer{Domain: "hop.test", Selector: "s", Key: key, ID: "mx.hop.test"}
	msg := plain
	var all []string // each good one followed by a bad one
	for i := 1; i <= 4; i++ {
		if i%2 == 1 {
			msg = seal(t, ours, z, msg)
		} else {
			other := fmt.Sprintf("other%d.test", i) // arcsign joins all fields of one name
			msg = "Authentication-Results: " + other + "; arc=pass\r\n" + msg
			msg = python(t, "from dkim.arcsign import main; main()", msg, "s", "hop.test", file, other)
		}
		if r := verify(z, msg, 100); r.Status != arc.Pass || len(r.Sets) != i {
			t.Fatalf("we, of %d sets: %+v", i, r)
		}
		bad := strings.Replace(msg, "\r\nbody", "\r\nboby", 1)
		if r := verify(z, bad, 100); r.Status != arc.Fail {
			t.Errorf("we, of a changed body: %+v", r)
		}
		all = append(all, msg, bad)
	}
	list, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	judged := strings.Split(strings.TrimSpace(python(t, pyVerify, string(list), "s._domainkey.hop.test", record)), "\n")
	if len(judged) != len(all) {
		t.Fatalf("arcverify judged %d of %d", len(judged), len(all))
	}
	for i, got := range judged {
		if want := []string{"pass", "fail"}[i%2]; !strings.HasPrefix(got, want) {
			t.Errorf("arcverify, of %d sets: %s, want %s", i/2+1, got, want)
		}
	}
}
