package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeb builds the package twice, which must give the same octets, installs it into a root of its own, runs what is there,
// and removes it.
func TestDeb(t *testing.T) {
	need(t, "dpkg-deb")
	need(t, "dpkg")
	out := t.TempDir()
	var files [2]string
	for i := range files {
		c := exec.Command("bash", "../dist/deb/build.sh", filepath.Join(out, string(rune('a'+i))))
		c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "VERSION=1.2.3", "XZ_LEVEL=0")
		text, err := c.Output()
		if err != nil {
			t.Fatalf("build: %v\n%s%s", err, text, errText(err))
		}
		files[i] = strings.TrimSpace(string(text))
	}
	if a, b := content(t, files[0]), content(t, files[1]); !bytes.Equal(a, b) {
		t.Error("two builds differ")
	}

	root := t.TempDir()
	for _, d := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		b, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, b)
		}
		return string(b)
	}
	dpkg := []string{"--root=" + root, "--force-script-chrootless", "--force-not-root", "--force-depends", "--log=/dev/null"}
	if text := run("dpkg", append(dpkg, "--install", files[0])...); !strings.Contains(text, "samotop quickstart ADDRESS") {
		t.Errorf("the next step is not told:\n%s", text)
	}
	in := func(p string) string { return filepath.Join(root, p) }
	dir := filepath.Join(t.TempDir(), "house")
	if v := run(in("usr/bin/samotop"), "version"); !strings.HasPrefix(v, "samotop 1.2.3 ") {
		t.Errorf("version %s", v)
	}
	run(in("usr/bin/samotop"), "quickstart", "--dir", dir, "admin@a.test")
	for _, name := range []string{"usr/sbin/sendmail", "usr/lib/sendmail"} {
		c := exec.Command(in(name), "-v", "admin@a.test")
		c.Env, c.Stdin = append(os.Environ(), "SAMOTOP_DIR="+dir), strings.NewReader("Subject: x\n\nhello\n")
		if b, err := c.CombinedOutput(); err != nil || !strings.Contains(string(b), "dropped") {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	if text := run(in("usr/bin/newaliases")); !strings.Contains(text, "samotop alias") {
		t.Error(text)
	}
	for _, name := range []string{"samotop.1", "mailq.1", "newaliases.1", "../man8/sendmail.8"} {
		if text := run("gzip", "-dc", in("usr/share/man/man1/"+name+".gz")); !strings.Contains(text, ".TH SAMOTOP 1") {
			t.Errorf("%s is no manual page", name)
		}
	}
	run("bash", "-n", in("usr/share/bash-completion/completions/samotop"))
	if units, _ := filepath.Glob(in("usr/lib/systemd/system/samotop*")); len(units) < 20 {
		t.Errorf("units: %q", units)
	}
	if got := run("dpkg-deb", "--field", files[0], "Provides", "Conflicts"); strings.Count(got, "mail-transport-agent") != 2 {
		t.Error(got)
	}
	run("dpkg", append(dpkg, "--remove", "samotop")...)
	if _, err := os.Stat(in("etc/default/samotop")); err != nil {
		t.Error("removing the package takes its configuration away:", err)
	}
	run("dpkg", append(dpkg, "--purge", "samotop")...)
	for _, p := range []string{"etc/default/samotop", "usr/bin/samotop", "usr/sbin/sendmail"} {
		if _, err := os.Lstat(in(p)); err == nil {
			t.Errorf("%s is left", p)
		}
	}
}

func content(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// errText is what a command wrote to standard error.
func errText(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}
