package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/samotop/samotop/internal/config"
)

var update = flag.Bool("update", false, "write the golden results anew")

// TestGolden reads each house of testdata and compares what comes out: the configuration, or what is wrong.
func TestGolden(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.txtar")
	if len(names) < 10 {
		t.Fatalf("only %d cases", len(names))
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			want := ""
			for _, f := range ar.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				write(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			got := outcome(t, dir)
			if *update {
				files := ar.Files[:0]
				for _, f := range ar.Files {
					if f.Name != "want" {
						files = append(files, f)
					}
				}
				ar.Files = append(files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func outcome(t *testing.T, dir string) string {
	c, err := config.Load(dir)
	if err != nil {
		return strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
	}
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), dir, "DIR") + "\n"
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNoHouse(t *testing.T) {
	_, err := config.Load(t.TempDir())
	if !errors.Is(err, config.ErrNone) || !strings.Contains(err.Error(), "samotop quickstart") {
		t.Fatal(err)
	}
}

func TestTooLong(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "samotop.toml"), strings.Repeat("#", config.MaxFileOctets+1))
	if _, err := config.Load(dir); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Fatal(err)
	}
}

// FuzzLoad: no text crashes the reader, and every fault names its file.
func FuzzLoad(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range ar.Files {
			if strings.HasSuffix(x.Name, ".toml") {
				f.Add(string(x.Data))
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		write(t, filepath.Join(dir, "samotop.toml"), text)
		_, err := config.Load(dir)
		var faults config.Faults
		if errors.As(err, &faults) {
			for _, x := range faults {
				if x.File == "" || x.What == "" {
					t.Errorf("fault without file or text: %+v", x)
				}
			}
		}
	})
}
