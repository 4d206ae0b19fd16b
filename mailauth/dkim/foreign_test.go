package dkim_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mailauth/dkim"
)

// python runs a program of Debian's python3-dkim over a message.
func python(t *testing.T, program, stdin string, args ...string) string {
	const interpreter = "/usr/bin/python3"
	if _, err := os.Stat("/usr/lib/python3/dist-packages/dkim"); err != nil {
		t.Skipf("python3-dkim is missing: %v", err)
	}
	cmd := exec.Command(interpreter, append([]string{"-c", program}, args...)...)
	return run(t, cmd, stdin)
}

func run(t *testing.T, cmd *exec.Cmd, stdin string) string {
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args[0], err, errs.String())
	}
	return string(out)
}

// pyVerify is dkimverify with a resolver of our own: the arguments are names and their records.
const pyVerify = `
import sys, dkim
records = dict(zip(sys.argv[1::2], sys.argv[2::2]))
def txt(name, timeout=5):
    return records.get(name.decode().rstrip(".")).encode()
message = sys.stdin.buffer.read()
n = len([1 for k, v in dkim.DKIM(message).headers if k.lower() == b"dkim-signature"])
for i in range(n):
    print("pass" if dkim.DKIM(message).verify(idx=i, dnsfunc=txt) else "fail")
`

// TestPythonVerifiesUs is dkimverify over what we signed.
func TestPythonVerifiesUs(t *testing.T) {
	ss, z := signers(t)
	for name, body := range bodies {
		switch name {
		case "lone CR and LF", "no line end", "binary", "only line ends", "one line": // the last are covered by others; the first are not Internet messages; dkimpy normalises them
			continue
		}
		for i := range ss {
			ss[i].Lifetime = 0
		}
		s := dkim.NewSigning(time.Now(), ss...)
		s.Write([]byte(plain + body))
		fields, err := s.Close()
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, f := range fields {
			b = f.Append(b)
		}
		var args []string
		for k, v := range z {
			args = append(args, k, v)
		}
		if got := python(t, pyVerify, string(b)+plain+body, args...); got != "pass\npass\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// keyFiles writes the private keys as dkimsign reads them.
func keyFiles(t *testing.T) (dir string, z zone) {
	dir, z = t.TempDir(), zone{}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	if err := os.WriteFile(filepath.Join(dir, "rsa"), block, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ed"), []byte(base64.StdEncoding.EncodeToString(edKey.Seed())), 0o600); err != nil {
		t.Fatal(err)
	}
	for sel, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": edKey} {
		if z[sel+"._domainkey.example.test"], err = dkim.Record(key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	return dir, z
}

// pySign is dkimsign for a JSON list of arguments, and writes a list of what it signed: to start Python costs more than to sign.
const pySign = `
import sys, io, json
from dkim.dkimsign import main
message, real, signed = sys.stdin.buffer.read(), sys.stdout, []
for args in json.loads(sys.argv[1]):
    out = io.BytesIO()
    sys.argv, sys.stdin, sys.stdout = ["dkimsign"] + args, io.TextIOWrapper(io.BytesIO(message)), io.TextIOWrapper(out)
    main()
    signed.append(out.getvalue().decode())
json.dump(signed, real)
`

// TestWeVerifyPython is what dkimsign signs, in each of its ways.
func TestWeVerifyPython(t *testing.T) {
	dir, z := keyFiles(t)
	var args [][]string
	var want []dkim.Status
	for _, header := range []string{"simple", "relaxed"} {
		for _, body := range []string{"simple", "relaxed"} {
			for _, c := range []struct {
				key, algorithm string
				want           dkim.Status
			}{{"rsa", "rsa-sha256", dkim.Pass}, {"ed", "ed25519-sha256", dkim.Pass}, {"rsa", "rsa-sha1", dkim.Policy}} {
				args = append(args, []string{"--hcanon", header, "--bcanon", body, "--signalg", c.algorithm, c.key, "example.test", filepath.Join(dir, c.key)})
				want = append(want, c.want)
			}
		}
	}
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	var signed []string
	if err := json.Unmarshal([]byte(python(t, pySign, plain+bodies["spaces"], string(list))), &signed); err != nil || len(signed) != len(args) {
		t.Fatalf("dkimsign: %d messages, %v", len(signed), err)
	}
	for i, msg := range signed {
		m := (&dkim.Verifier{Resolver: z}).Message()
		m.Write([]byte(msg))
		if got := m.Close(t.Context()); statuses(got) != string(want[i]) {
			t.Errorf("%s: %+v, want %s", args[i], got, want[i])
		}
	}
}

// opendkim-testmsg signs with SHA-1, which must not pass (RFC 8301 section 3.1).
func TestOpenDKIM(t *testing.T) {
	tool, err := exec.LookPath("opendkim-testmsg")
	if err != nil {
		if tool = "/usr/sbin/opendkim-testmsg"; exec.Command(tool, "-h").Run() != nil {
			if _, err := os.Stat(tool); err != nil {
				t.Skipf("opendkim-testmsg (package opendkim-tools) is missing: %v", err)
			}
		}
	}
	dir, z := keyFiles(t)
	signed := run(t, exec.Command(tool, "-C", "-d", "example.test", "-s", "rsa", "-k", filepath.Join(dir, "rsa")), plain+"hello\r\n")
	if !strings.Contains(signed, "rsa-sha1") {
		t.Fatalf("it does not sign with SHA-1 any more:\n%s", signed)
	}
	m := (&dkim.Verifier{Resolver: z}).Message()
	m.Write([]byte(signed))
	if got := m.Close(t.Context()); statuses(got) != "policy" {
		t.Errorf("%+v", got)
	}
}
