package test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestACME: in a house that is split the management room gets a certificate, and the rooms that end TLS show it without a restart,
// with the key that was there. The challenges themselves are tried in internal/acme; here the authority believes us.
func TestACME(t *testing.T) {
	pebble := need(t, "pebble")
	s := newSplit(t, "a.test", "alice")
	shown := func(port int) *tls.ConnectionState {
		c, err := tls.Dial("tcp", s.addr(port), insecure)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		state := c.ConnectionState()
		return &state
	}
	before := shown(993).PeerCertificates[0]

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	api := l.Addr().String()
	l.Close()
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{"listenAddress": api, "certificate": filepath.Join(s.dir, "tls", "cert.pem"),
		"privateKey": filepath.Join(s.dir, "tls", "key.pem"), "httpPort": 1, "tlsPort": 2}})
	if err != nil {
		t.Fatal(err)
	}
	file, ca := filepath.Join(t.TempDir(), "pebble.json"), filepath.Join(s.dir, "pebble.pem")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(s.dir, "tls", "cert.pem")) // Pebble uses ours for its own door
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, own, 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(pebble, "-config", file)
	c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_VA_ALWAYS_VALID=1", "PEBBLE_WFE_NONCEREJECT=0")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	s.until("pebble serves", func() bool {
		c, err := net.Dial("tcp", api)
		if err == nil {
			c.Close()
		}
		return err == nil
	})

	s.dropIn("acme", fmt.Sprintf("[tls.acme]\nagree = true\ndirectory = \"https://%s/dir\"\nca = \"pebble.pem\"\nhttp = \"127.0.0.1:%d\"\n", api, s.base+80))
	s.run("", "check-config")
	s.kill("management", syscall.SIGTERM)
	s.startRoom("management")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.procs["management"].log)
		}
	})
	for _, port := range []int{993, 465} {
		s.until("the new certificate is shown", func() bool { return !bytes.Equal(shown(port).PeerCertificates[0].Raw, before.Raw) })
		after := shown(port).PeerCertificates[0]
		if err := after.VerifyHostname("mx.a.test"); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(after.RawSubjectPublicKeyInfo, before.RawSubjectPublicKeyInfo) {
			t.Error("the key changed")
		}
	}
}
