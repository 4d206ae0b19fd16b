//go:build unix

package smtp_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
)

// foreignDir is a directory that a daemon may enter after it has dropped root, with a path short enough for sockets.
func foreignDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// daemon starts a program in a session of its own, waits for its socket, and ends it with its children.
func daemon(t *testing.T, socket, logFile, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second): // its end is not what is tested; Dovecot has been seen to take its time
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if t.Failed() && logFile != "" {
			log, _ := os.ReadFile(logFile)
			t.Logf("%s: %s", filepath.Base(logFile), log)
		}
	})
	for range 1000 {
		if conn, err := net.Dial("unix", socket); err == nil { // the file is there a moment before somebody listens
			conn.Close()
			return
		}
		select {
		case err := <-done:
			done <- err
			log, _ := os.ReadFile(logFile)
			t.Fatalf("%s: %v\n%s%s", program, err, out.String(), log)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen", program)
}

// asRoot skips where a program cannot be started by others.
func asRoot(t *testing.T, program string) string {
	t.Helper()
	path, err := lookForeign(program)
	if err != nil {
		t.Skipf("%s is not on this machine", program)
	}
	if os.Getuid() != 0 {
		t.Skipf("%s is started by root only", program)
	}
	return path
}

// foreignMessages are what each foreign server gets: dots and a long line, a refused recipient, a large one, UTF-8.
func foreignMessages(utf8 bool) []*smtp.Message {
	bodies := []string{
		"Subject: one\r\n\r\n.dot\r\n..\r\n" + strings.Repeat("x", 900) + "\r\n.\r\nend\r\n",
		"Subject: two\r\n\r\n" + strings.Repeat(".line\r\n", 20000),
		"Subject: three\r\n\r\n\xc3\xbc\r\n",
	}
	var ms []*smtp.Message
	for i, b := range bodies {
		m := &smtp.Message{Envelope: envelope("c@d.test", "unknown@d.test", "e@d.test"), Body: strings.NewReader(b), Size: int64(len(b))}
		if i == 2 {
			m.Sender.Body, m.Sender.UTF8 = mail.Body8Bit, utf8
			if utf8 {
				m.Sender.Address.Local = "\u00fc"
			}
		}
		ms = append(ms, m)
	}
	return ms
}

// sendForeign delivers foreignMessages, and wants each recipient's reply positive or not as told.
func sendForeign(t *testing.T, d *smtp.Dialer, socket string, utf8 bool, positive ...bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := d.Dial(ctx, "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, m := range foreignMessages(utf8) {
		res, err := c.Send(ctx, m)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		for j, want := range positive {
			if r := res.Recipients[j].Reply; r.Positive() != want {
				t.Errorf("message %d, recipient %d: %v", i, j, r)
			}
		}
	}
	if err := c.Quit(ctx); err != nil {
		t.Error(err)
	}
}

// body is what follows the header.
func body(content []byte) string {
	_, b, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	return string(b)
}

// wantBodies compares without regard to order, as several deliver at once.
func wantBodies(t *testing.T, who string, got [][]byte) {
	t.Helper()
	want := map[string]int{}
	for _, m := range foreignMessages(false) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(m.Body)
		want[body(b.Bytes())]++
	}
	for _, c := range got {
		want[body(c)]--
	}
	for b, n := range want {
		if n != 0 {
			t.Errorf("%s: %d missing (or, below 0, too many) of %.80q", who, n, b)
		}
	}
}

