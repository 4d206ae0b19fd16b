package test

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The patterns by which such programs are tried. They stand in two pieces here, so that nobody's scanner minds this file.
const (
	gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
	// eicarHash is the list of viruses: MD5, length, name.
	eicarHash = "44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test-Signature\n"
)

// infected is a letter with the harmless virus as its attachment.
func infected(from, to string) string {
	return strings.TrimSuffix(letter(from, to, "a program", ""), "\r\n\r\n") +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
		"Content-Type: application/octet-stream; name=e.com\r\nContent-Disposition: attachment; filename=e.com\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString([]byte(eicar)) + "\r\n--b--\r\n"
}

// answered reports whether a server answered so.
func answered(err error, want string) bool {
	return err != nil && strings.HasPrefix(strings.ReplaceAll(err.Error(), `"`, ""), want) // net/smtp quotes what follows the code
}

// TestClamAV: mail passes by Debian's clamav-milter and its clamd, which knows one virus; who sends it is refused. Without clamd the
// milter puts mail off; without the milter it is taken.
func TestClamAV(t *testing.T) {
	clamd, milter := need(t, "clamd"), need(t, "clamav-milter")
	f := newForeign(t)
	if err := os.Mkdir(f.path("db"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.write("db/own.hdb", eicarHash)
	f.write("clamd.conf", fmt.Sprintf("Foreground yes\nLocalSocket %s\nDatabaseDirectory %s\nTemporaryDirectory %s\n", f.path("d"), f.path("db"), f.dir))
	f.write("milter.conf", fmt.Sprintf("Foreground yes\nMilterSocket unix:%s\nClamdSocket unix:%s\nOnInfected Reject\nRejectMsg virus %%v\nAddHeader Replace\nTemporaryDirectory %s\n", f.path("m"), f.path("d"), f.dir))
	stopClamd := f.start("unix", f.path("d"), clamd, "-c", f.path("clamd.conf"))
	stopMilter := f.start("unix", f.path("m"), milter, "-c", f.path("milter.conf"))

	h := newHouse(t, "a.test", "alice", "bob")
	h.dropIn("filters", fmt.Sprintf("[[guard.filter]]\nname = \"clamav\"\nmilter = \"unix:%s\"\n", f.path("m")))
	h.start()
	both := []string{"alice@a.test", "bob@a.test"}
	if err := h.send("x@far.test", both, infected("x@far.test", "alice@a.test")); !answered(err, "550 5.7.1 <alice@a.test>: virus Eicar-Test-Signature") {
		t.Errorf("a virus: %v", err)
	}
	if err := h.send("x@far.test", both, letter("x@far.test", "alice@a.test", "clean", "hello")); err != nil {
		t.Fatal(err)
	}
	if got := h.await("alice@a.test", 1)[0]; !strings.Contains(got, "\nX-Virus-Status: Clean\r\n") {
		t.Error(got)
	}
	if why := h.run("", "why", "x@far.test"); !strings.Contains(why, "clamav: virus Eicar-Test-Signature") {
		t.Error(why)
	}
	stopClamd()
	if err := h.send("x@far.test", both, letter("x@far.test", "alice@a.test", "later", "hello")); !answered(err, "451 4.7.1") {
		t.Errorf("without clamd: %v", err)
	}
	stopMilter()
	if err := h.send("x@far.test", both, letter("x@far.test", "alice@a.test", "unseen", "hello")); err != nil {
		t.Errorf("without the milter: %v", err)
	}
	h.await("bob@a.test", 2)
}

// TestSpamAssassin: mail passes by Debian's spamass-milter and SpamAssassin with Debian's rules. What is surely unwanted is
// refused, what it marks is filed as junk, and all other mail tells in its header what SpamAssassin thinks.
func TestSpamAssassin(t *testing.T) {
	spamd, milter := need(t, "spamd"), need(t, "spamass-milter")
	f := newForeign(t)
	args := []string{"--local", "--nouser-config", "--max-children=1", "--min-children=1", "--syslog=stderr", "--pidfile=" + f.path("pid"), "--helper-home-dir=" + f.dir,
		"--socketpath=" + f.path("d"), "--socketmode=0666", "--cf=body SOMEWHAT /somewhat unwanted/", "--cf=score SOMEWHAT 8"}
	if os.Getuid() == 0 {
		args = append(args, "--username=nobody") // it does not want to be root
	}
	f.start("unix", f.path("d"), spamd, args...)
	f.start("unix", f.path("m"), milter, "-p", f.path("m"), "-r", "15", "--", "-U", f.path("d"))

	h := newHouse(t, "a.test", "alice")
	h.dropIn("filters", fmt.Sprintf("[[guard.filter]]\nname = \"spamassassin\"\nmilter = \"unix:%s\"\n", f.path("m")))
	h.start()
	if err := h.send("x@far.test", []string{"alice@a.test"}, letter("x@far.test", "alice@a.test", "an offer", gtube)); !answered(err, "550 5.7.1 <alice@a.test>: Blocked by SpamAssassin") {
		t.Errorf("unwanted: %v", err)
	}
	if err := h.send("x@far.test", []string{"alice@a.test"}, letter("x@far.test", "alice@a.test", "tomorrow", "Shall we meet at ten?")); err != nil {
		t.Fatal(err)
	}
	if got := h.await("alice@a.test", 1)[0]; !strings.Contains(got, "\nX-Spam-Status: No, score=") {
		t.Error(got)
	}
	if err := h.send("x@far.test", []string{"alice@a.test"}, letter("x@far.test", "alice@a.test", "an idea", "This is somewhat unwanted.")); err != nil {
		t.Fatal(err)
	}
	if got := h.messages("alice@a.test", "Junk"); len(got) != 1 || !strings.Contains(got[0], "\nX-Spam-Flag: YES\r\n") || !strings.Contains(got[0], "SOMEWHAT") {
		t.Errorf("what SpamAssassin marks is not in Junk: %q", got)
	}
	if why := h.run("", "why", "x@far.test"); !strings.Contains(why, "Blocked by SpamAssassin") {
		t.Error(why)
	}
}

// rspamdConf asks Debian's rules and scores, but no plugins, few languages and few top-level domains: it starts in a second then,
// not in thirty.
const rspamdConf = `options {
  url_tld = "DIR/tld"; hs_cache_dir = "DIR"; history_file = "DIR/history"; rrd = ""; disable_hyperscan = true;
  dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }
  control_socket = "DIR/control mode=0600"; local_addrs = []; filters = ""; enable_test_patterns = true;
}
lang_detection { languages_enable = ["en"]; }
logging { type = "console"; level = "info"; }
worker "normal" { bind_socket = "127.0.0.1:PORT"; count = 1; }
lua = "/usr/share/rspamd/rules/rspamd.lua";
.include "/etc/rspamd/metrics.conf"
.include "/etc/rspamd/actions.conf"
.include "/etc/rspamd/groups.conf"
modules { path = "DIR/none"; }
`

// TestRspamd: mail passes by Debian's rspamd. What it rejects is refused, what it would mark is filed as junk, and its symbols are told.
func TestRspamd(t *testing.T) {
	program := need(t, "rspamd")
	f, port := newForeign(t), freePort(t)
	if err := os.Mkdir(f.path("none"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.write("tld", "test\ncom\n")
	f.write("rspamd.conf", strings.NewReplacer("DIR", f.dir, "PORT", port).Replace(rspamdConf))
	args := []string{"--no-fork", "--insecure", "-c", f.path("rspamd.conf")}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root", "-g", "root")
	}
	f.start("tcp", "127.0.0.1:"+port, program, args...)

	h := newHouse(t, "a.test", "alice")
	h.dropIn("filters", fmt.Sprintf("[[guard.filter]]\nurl = \"http://127.0.0.1:%s/checkv2\"\n", port))
	h.start()
	if err := h.send("x@far.test", []string{"alice@a.test"}, letter("x@far.test", "alice@a.test", "an offer", gtube)); !answered(err, "550 5.7.1 <alice@a.test>: Gtube pattern") {
		t.Errorf("unwanted: %v", err)
	}
	for _, text := range []string{"Shall we meet at ten?", "YJS" + gtube[3:]} { // the second is to be marked
		if err := h.send("x@far.test", []string{"alice@a.test"}, letter("x@far.test", "alice@a.test", "tomorrow", text)); err != nil {
			t.Fatal(err)
		}
	}
	h.await("alice@a.test", 1)
	h.until("what is marked is in Junk", func() bool { return len(h.messages("alice@a.test", "Junk")) == 1 })
	if got := h.messages("alice@a.test", "Junk")[0]; !strings.Contains(got, "\nX-Samotop-Junk: yes; score=") || !strings.Contains(got, "rspamd: add header") {
		t.Error(got)
	}
	if why := h.run("", "why", "x@far.test"); !strings.Contains(why, "rspamd: reject") {
		t.Error(why)
	}
}
