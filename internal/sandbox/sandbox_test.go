package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SANDBOX_DIR"); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child restricts itself, tries what it should and should not be able to do, and says what it could.
func child(dir string) int {
	err := Restrict(Files{Read: []string{filepath.Join(dir, "read"), "/nowhere"}, Write: []string{filepath.Join(dir, "write")}})
	if errors.Is(err, ErrUnsupported) {
		fmt.Println("unsupported")
		return 0
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	can := func(what string, err error) {
		if err == nil {
			fmt.Print(what, " ")
		}
	}
	_, err = os.ReadFile(filepath.Join(dir, "read/f"))
	can("read", err)
	can("write-to-read", os.WriteFile(filepath.Join(dir, "read/f"), nil, 0o600))
	_, err = os.ReadFile(filepath.Join(dir, "write/f"))
	can("read-written", err)
	can("write", os.WriteFile(filepath.Join(dir, "write/g"), nil, 0o600))
	can("mkdir", os.Mkdir(filepath.Join(dir, "write/d"), 0o700))
	can("rename", os.Rename(filepath.Join(dir, "write/g"), filepath.Join(dir, "write/d/g")))
	can("remove", os.RemoveAll(filepath.Join(dir, "write/d")))
	_, err = os.ReadFile(filepath.Join(dir, "other/f"))
	can("read-other", err)
	can("write-other", os.WriteFile(filepath.Join(dir, "other/g"), nil, 0o600))
	can("remove-other", os.Remove(filepath.Join(dir, "other/f")))
	return 0
}

func TestRestrict(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"read", "write", "other"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d, "f"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SANDBOX_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.TrimSpace(string(out))
	if got == "unsupported" {
		t.Skip("the kernel does not have Landlock")
	}
	if want := "read read-written write mkdir rename remove"; got != want {
		t.Errorf("it could %s; want %s", got, want)
	}
}