// awaitMessages waits until a Door has as many messages for an address.
func awaitMessages(t *testing.T, rec *mailtest.Recorder, a string, n int) [][]byte {
	t.Helper()
	for range 1500 {
		if got, _ := rec.Probe(t.Context(), addr(a)); len(got) >= n {
			return got
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: %d messages: %.500q", a, len(rec.Messages()), fmt.Sprint(rec.Messages()))
	return nil
}

// TestPostfix: our client into Postfix's smtpd; Postfix's LMTP client into our LMTP server; what that refuses comes back
// as a report by Postfix's SMTP client, over STARTTLS, into our ESMTP server.
func TestPostfix(t *testing.T) {
	postfix := asRoot(t, "postfix")
	libexec, err := exec.Command(strings.TrimSuffix(postfix, "postfix")+"postconf", "-h", "daemon_directory").Output()
	if err != nil {
		t.Fatal(err)
	}
	local, remote := recorder(), recorder()
	_, lmtp := serveForeign(t, &smtp.Server{Door: local, LMTP: true, Hostname: "box.test"})
	_, relay := serveForeign(t, &smtp.Server{Door: remote, Hostname: "mx.test", TLSConfig: testTLS(t), RequireTLS: true})
	dir := foreignDir(t)
	postfixConfig(t, dir, lmtp, relay)
	socket := filepath.Join(dir, "queue/public/in")
	daemon(t, socket, filepath.Join(dir, "log"), filepath.Join(strings.TrimSpace(string(libexec)), "master"), "-c", filepath.Join(dir, "etc"))
	sendForeign(t, &smtp.Dialer{Hello: "me.test"}, socket, true, true, true, true)
	for _, a := range []string{"c@d.test", "e@d.test"} {
		wantBodies(t, a, awaitMessages(t, local, a, 3))
	}
	reports := awaitMessages(t, remote, "a@b.test", 2)
	reports = append(reports, awaitMessages(t, remote, "\u00fc@b.test", 1)...)
	for _, r := range reports {
		if !bytes.Contains(r, []byte("5.1.1")) {
			t.Errorf("a report without our reply: %.2000q", r)
		}
	}
	for _, m := range remote.Messages() {
		if !m.From.Address.IsNull() {
			t.Errorf("a report from %v", m.From.Address)
		}
	}
}

func postfixConfig(t *testing.T, dir, lmtp, relay string) {
	t.Helper()
	for _, d := range []string{"etc", "data", "queue", "queue/pid", "queue/public", "queue/private", "queue/maildrop", "queue/active", "queue/bounce",
		"queue/corrupt", "queue/defer", "queue/deferred", "queue/flush", "queue/hold", "queue/incoming", "queue/saved", "queue/trace"} {
		d = filepath.Join(dir, d)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", "postfix", filepath.Join(dir, "queue"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, d := range []string{"queue", "queue/pid"} {
		if err := os.Chown(filepath.Join(dir, d), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "etc/main.cf"), strings.NewReplacer("DIR", dir, "LMTP", lmtp, "RELAY", relay).Replace(`
compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
virtual_mailbox_domains = d.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:127.0.0.1:LMTP
default_transport = smtp:[127.0.0.1]:RELAY
smtp_tls_security_level = encrypt
smtp_dns_support_level = disabled
notify_classes =
`))
	writeFile(t, filepath.Join(dir, "etc/master.cf"), `in unix n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`)
}

// TestDovecotLMTP: our client delivers to Dovecot's LMTP server, which answers for each recipient.
func TestDovecotLMTP(t *testing.T) {
	dovecot := asRoot(t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		t.Skip("Dovecot's LMTP server is not on this machine")
	}
	dir := foreignDir(t)
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "mail"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "users"), "c@d.test:::::\ne@d.test:::::\n")
	writeFile(t, filepath.Join(dir, "dovecot.conf"), strings.ReplaceAll(`
protocols = lmtp
base_dir = DIR/run
state_dir = DIR/state
instance_name = foreign
log_path = DIR/log
ssl = no
mail_location = maildir:~/Maildir
mail_fsync = never
userdb {
  driver = passwd-file
  args = DIR/users
  override_fields = uid=65534 gid=65534 home=DIR/mail/%n
}
passdb {
  driver = passwd-file
  args = DIR/users
}
service lmtp {
  unix_listener DIR/in {
    mode = 0666
  }
}
`, "DIR", dir))
	socket := filepath.Join(dir, "in")
	daemon(t, socket, filepath.Join(dir, "log"), dovecot, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	sendForeign(t, &smtp.Dialer{Hello: "me.test", LMTP: true}, socket, false, true, false, true)
	for _, who := range []string{"c", "e"} {
		files, _ := filepath.Glob(filepath.Join(dir, "mail", who, "Maildir/new/*"))
		var got [][]byte
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
		}
		wantBodies(t, who, got)
	}
}

const pythonServer = `
import asyncio, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult
from aiosmtpd.lmtp import LMTP
dir, kind = sys.argv[1], sys.argv[2]
class Handler:
    n = 0
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"
    async def handle_DATA(self, server, session, envelope):
        Handler.n += 1
        with open("%s/%d" % (dir, Handler.n), "wb") as f:
            f.write(envelope.original_content)
        replies = len(envelope.rcpt_tos) if kind == "lmtp" else 1 # aiosmtpd leaves that to us
        return "\r\n".join(["250 2.0.0 ok"] * replies)
def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"a", b"pw"))
def make():
    if kind == "lmtp":
        return LMTP(Handler(), enable_SMTPUTF8=True, hostname="py.test")
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(dir + "/cert.pem", dir + "/key.pem")
    return SMTP(Handler(), enable_SMTPUTF8=True, hostname="py.test", tls_context=ctx, require_starttls=True, auth_required=True, authenticator=authenticate)
async def main():
    server = await asyncio.get_running_loop().create_unix_server(make, dir + "/in")
    await server.serve_forever()
asyncio.run(main())
`

// TestAiosmtpd: our client into Python's server, with STARTTLS and AUTH, and into its LMTP server.
func TestAiosmtpd(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, whatever else is in PATH
	if exec.Command(python, "-c", "import aiosmtpd").Run() != nil {
		t.Skip("aiosmtpd is not on this machine")
	}
	for _, kind := range []string{"smtp", "lmtp"} {
		t.Run(kind, func(t *testing.T) {
			dir := foreignDir(t)
			d := &smtp.Dialer{Hello: "me.test", LMTP: kind == "lmtp"}
			if kind == "smtp" {
				d.TLSConfig, d.TLS, d.Auth = testTLS(t), smtp.TLSRequired, login("pw")
				key, err := x509.MarshalPKCS8PrivateKey(d.TLSConfig.Certificates[0].PrivateKey)
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
				cert := d.TLSConfig.Certificates[0].Certificate[0]
				writeFile(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
			}
			socket := filepath.Join(dir, "in")
			daemon(t, socket, "", python, "-W", "ignore", "-c", pythonServer, dir, kind)
			sendForeign(t, d, socket, true, true, false, true)
			var got [][]byte
			for n := range 3 {
				b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(n+1)))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b)
			}
			wantBodies(t, kind, got)
		})
	}
}
