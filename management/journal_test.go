package management_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store/mem"
)

func openJournal(t *testing.T, cfg management.JournalConfig) *management.Journal {
	t.Helper()
	if cfg.Engine == nil {
		cfg.Engine = mem.New(mem.Options{})
		t.Cleanup(func() { cfg.Engine.Close() })
	}
	j, err := management.OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func kinds(t *testing.T, j *management.Journal, what string) string {
	t.Helper()
	steps, err := j.Why(t.Context(), what)
	if err != nil && !errors.Is(err, management.ErrNothing) {
		t.Fatal(err)
	}
	var out []string
	for _, s := range steps {
		out = append(out, s.Room+":"+s.Kind)
	}
	return strings.Join(out, " ")
}

// TestWhy: by whatever one asks, the whole life of the message is told, and nobody else's.
func TestWhy(t *testing.T) {
	j := openJournal(t, management.JournalConfig{})
	begin := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for i, e := range []mail.Event{
		{Trace: "s1", Room: "mta", Kind: "connected", Peer: "192.0.2.1"},
		{Trace: "s1", Room: "mta", Kind: "checked", MessageID: "1@far.test", From: "a@far.test", Facts: []mail.Fact{{Name: "spf", Value: "pass"}}},
		{Trace: "s1", Room: "mta", Kind: "accepted", ID: "m1", MessageID: "1@far.test", From: "a@far.test", To: "Bob@our.test", Code: 250},
		{Trace: "s1", Room: "mailbox", Kind: "stored", ID: "m1.0", MessageID: "1@far.test", From: "a@far.test", To: "bob@our.test"},
		{Trace: "s1", Room: "mta", Kind: "accepted", ID: "m2", MessageID: "2@far.test", From: "a@far.test", To: "carol@our.test"},
		{Trace: "s2", Room: "msa", Kind: "accepted", MessageID: "3@our.test", From: "bob@our.test", To: "x@far.test"},
		{Trace: "s2", Room: "qm", Kind: "queued", ID: "q3", MessageID: "3@our.test", From: "bob@our.test", To: "x@far.test"},
		{Trace: "s2", Room: "qm", Kind: "delivered", ID: "q3", MessageID: "3@our.test", From: "bob@our.test", To: "x@far.test"},
	} {
		e.Time = begin.Add(time.Duration(i) * time.Second)
		j.Record(t.Context(), e)
	}
	first := "mta:connected mta:checked mta:accepted mailbox:stored"
	for what, want := range map[string]string{
		"<1@far.test>": first, "1@FAR.test": first, "m1": first,
		"q3": "msa:accepted qm:queued qm:delivered", "x@far.test": "msa:accepted qm:queued qm:delivered",
		"carol@our.test": "mta:connected mta:accepted",
		"bob@our.test":   first + " msa:accepted qm:queued qm:delivered",
		"nobody":         "", "": "",
	} {
		if got := kinds(t, j, what); got != want {
			t.Errorf("%q: %s, want %s", what, got, want)
		}
	}
	steps, err := j.Why(t.Context(), "m1")
	if err != nil || steps[1].Facts["spf"] != "pass" || steps[2].Code != 250 || !steps[3].Time.Equal(begin.Add(3*time.Second)) {
		t.Errorf("%+v %v", steps, err)
	}
}

// TestForgets: what is old goes, and the oldest when there is too much; another Open goes on where the first ended.
func TestForgets(t *testing.T) {
	eng := mem.New(mem.Options{})
	defer eng.Close()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	cfg := management.JournalConfig{Engine: eng, MaxAge: 48 * time.Hour, MaxOctets: 4000, Clock: func() time.Time { return now }}
	j := openJournal(t, cfg)
	add := func(id string, n int) {
		for range n {
			j.Record(t.Context(), mail.Event{ID: id, Room: "mta", Kind: "x", Text: strings.Repeat("y", 100)})
		}
		if err := j.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add("first", 2)
	now = now.Add(24 * time.Hour)
	add("second", 2)
	if kinds(t, j, "first") != "mta:x mta:x" {
		t.Error("forgotten too early")
	}
	j.Close()
	j = openJournal(t, cfg)
	now = now.Add(36 * time.Hour)
	add("third", 1)
	if kinds(t, j, "first") != "" || kinds(t, j, "second") != "mta:x mta:x" {
		t.Errorf("first %q second %q", kinds(t, j, "first"), kinds(t, j, "second"))
	}
	now = now.Add(6 * time.Hour)
	add("fourth", 30)
	if kinds(t, j, "second") != "" || kinds(t, j, "third") != "" || kinds(t, j, "fourth") == "" {
		t.Error("the oldest is not forgotten where there is too much")
	}
}

// TestFlood: a journal that cannot keep up never makes anybody wait.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := mem.New(mem.Options{})
		defer eng.Close()
		j, err := management.OpenJournal(t.Context(), management.JournalConfig{Engine: eng, MaxQueue: 10})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for i := range 10_000 {
			j.Record(context.Background(), mail.Event{ID: fmt.Sprint(i)})
		}
		if j.Dropped() == 0 {
			t.Error("nothing was dropped")
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	eng := mem.New(mem.Options{})
	defer eng.Close()
	j, err := management.OpenJournal(b.Context(), management.JournalConfig{Engine: eng, MaxQueue: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	e := mail.Event{Trace: "s1", Room: "mta", Kind: "accepted", ID: "m1", MessageID: "1@far.test", From: "a@far.test", To: "bob@our.test", Code: 250, Text: "250 2.0.0 OK"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		j.Record(b.Context(), e)
		if i%5000 == 0 {
			_ = j.Flush(b.Context())
		}
	}
}
