package house

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzManifest: a manifest may come from anywhere; what it names stays within the directory, and one of ours is read.
func FuzzManifest(f *testing.F) {
	for _, s := range []string{
		`{"format":1,"version":"v1","begun":"2026-11-23T00:00:00Z","done":"2026-11-23T00:00:01Z","databases":[{"name":"mails","octets":1}],"files":["samotop.toml","tls/key.pem"]}`,
		`{"databases":[{"name":".."}]}`, `{"databases":[{"name":"."},{"name":""},{"name":"a/b"}]}`, `{"files":["../x","/etc/passwd",""]}`, `{"format":99}`, `[]`, `{`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		root := filepath.Join(t.TempDir(), "house")
		names := m.Files
		for _, d := range m.Databases {
			names = append(names, d.Name)
			if filepath.Dir(filepath.Join(root, d.Name)) != root {
				t.Errorf("database %q is not in the house", d.Name)
			}
		}
		for _, n := range names {
			if at := filepath.Join(root, n); at != root && !strings.HasPrefix(at, root+"/") {
				t.Errorf("%q leads to %s", n, at)
			}
		}
		if again, err := json.Marshal(m); err != nil {
			t.Error(err)
		} else if _, err := parseManifest(again); err != nil {
			t.Errorf("written again it is not read: %v", err)
		}
	})
}
