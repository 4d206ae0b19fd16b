package samotop_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/samotop/samotop"

// ring gives each top folder its height; a package imports only rings below its own, and a library also other
// libraries.
var ring = map[string]int{
	"mail":   0,
	"accept": 1, "message": 1, "smtp": 1, "imap": 1, "sasl": 1, "resolver": 1, "mailauth": 1, "mailtls": 1, "pop3": 1, "junk": 1,
	"store":    2,
	"accounts": 3, "guard": 3, "mailbox": 3, "mta": 3, "msa": 3, "qm": 3, "management": 3,
	"internal": 4, ".": 4, "cmd": 5, "test": 5, "bench": 5,
}

// foreign lists what each folder may import beyond the standard library, golang.org/x and our own packages.
// Folders of ring 4 and above may use anything.
var foreign = map[string][]string{
	"resolver":  {"github.com/miekg/dns"},
	"store/log": {"github.com/cockroachdb/pebble/v2"},
}

func TestImportLaw(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(p))
		for _, imp := range f.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if why := lawful(dir, name); why != "" {
				t.Errorf("%s imports %s: %s", p, name, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Fatalf("only %d files were read: the test does not stand at the root", files)
	}
}

func TestImportLawCanFail(t *testing.T) {
	for _, c := range [][2]string{
		{"mta", module + "/mailbox"},
		{"mail", module + "/smtp"},
		{"smtp", module + "/store"},
		{"smtp", "github.com/miekg/dns"},
		{"qm", "github.com/cockroachdb/pebble/v2"},
		{"mail", "golang.org/x/text/unicode/norm"},
		{"store/mem", "github.com/cockroachdb/pebble/v2"},
	} {
		if lawful(c[0], c[1]) == "" {
			t.Errorf("%s may import %s, and must not", c[0], c[1])
		}
	}
}

// lawful returns why dir must not import name, or "".
func lawful(dir, name string) string {
	top := strings.SplitN(dir, "/", 2)[0]
	from, ok := ring[top]
	if !ok {
		return "the folder " + top + " has no ring"
	}
	if name == module || strings.HasPrefix(name, module+"/") {
		to := strings.TrimPrefix(strings.TrimPrefix(name, module), "/")
		if to == "" {
			to = "."
		}
		toTop := strings.SplitN(to, "/", 2)[0]
		at, ok := ring[toTop]
		switch {
		case !ok:
			return "the folder " + toTop + " has no ring"
		case toTop == top, at < from, from == 1 && at == 1, from >= 4 && at <= from:
			return ""
		case from == 3 && at == 3:
			return "a room must not import another room"
		}
		return "it is not in a lower ring"
	}
	first := strings.SplitN(name, "/", 2)[0]
	if !strings.Contains(first, ".") || from >= 4 {
		return ""
	}
	if first == "golang.org" && strings.HasPrefix(name, "golang.org/x/") && from > 0 {
		return ""
	}
	for _, f := range foreign[dir] {
		if name == f || strings.HasPrefix(name, f+"/") {
			return ""
		}
	}
	return "not allowed in this ring"
}
