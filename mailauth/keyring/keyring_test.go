package keyring_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mailauth/keyring"
)

func states(t *testing.T, r *keyring.Ring, domain string) string {
	t.Helper()
	keys, err := r.List(domain)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, k := range keys {
		out = append(out, k.Selector+":"+string(k.State))
	}
	return strings.Join(out, " ")
}

func TestRotation(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := &keyring.Ring{Dir: filepath.Join(t.TempDir(), "dkim"), Clock: func() time.Time { return now }}
	keys, err := r.Make("Example.test")
	if err != nil || len(keys) != 2 || keys[0].Algorithm != "rsa-sha256" || keys[1].Algorithm != "ed25519-sha256" {
		t.Fatalf("%+v, %v", keys, err)
	}
	if again, err := r.Make("example.test"); err != nil || again[0].Record != keys[0].Record {
		t.Errorf("made anew: %v", err)
	}
	if keys[0].Name != "r20261122._domainkey.example.test" || !strings.HasPrefix(keys[0].Record, "v=DKIM1; k=rsa; p=") {
		t.Errorf("%s %s", keys[0].Name, keys[0].Record)
	}
	signers := func() string {
		got, err := r.Signers("sub.example.test")
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range got {
			out = append(out, s.Selector+"@"+s.Domain)
		}
		return strings.Join(out, " ")
	}
	if got := signers(); got != "r20261122@example.test e20261122@example.test" {
		t.Errorf("signs with %s", got)
	}
	ctx := context.Background()
	missing := errors.New("no such name")
	o := keyring.RotateOptions{Live: func(context.Context, keyring.Key) error { return missing }}
	if done, err := r.Rotate(ctx, "example.test", o); err != nil || len(done.Made) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	want := "r20261122:active e20261122:active r20261122a:next e20261122a:next"
	if got := states(t, r, ""); got != want {
		t.Errorf("%s", got)
	}
	var not *keyring.NotLiveError
	if _, err := r.Rotate(ctx, "example.test", o); !errors.As(err, &not) || len(not.Keys) != 2 || states(t, r, "") != want {
		t.Errorf("%v", err)
	}
	missing = nil
	if done, err := r.Rotate(ctx, "example.test", o); err != nil || len(done.Active) != 2 || len(done.Old) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	now = now.Add(keyring.CheckTime)
	if got := signers(); got != "r20261122a@example.test e20261122a@example.test" {
		t.Errorf("signs with %s", got)
	}
	now = now.Add(keyring.DefaultOverlap)
	if done, err := r.Rotate(ctx, "example.test", o); err != nil || len(done.Removed) != 2 || len(done.Made) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := states(t, r, "example.test"); got != "r20261122a:active e20261122a:active r20261206:next e20261206:next" {
		t.Error(got)
	}
}

// TestOthers: another process's change is seen, and keys are for their owner only.
func TestOthers(t *testing.T) {
	now := time.Now()
	dir := filepath.Join(t.TempDir(), "dkim")
	r := &keyring.Ring{Dir: dir, Clock: func() time.Time { return now }}
	if s, err := r.Signers("a.test"); err != nil || len(s) != 0 {
		t.Fatal(s, err)
	}
	if _, err := (&keyring.Ring{Dir: dir}).Make("a.test"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(keyring.CheckTime)
	if s, err := r.Signers("a.test"); err != nil || len(s) != 2 {
		t.Fatal(s, err)
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", p, fi.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.test", "x.pem"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(keyring.CheckTime)
	if _, err := r.Signers("a.test"); err == nil {
		t.Error("a key that cannot be read is left out")
	}
	for _, bad := range []string{"", "../x", "a/b", "[192.0.2.1]"} {
		if _, err := r.Make(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if s, err := r.Signers(bad); err != nil || s != nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
