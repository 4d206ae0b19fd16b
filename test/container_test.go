package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// containerUser is who the image runs as.
const containerUser = 65532

// TestContainer runs what the image holds, and nothing else, as the image's user: a root directory with one program in it.
// Only root can change the root directory; else only the image's content is looked at.
func TestContainer(t *testing.T) {
	out := t.TempDir()
	c := exec.Command("bash", "../dist/container/build.sh", out)
	c.Env = append(os.Environ(), "BUILDER=rootfs", "VERSION=1.2.3", "SOURCE_DATE_EPOCH=1700000000")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	root := filepath.Join(out, "rootfs")
	for _, name := range []string{"samotop", "sendmail", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "tmp", "var/lib/samotop"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	if os.Getuid() != 0 {
		return
	}
	in := func(args ...string) *exec.Cmd {
		c := exec.Command("/samotop", args...)
		c.Dir, c.Env = "/", []string{"SAMOTOP_DIR=/var/lib/samotop", "PATH=/"}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: containerUser, Gid: containerUser}, Pdeathsig: syscall.SIGKILL}
		return c
	}
	run := func(args ...string) string {
		t.Helper()
		b, err := in(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, b)
		}
		return string(b)
	}
	if v := run("version"); !strings.HasPrefix(v, "samotop 1.2.3 ") {
		t.Error(v)
	}
	run("quickstart", "--listen", "127.0.0.1", "--port-base", fmt.Sprint(freeBase(t)), "admin@a.test")
	if b, err := in("status", "--check").CombinedOutput(); err == nil {
		t.Errorf("a house that does not serve is healthy: %s", b)
	}
	log := &output{news: make(chan struct{}, 1)}
	serve := in("serve")
	serve.Stderr = log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); in("status", "--check").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never healthy:\n%s", log)
		}
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

// TestCompose: every room has its service with its own database, and the image is built from the directory that the build makes.
func TestCompose(t *testing.T) {
	text, err := os.ReadFile("../dist/container/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Services map[string]struct {
			Command []string
			Volumes []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		s, ok := f.Services[room]
		if !ok || strings.Join(s.Command, " ") != "serve "+room {
			t.Errorf("%s: %q", room, s.Command)
		}
		if !strings.Contains(strings.Join(s.Volumes, " "), "run:/var/lib/samotop/run") {
			t.Errorf("%s meets nobody: %q", room, s.Volumes)
		}
	}
	for volume, who := range map[string]string{"tls": "mailbox msa mta", "accounts": "accounts", "mails": "mailbox", "queue": "qm", "dkim": "qm", "evidence": "guard", "journal": "management"} {
		var have []string
		for _, room := range rooms {
			if slices.ContainsFunc(f.Services[room].Volumes, func(v string) bool { return strings.HasPrefix(v, volume+":") }) {
				have = append(have, room)
			}
		}
		if slices.Sort(have); strings.Join(have, " ") != who {
			t.Errorf("the volume %s is seen by %s, not by %s", volume, have, who)
		}
	}
	for name, s := range f.Services {
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, ok := f.Volumes[volume]; !ok {
				t.Errorf("%s: there is no volume %s", name, volume)
			}
		}
	}
}
