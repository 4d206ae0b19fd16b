package house_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
)

// TestMain is also a room's process that tries, once it serves, what it can open.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CONFINED_DIR"); dir != "" {
		if err := confined(dir, os.Getenv("CONFINED_ROOM")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// confined serves one room and prints the directories of the house in which it can open a file.
func confined(dir, room string) error {
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	rooms, err := house.ParseRooms([]string{room})
	if err != nil {
		return err
	}
	var files []string // as they are before anything is taken away
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h, err := house.Open(ctx, house.Options{Config: conf, Rooms: rooms, Linked: true, Hash: cheap,
		Listen: func(ctx context.Context, network, _ string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, network, "127.0.0.1:0")
		}})
	if err != nil {
		return err
	}
	err = h.Serve(ctx, func() {
		var can []string
		for _, f := range files {
			rel, _ := filepath.Rel(dir, f) // it is below
			top, _, _ := strings.Cut(rel, "/")
			if file, err := os.Open(f); err == nil {
				file.Close()
				if !slices.Contains(can, top) {
					can = append(can, top)
				}
			}
		}
		slices.Sort(can)
		fmt.Println("can open", strings.Join(can, " "))
		cancel()
	})
	if err != nil {
		return err
	}
	return h.Close()
}

// TestConfined: a room's process can open its own database and what it is there for, and nothing else, even as root. Nobody but the
// msa can open what users have dropped, and nobody the keys that no room was told to use: of an authority, or of links between machines.
func TestConfined(t *testing.T) {
	c := made(t, house.CreateOptions{})
	h, err := house.Open(t.Context(), house.Options{Config: c.Config, Hash: cheap}) // makes the databases
	if err == nil {
		err = h.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"certs/acme/account.key", "links/key.pem", "spool/dropped.eml", "dkim/example.test/old.key", "secret.pem"} {
		file := filepath.Join(c.Config.Dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for room, want := range map[string]string{
		"accounts":   "accounts run samotop.toml",
		"guard":      "evidence run samotop.toml",
		"mailbox":    "mails run samotop.toml tls",
		"mta":        "run samotop.toml tls",
		"msa":        "run samotop.toml spool tls",
		"qm":         "dkim queue run samotop.toml",
		"management": "journal run samotop.toml",
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CONFINED_DIR="+c.Config.Dir, "CONFINED_ROOM="+room)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", room, err, out)
			continue
		}
		if got := strings.TrimSpace(strings.TrimPrefix(string(out), "can open")); got != want {
			t.Errorf("%s can open %s; want %s", room, got, want)
		}
	}
}
