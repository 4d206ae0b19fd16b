package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/internal/testports"
	"github.com/samotop/samotop/resolver"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"samotop": main, "sendmail": main, "mailq": main, "newaliases": main})
}

// TestScripts runs testdata/script: the verbs as a person types them. Beyond testscript's own commands there are
// "base", which sets $BASE to a port base whose ports are free, "up DIR", which waits until a server answers, and
// "nameserver ZONE", which answers from a zone file at $DNS, and "arrived ADDRESS N", which waits until an account has N messages.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("SAMOTOP_DIR", filepath.Join(e.WorkDir, "h"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"base":       base,
			"nameserver": nameserver,
			"arrived":    arrived,
			"up": func(ts *testscript.TestScript, _ bool, args []string) {
				if err := waitUp(ts.MkAbs(args[0])); err != nil {
					ts.Fatalf("%v", err)
				}
			},
		},
	})
}

// arrived waits for messages. More are a fault.
func arrived(ts *testscript.TestScript, _ bool, args []string) {
	for range 3000 {
		ts.Check(ts.Exec("samotop", "account", "show", args[0]))
		out := ts.ReadFile("stdout")
		_, rest, _ := strings.Cut(out, "Messages  ")
		n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
		want, werr := strconv.Atoi(args[1])
		if err != nil || werr != nil || n > want {
			ts.Fatalf("not %s messages:\n%s", args[1], out)
		}
		if n == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not get %s messages", args[0], args[1])
}

// nameserver serves a zone until the script ends.
func nameserver(ts *testscript.TestScript, _ bool, args []string) {
	z, err := resolver.ParseZone(os.Expand(ts.ReadFile(args[0]), ts.Getenv))
	ts.Check(err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	ts.Check(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- z.Serve(ctx, udp, tcp) }()
	ts.Defer(func() {
		stop()
		<-done
	})
	ts.Setenv("DNS", tcp.Addr().String())
}

// base gives a script a port base that is its alone, in $BASE.
func base(ts *testscript.TestScript, _ bool, _ []string) {
	b, release, err := testports.Base()
	ts.Check(err)
	ts.Defer(release)
	ts.Setenv("BASE", strconv.Itoa(b))
}

func waitUp(dir string) error {
	c := config.Config{Dir: dir} // it may not be written yet
	for range 3000 {
		conn, err := house.DialUnix(context.Background(), c.RunPath(config.Control))
		if err == nil {
			return conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("no server came up in %s", dir)
}

func TestPasswordFile(t *testing.T) {
	for in, want := range map[string]string{"secret\n": "secret", "secret": "secret", "sec ret \r\n": "sec ret ", "a\n\n": "!", "\n": "!", "": "!"} {
		got, err := passwordFlag{PasswordFile: "-"}.read(&env{stdin: strings.NewReader(in)})
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestHelp: every verb explains itself with an example.
func TestHelp(t *testing.T) {
	for _, v := range []string{
		"backup", "restore", "sendmail",
		"quickstart", "dev", "serve", "account add", "account list", "account show", "account set", "account password",
		"account remove", "domain add", "domain list", "domain show", "domain remove", "alias add", "alias list", "alias remove", "alias test", "account grant", "account revoke",
		"domain set", "domain rule add", "domain rule list", "domain rule remove", "list add", "list list", "list show", "list set", "list remove",
		"list member add", "list member remove", "list poster add", "list poster remove", "queue list",
		"queue show", "queue retry", "queue hold", "queue release", "queue remove", "queue stats", "why", "reports list", "reports show", "dkim list", "dkim rotate", "dns show", "dns check", "verify", "store status", "status",
		"check-config", "version", "completion", "man", "import maildir", "import mbox", "import imap", "export maildir", "export mbox"} {
		var out, errs strings.Builder
		code := run(t.Context(), append(strings.Fields(v), "--help"), &env{stdout: &out, stderr: &errs})
		if code != exitDone || errs.Len() > 0 || !strings.Contains(out.String(), "samotop "+v) || !strings.Contains(out.String(), "Example:") {
			t.Errorf("%s: exit %d\n%s%s", v, code, out.String(), errs.String())
		}
	}
}
