package activation

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain is also the process that a service manager would start.
func TestMain(m *testing.M) {
	if want := os.Getenv("ACTIVATION_WANT"); want != "" {
		os.Exit(child(strings.Split(want, " ")))
	}
	os.Exit(m.Run())
}

func child(want []string) int {
	held, err := Take(func(k string) string {
		if k == "LISTEN_PID" && os.Getenv(k) == "self" {
			return fmt.Sprint(os.Getpid())
		}
		return os.Getenv(k)
	}, os.Getpid())
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	for _, w := range want {
		network, address, _ := strings.Cut(w, "=")
		l := held.Listener(network, address)
		fmt.Println(l != nil)
		if l != nil {
			c, err := l.Accept()
			if err != nil {
				fmt.Println("error", err)
				return 1
			}
			c.Write([]byte("hello"))
			c.Close()
			l.Close()
		}
	}
	fmt.Println("rest", held.Close() != nil)
	return 0
}

func TestTake(t *testing.T) {
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	other, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var files []*os.File
	for _, l := range []interface{ File() (*os.File, error) }{tcp, unix, other} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_PID=self", "LISTEN_FDS=3", "ACTIVATION_WANT=tcp="+tcp.Addr().String()+" unix="+path+" tcp=127.0.0.1:1 tcp=:25")
	cmd.ExtraFiles = files
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []net.Addr{tcp.Addr(), unix.Addr()} {
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		var b [5]byte
		if _, err := c.Read(b[:]); err != nil || string(b[:]) != "hello" {
			t.Errorf("%s: %q %v", a, b, err)
		}
		c.Close()
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := strings.Fields(out.String()); strings.Join(got, " ") != "true true false false rest true" {
		t.Errorf("the process said %q", got)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the socket file of the service manager is gone:", err)
	}
}

func TestNotForUs(t *testing.T) {
	env := func(k string) string { return map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "3"}[k] }
	held, err := Take(env, 2)
	if err != nil || held.Listener("tcp", ":25") != nil || held.Close() != nil {
		t.Error("sockets of another process were taken:", err)
	}
	for _, bad := range []string{"", "x", "-1", "100000"} {
		if _, err := Take(func(k string) string { return map[string]string{"LISTEN_PID": "2", "LISTEN_FDS": bad}[k] }, 2); err == nil {
			t.Errorf("LISTEN_FDS=%s is taken", bad)
		}
	}
}

func TestSame(t *testing.T) {
	for _, x := range []struct {
		addr          net.Addr
		network, want string
		is            bool
	}{
		{&net.TCPAddr{IP: net.IPv6unspecified, Port: 25}, "tcp", ":25", true},
		{&net.TCPAddr{IP: net.IPv4zero, Port: 25}, "tcp", ":25", true},
		{&net.TCPAddr{IP: net.IPv4zero, Port: 25}, "tcp", "0.0.0.0:25", true},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}, "tcp", ":25", false},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}, "tcp", "127.0.0.1:26", false},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}, "tcp", "[2001:db8::1]:25", true},
		{&net.UnixAddr{Name: "/run/a/../b", Net: "unix"}, "unix", "/run/b", true},
		{&net.UnixAddr{Name: "/run/b", Net: "unix"}, "tcp", "/run/b", false},
	} {
		if got := same(x.addr, x.network, x.want); got != x.is {
			t.Errorf("%s and %s %s: %v", x.addr, x.network, x.want, got)
		}
	}
}
