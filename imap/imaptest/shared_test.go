package imaptest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedScripts lists the imaptest scripts, or skips the test.
func sharedScripts(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	dir = filepath.Join(dir, "vectors", "imaptest")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("imaptest scripts are missing, set SAMOTOP_SHARED: %v", err)
	}
	var out []string
	for _, e := range entries {
		if n := e.Name(); !strings.HasSuffix(n, ".mbox") && !strings.HasSuffix(n, ".md") {
			out = append(out, filepath.Join(dir, n))
		}
	}
	return out
}
