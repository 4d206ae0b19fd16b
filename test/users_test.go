package test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// units is what dist/systemd makes of a machine: users, groups, who owns which file, and which sockets are opened for which room. The
// users have numbers that nobody else has, so the machine's own list of users is left alone.
type units struct {
	h       *house
	ids     map[string]uint32   // of users and of groups
	groups  map[string][]uint32 // of users, beside their own
	sockets map[string][]*os.File
}

// firstUnitID is a number that Debian gives to nobody (Debian Policy section 9.2.2).
const firstUnitID = 61000

const varLib = "/var/lib/samotop"

func lines(t *testing.T, name string) (out [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../dist/systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
			out = append(out, f)
		}
	}
	return out
}

func newUnits(h *house) *units {
	h.t.Helper()
	u := &units{h: h, ids: map[string]uint32{"root": 0}, groups: map[string][]uint32{}, sockets: map[string][]*os.File{}}
	for _, f := range lines(h.t, "samotop-sysusers.conf") {
		switch f[0] {
		case "u", "g":
			if _, ok := u.ids[f[1]]; !ok {
				u.ids[f[1]] = firstUnitID + uint32(len(u.ids))
			}
		case "m":
			u.groups[f[1]] = append(u.groups[f[1]], u.id(f[2]))
		}
	}
	for d := filepath.Dir(h.dir); strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		u.must(os.Chmod(d, 0o755))
	}
	u.must(os.Chmod(filepath.Dir(binary), 0o755))
	return u
}

func (u *units) must(err error) {
	u.h.t.Helper()
	if err != nil {
		u.h.t.Fatal(err)
	}
}

func (u *units) id(name string) uint32 {
	u.h.t.Helper()
	id, ok := u.ids[name]
	if !ok {
		u.h.t.Fatalf("nobody makes the user or group %s", name)
	}
	return id
}

// own does what systemd-tmpfiles does.
func (u *units) own() {
	u.h.t.Helper()
	for _, f := range lines(u.h.t, "samotop-split.conf") {
		path := u.h.dir + strings.TrimPrefix(f[1], varLib)
		if f[0] == "d" {
			u.must(os.MkdirAll(path, 0o700))
		}
		err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			u.one(p, f[2], f[3], f[4])
			if f[0] != "Z" && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		})
		if !os.IsNotExist(err) {
			u.must(err)
		}
	}
}

// one gives a file its owner and its mode: "~" leaves out the bits of which it has none.
func (u *units) one(path, mode, user, group string) {
	u.h.t.Helper()
	u.must(os.Chown(path, int(u.id(user)), int(u.id(group))))
	if mode == "-" {
		return
	}
	bits, masked := strings.CutPrefix(mode, "~")
	n, err := strconv.ParseUint(bits, 8, 32)
	u.must(err)
	if masked {
		info, err := os.Stat(path)
		u.must(err)
		for _, all := range []fs.FileMode{0o444, 0o222, 0o111} {
			if info.Mode()&all == 0 {
				n &^= uint64(all)
			}
		}
	}
	u.must(syscall.Chmod(path, uint32(n)))
}

// listen opens the sockets of all rooms as systemd does, on the ports of this house.
func (u *units) listen() {
	u.h.t.Helper()
	files, err := filepath.Glob("../dist/systemd/samotop-*.socket")
	u.must(err)
	for _, file := range files {
		var streams []string
		set := map[string]string{}
		for _, f := range lines(u.h.t, filepath.Base(file)) {
			key, value, _ := strings.Cut(strings.Join(f, " "), "=")
			if set[key] = value; key == "ListenStream" {
				streams = append(streams, value)
			}
		}
		room := strings.TrimSuffix(strings.TrimPrefix(set["Service"], "samotop@"), ".service")
		for _, s := range streams {
			u.sockets[room] = append(u.sockets[room], u.socket(s, set))
		}
	}
}

func (u *units) socket(stream string, set map[string]string) *os.File {
	u.h.t.Helper()
	if rest, ok := strings.CutPrefix(stream, varLib); ok {
		path := u.h.dir + rest
		l, err := net.Listen("unix", path)
		u.must(err)
		u.one(path, set["SocketMode"], set["SocketUser"], set["SocketGroup"])
		f, err := l.(*net.UnixListener).File()
		u.must(err)
		u.h.t.Cleanup(func() { f.Close(); l.Close() })
		return f
	}
	port, err := strconv.Atoi(strings.TrimPrefix(stream, "127.0.0.1:"))
	u.must(err)
	l, err := net.Listen("tcp", u.h.addr(port))
	u.must(err)
	f, err := l.(*net.TCPListener).File()
	u.must(err)
	u.h.t.Cleanup(func() { f.Close() })
	l.Close()
	return f
}

// as makes a command one of a room's user.
func (u *units) as(room string, c *exec.Cmd) *exec.Cmd {
	u.h.t.Helper()
	name := "samotop-" + room
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.id(name), Gid: u.id(name), Groups: u.groups[name]}}
	return c
}

