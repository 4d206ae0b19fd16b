package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/internal/config"
)

// TestDocumentedRules: the example in docs/authentication.md is a configuration, with all its rules.
func TestDocumentedRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/authentication.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```toml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "samotop.toml"), []byte("hostname = \"mx.example.org\"\n"+example), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.MTA.Checks.Rules) != 5 || len(c.MTA.Sealers) != 1 {
		t.Errorf("%+v", c.MTA)
	}
}
