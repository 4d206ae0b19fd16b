package smtp_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/smtp"
)

// serveForeign listens on TCP for a program of somebody else.
func serveForeign(t *testing.T, srv *smtp.Server) (host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		<-done
	})
	host, port, _ = net.SplitHostPort(l.Addr().String())
	return host, port
}

const pythonClient = `
import smtplib, sys
port, kind = int(sys.argv[1]), sys.argv[2]
c = (smtplib.LMTP if kind == "lmtp" else smtplib.SMTP)("127.0.0.1", port)
if kind == "smtp":
    import ssl
    ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
    c.starttls(context=ctx)
    c.login("a", "pw")
msg = b"Subject: hello\r\n\r\n.dot\r\nbody\r\n"
refused = c.sendmail("a@b.test", ["c@d.test", "unknown@d.test"], msg)
assert list(refused) == ["unknown@d.test"], refused
msg = ("Subject: h\u00fc\r\n\r\n").encode() + b"x" * 2000 + b"\r\n"
c.sendmail("\u00fc@b.test", ["\u00f6@d.test"], msg, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
c.quit()
`

// TestForeignClients: programs of others send a message with a line that begins with a dot.
func TestForeignClients(t *testing.T) {
	text := "From: a@b.test\r\nTo: c@d.test\r\nSubject: hello\r\n\r\n.dot\r\nbody\r\n"
	file := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lf := filepath.Join(filepath.Dir(file), "lf")
	if err := os.WriteFile(lf, []byte(strings.ReplaceAll(text, "\r\n", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, program string
		args          []string // HOST and PORT are replaced
		stdin         string
		lmtp          bool
		messages      int
		want          string // in the first message; swaks adds a line to the end
	}{
		{name: "swaks", program: "swaks", args: []string{"--server", "HOST", "--port", "PORT", "--from", "a@b.test", "--to", "c@d.test", "--tls", "--auth", "PLAIN", "--auth-user", "a", "--auth-password", "pw", "--data", "@" + file, "--silent", "2"}, messages: 1, want: ".dot\r\nbody\r\n"},
		{name: "swaks LMTP", program: "swaks", args: []string{"--protocol", "LMTP", "--server", "HOST", "--port", "PORT", "--from", "a@b.test", "--to", "c@d.test,e@d.test", "--data", "@" + file, "--silent", "2"}, lmtp: true, messages: 1, want: ".dot\r\nbody\r\n"},
		{name: "curl", program: "curl", args: []string{"-sS", "--ssl-reqd", "-k", "--user", "a:pw", "--url", "smtp://HOST:PORT", "--mail-from", "a@b.test", "--mail-rcpt", "c@d.test", "--upload-file", file}, messages: 1, want: ".dot\r\nbody\r\n"},
		{name: "msmtp", program: "msmtp", args: []string{"--host=HOST", "--port=PORT", "--from=a@b.test", "--tls=off", "c@d.test"}, stdin: lf, messages: 1, want: ".dot\r\nbody\r\n"},
		{name: "msmtp TLS", program: "msmtp", args: []string{"--host=HOST", "--port=PORT", "--from=a@b.test", "--tls=on", "--tls-certcheck=off", "--auth=plain", "--user=a", "--passwordeval=echo pw", "c@d.test"}, stdin: lf, messages: 1, want: ".dot\r\nbody\r\n"},
		{name: "smtplib", program: "python3", args: []string{"-c", pythonClient, "PORT", "smtp"}, messages: 2, want: ".dot\r\nbody\r\n"},
		{name: "smtplib LMTP", program: "python3", args: []string{"-c", pythonClient, "PORT", "lmtp"}, lmtp: true, messages: 2, want: ".dot\r\nbody\r\n"},
		{name: "smtp-source", program: "smtp-source", args: []string{"-s", "5", "-m", "100", "-l", "4000", "-r", "3", "inet:HOST:PORT"}, messages: 100},
		{name: "smtp-source LMTP", program: "smtp-source", args: []string{"-L", "-s", "5", "-m", "100", "-l", "4000", "-r", "3", "inet:HOST:PORT"}, lmtp: true, messages: 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, err := lookForeign(c.program)
			if err != nil {
				t.Skipf("%s is not on this machine", c.program)
			}
			rec := recorder()
			srv := &smtp.Server{Door: rec, LMTP: c.lmtp, Hostname: "mx.test", Auth: plain{}, TLSConfig: testTLS(t)}
			if c.lmtp {
				srv.Auth, srv.TLSConfig = nil, nil
			}
			host, port := serveForeign(t, srv)
			args := make([]string, len(c.args))
			for i, a := range c.args {
				args[i] = strings.NewReplacer("HOST", host, "PORT", port).Replace(a)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, args...)
			if c.stdin != "" {
				f, err := os.Open(c.stdin)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				cmd.Stdin = f
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := rec.Messages()
			if len(got) != c.messages || !bytes.Contains(got[0].Content, []byte(c.want)) {
				t.Errorf("%d messages: %.300q", len(got), fmt.Sprint(got))
			}
		})
	}
}

// lookForeign finds programs that administrators keep in sbin, too.
func lookForeign(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	path = "/usr/sbin/" + name
	_, err = os.Stat(path)
	return path, err
}

// TestForeignServer sends to Postfix's smtp-sink, by SMTP and LMTP.
func TestForeignServer(t *testing.T) {
	sink, err := lookForeign("smtp-sink")
	if err != nil {
		t.Skip("smtp-sink is not on this machine")
	}
	for _, lmtp := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "sink")
		args := []string{"unix:" + path, "10"}
		if lmtp {
			args = append([]string{"-L"}, args...)
		}
		if os.Getuid() == 0 {
			args = append([]string{"-u", "nobody"}, args...)
			if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(sink, args...)
		var out bytes.Buffer
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		for i := 0; i < 500; i++ {
			if _, err := os.Stat(path); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		d := smtp.Dialer{Hello: "me.test", LMTP: lmtp}
		c, err := d.Dial(t.Context(), "unix", path)
		if err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		for n := range 3 {
			body := strings.Repeat(".line "+strconv.Itoa(n)+"\r\n", 10000)
			res, err := c.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test", "e@d.test"), Body: strings.NewReader(body), Size: int64(len(body))})
			if err != nil || !res.Recipients[1].Reply.Positive() {
				t.Error(fmt.Sprint(lmtp), res, err)
			}
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
