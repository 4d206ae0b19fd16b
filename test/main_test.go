package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program under test. The package has no other state.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "samotop-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "samotop")
		if out, err := exec.Command("go", "build", "-o", binary, "github.com/samotop/samotop/cmd/samotop").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build samotop: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}