// start serves a room with what is its own.
func (u *units) start(room string) (process, error) {
	c := u.as(room, exec.Command("/bin/sh", "-c", `umask 0007; export LISTEN_PID=$$; exec "$@"`, "sh", binary, "serve", "--dir", u.h.dir, room))
	c.ExtraFiles = u.sockets[room]
	c.Env = append(os.Environ(), fmt.Sprint("LISTEN_FDS=", len(c.ExtraFiles)))
	return u.h.ready(c)
}

// TestUsers: each room runs as the user, with the groups, files and sockets that dist/systemd gives it. All that the house does goes on;
// nobody's user can read another's files nor the keys that are not for it, nor connect to a door that is not for it.
func TestUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run programs as other users")
	}
	s := &split{house: newHouse(t, "s.test", "alice", "bob"), procs: map[string]process{}}
	for _, name := range []string{"certs/acme/account.key", "links/key.pem", "secret.pem"} {
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := newUnits(s.house)
	u.own()
	u.listen()
	var wg sync.WaitGroup
	for _, room := range rooms {
		wg.Go(func() {
			p, err := u.start(room)
			if err != nil {
				t.Errorf("%s: %v", room, err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.procs[room] = p
		})
	}
	wg.Wait()
	s.process = process{log: &output{}}
	t.Cleanup(func() {
		for r, p := range s.procs {
			if t.Failed() {
				t.Logf("%s:\n%s", r, p.log)
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	s.worksAsUsers()
	u.keptApart()
}

// worksAsUsers walks through each door between two rooms.
func (s *split) worksAsUsers() {
	s.t.Helper()
	if err := s.send("x@x.example", []string{"alice@s.test"}, letter("x@x.example", "alice@s.test", "in", "cheap pills")); err != nil {
		s.t.Fatal(err)
	}
	s.await("alice@s.test", 1)
	if err := s.submit("alice@s.test", []string{"bob@s.test"}, letter("alice@s.test", "bob@s.test", "around", "hello")); err != nil {
		s.t.Fatal(err)
	}
	s.await("bob@s.test", 1)
	newSendmail(s.house).want(0, "queued as", nobodyID, "Subject: by a program\n\nx\n", "-v", "bob@s.test")
	s.await("bob@s.test", 2)
	s.run(password, "account", "add", "carol@s.test", "--password-file", "-")
	s.run("", "domain", "add", "second.test")
	if out := s.run("", "dkim", "list", "second.test"); !strings.Contains(out, "second.test") {
		s.t.Errorf("no keys for a new domain:\n%s", out)
	}
	s.run("", "account", "remove", "carol@s.test")
	s.toJunk("alice@s.test")
	s.until("the filter learns", func() bool {
		return strings.Contains(strings.Join(strings.Fields(s.run("", "junk", "stats", "alice@s.test")), " "), "alice@s.test 0 1 ")
	})
	s.until("the journal knows of all", func() bool {
		out, err := s.try("", "why", "alice@s.test")
		return err == nil && strings.Contains(out, " mta ") && strings.Contains(out, " mailbox ") && strings.Contains(out, " msa ")
	})
	if out := s.run("", "status"); strings.Contains(out, "is away") {
		s.t.Error(out)
	}
}

// keptApart compares what the user of each room can read and connect to with what it is there for.
func (u *units) keptApart() {
	u.h.t.Helper()
	for room, want := range map[string][2]string{ // files, sockets
		"accounts":   {"accounts samotop.d samotop.toml", "control-guard control-mailbox control-qm events evidence"},
		"guard":      {"evidence samotop.d samotop.toml", "events policy rules socketmap"},
		"mailbox":    {"mails samotop.d samotop.toml tls", "accounts events evidence junk rules"},
		"mta":        {"samotop.d samotop.toml tls", "events evidence guard lmtp qm"},
		"msa":        {"samotop.d samotop.toml tls", "accounts events evidence qm rules submit"},
		"qm":         {"dkim queue samotop.d samotop.toml", "events lmtp rules"},
		"management": {"certs journal samotop.d samotop.toml tls", "control-accounts control-guard control-mailbox control-msa control-mta control-qm"},
	} {
		out, err := u.as(room, exec.Command("find", u.h.dir, "-type", "f", "-readable", "-printf", "file %P\n", "-o", "-type", "s", "-writable", "-printf", "socket %f\n")).Output()
		if len(out) == 0 {
			u.h.t.Fatal(room, err) // find tells of directories that it cannot enter by its status
		}
		got := map[string][]string{}
		for line := range strings.Lines(string(out)) {
			kind, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			if name == "run/"+room+".lock" || name == "metrics-"+room+".sock" {
				continue
			}
			if name, _, _ = strings.Cut(strings.TrimSuffix(name, ".sock"), "/"); !slices.Contains(got[kind], name) {
				got[kind] = append(got[kind], name)
			}
		}
		for i, kind := range []string{"file", "socket"} {
			slices.Sort(got[kind])
			if have := strings.Join(got[kind], " "); have != want[i] {
				u.h.t.Errorf("%s: each %s that it can use: %s; want %s", room, kind, have, want[i])
			}
		}
	}
}
