package test

import (
	"strings"
	"testing"
)

// TestReportToMachine: what a program of this machine has sent in its own name, another server takes and later reports that it could
// not be delivered. The report comes to the postmaster, by our front door: by the path that the queue wrote (SRS), and by the plain
// address, which is what people answer to. The door takes nothing else for the machine's name.
func TestReportToMachine(t *testing.T) {
	a, b := newHouse(t, "a.test", "alice"), newHouse(t, "b.test", "bob")
	for a.base == b.base {
		b = newHouse(t, "b.test", "bob")
	}
	a.route(b)
	b.route(a)
	b.dropIn("route-machine", "[[qm.route]]\ndomain = \"mx.a.test\"\nto = \"smtp://"+a.addr(25)+"\"\n")
	b.run("", "alias", "add", "away@b.test", "nobody@a.test")
	a.start()
	b.start()
	newSendmail(a).want(0, "", 0, "Subject: from cron\n\nhello\n", "away@b.test")
	report := a.await("admin@a.test", 1)[0]
	for _, want := range []string{"Return-Path: <>\r\n", "by mx.a.test", "multipart/report", "Reporting-MTA: dns; mx.b.test", "nobody@a.test", "To: SRS0="} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}
	for to, want := range map[string]string{"postmaster@mx.a.test": "", "root@mx.a.test": "", "no-such-user@mx.a.test": "5.1.1", "root@x.mx.a.test": "5.7.1", "root@elsewhere.test": "5.7.1"} {
		err := a.send("", []string{to}, letter("x@x.test", to, "to the machine", "hello"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", to, err)
		}
	}
	a.await("admin@a.test", 3)
}
