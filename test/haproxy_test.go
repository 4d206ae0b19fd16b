package test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// behind connects from an address of this machine that is not 127.0.0.1.
func behind(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHAProxy: behind HAProxy, by both versions of the PROXY protocol, SMTP, submission and IMAP know the client's own
// address; who comes by himself is not believed.
func TestHAProxy(t *testing.T) {
	program := need(t, "haproxy")
	h := newHouse(t, "p.test", "alice")
	h.dropIn("proxy", "[mta]\ntrusted = [\"127.0.0.1\"]\nproxy = true\n[msa]\nproxy = true\n[mailbox]\nproxy = true\n")
	h.start()
	front := map[string]string{}
	var conf strings.Builder
	fmt.Fprintf(&conf, "defaults\n\tmode tcp\n\ttimeout connect 10s\n\ttimeout client 60s\n\ttimeout server 60s\n")
	for _, p := range []int{25, 587, 993} {
		for _, version := range []string{"send-proxy", "send-proxy-v2"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%d-%s", p, version)
			front[name] = l.Addr().String()
			l.Close()
			fmt.Fprintf(&conf, "listen %s\n\tbind %s\n\tserver s %s source 127.0.0.1 %s\n", name, front[name], h.addr(p), version)
		}
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-db", "-f", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", front["993-send-proxy-v2"]); err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("HAProxy does not listen")
		}
	}
	for i, version := range []string{"send-proxy", "send-proxy-v2"} {
		c := &conversation{t, behind(t, "127.0.0.2", front["25-"+version]), nil}
		c.r = bufio.NewReader(c.c)
		for _, line := range []string{"", "EHLO far.test", "MAIL FROM:<x@far.test>", "RCPT TO:<alice@p.test>", "DATA"} {
			if line != "" {
				c.say(line)
			}
			reply(t, c.r)
		}
		c.say("Subject: " + version + "\r\n\r\nhello\r\n.")
		reply(t, c.r)
		c.c.Close()

		sub := behind(t, "127.0.0.2", front["587-"+version])
		if line := reply(t, bufio.NewReader(sub)); !strings.HasPrefix(line, "220 ") {
			t.Error(line)
		}
		sub.Close()

		im := behind(t, "127.0.0.2", front["993-"+version])
		ic := imapclient.New(tls.Client(im, insecure), nil)
		if err := ic.Login("alice@p.test", password).Wait(); err != nil {
			t.Fatal(err)
		}
		sel, err := ic.Select("INBOX", nil).Wait()
		if err != nil || sel.NumMessages != uint32(i+1) {
			t.Errorf("%+v, %v", sel, err)
		}
		ic.Close()
	}
	log := h.log.String()
	for _, service := range []string{"mta", "msa", "imap"} {
		found := false
		for _, line := range strings.Split(log, "\n") {
			found = found || strings.Contains(line, "room="+service) && strings.Contains(line, "remote=127.0.0.2:")
		}
		if !found {
			t.Errorf("%s does not know the client's address:\n%s", service, log)
		}
	}

	stranger := behind(t, "127.0.0.3", h.addr(25))
	r := bufio.NewReader(stranger)
	if line := reply(t, r); !strings.HasPrefix(line, "220 ") {
		t.Error(line)
	}
	fmt.Fprintf(stranger, "PROXY TCP4 127.0.0.1 127.0.0.1 4321 25\r\n")
	if line := reply(t, r); !strings.HasPrefix(line, "500 ") {
		t.Error(line)
	}
	own := behind(t, "127.0.0.1", h.addr(25))
	fmt.Fprintf(own, "EHLO a.test\r\n")
	if line, err := bufio.NewReader(own).ReadString('\n'); err == nil {
		t.Errorf("a proxy without a header is let in: %q", line)
	}
}

// reply reads one reply of SMTP, of any number of lines, and returns the last.
func reply(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if len(line) > 3 && line[3] == ' ' {
			return line
		}
	}
}
