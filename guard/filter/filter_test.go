package filter_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
	"github.com/samotop/samotop/store/mem"
	"pgregory.net/rapid"
)

var (
	alice = mail.Address{Local: "alice", Domain: "example.org"}
	bob   = mail.Address{Local: "bob", Domain: "example.org"}
	ids   = map[mail.Address]uint64{alice: 1, bob: 2}
)

func open(t testing.TB, c filter.Config) *filter.Filter {
	t.Helper()
	if c.Engine == nil {
		c.Engine = mem.New(mem.Options{})
		t.Cleanup(func() { c.Engine.Close() })
	}
	c.Owner = func(_ context.Context, a mail.Address) (uint64, error) { return ids[a], nil }
	f, err := filter.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func letter(words string) string {
	return "From: a@example.com\r\nTo: b@example.org\r\nSubject: x\r\n\r\n" + words + "\r\n"
}

func learn(t testing.TB, f *filter.Filter, owner uint64, id string, k filter.Kind, words string) bool {
	t.Helper()
	changed, err := f.Learn(t.Context(), owner, id, k, strings.NewReader(letter(words)))
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func opinion(t testing.TB, f *filter.Filter, to mail.Address, words string) guard.Opinion {
	t.Helper()
	r, err := f.Read(t.Context(), &guard.Message{To: []mail.Address{to}})
	if err != nil {
		t.Fatal(err)
	}
	if r == nil { // nothing is known
		return guard.Opinion{}
	}
	defer r.Close()
	fmt.Fprint(r, letter(words))
	o, err := r.Opinion(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const (
	good = "the minutes of our meeting about the garden fence"
	bad  = "cheap pills without prescription order now"
)

func TestLearning(t *testing.T) {
	f := open(t, filter.Config{})
	for i := range 19 {
		learn(t, f, 1, fmt.Sprint("h", i), filter.Ham, good)
		learn(t, f, 1, fmt.Sprint("s", i), filter.Spam, bad)
	}
	if o := opinion(t, f, alice, bad); o.Score != 0 || o.Reasons != nil {
		t.Errorf("judged by 19 messages of each kind: %v", o)
	}
	learn(t, f, 1, "h19", filter.Ham, good)
	learn(t, f, 1, "s19", filter.Spam, bad)
	if o := opinion(t, f, alice, bad); o.Score != filter.DefaultWeight || len(o.Reasons) != 1 || !strings.Contains(o.Reasons[0], "'pills") {
		t.Errorf("unwanted: %+v", o)
	}
	if o := opinion(t, f, alice, good); o.Score >= 0 {
		t.Errorf("wanted: %+v", o)
	}
	if o := opinion(t, f, bob, bad); o.Score != filter.DefaultWeight {
		t.Errorf("who has learned nothing has the shared table: %+v", o)
	}
	// Bob, who sells pills, sees it otherwise, and Alice is not touched by it.
	for i := range 30 {
		learn(t, f, 2, fmt.Sprint("b", i), filter.Ham, bad)
		learn(t, f, 2, fmt.Sprint("c", i), filter.Spam, "quite another thing")
	}
	if o := opinion(t, f, bob, bad); o.Score > 0 {
		t.Errorf("his own table outweighs the shared one: %+v", o)
	}
	if o := opinion(t, f, alice, bad); o.Score != filter.DefaultWeight {
		t.Errorf("hers does too: %+v", o)
	}
}

// rows are all rows but the key.
func rows(t testing.TB, e store.Engine) map[string]string {
	out := map[string]string{}
	err := e.View(t.Context(), func(r store.Reader) error {
		for kv, err := range r.Scan(t.Context(), []byte("j"), []byte("k"), false) {
			if err != nil {
				return err
			}
			if kv.Key[1] != 'c' {
				out[string(kv.Key)] = string(kv.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is learned twice counts once; what is moved back is unlearned, and leaves nothing but sums.
func TestUnlearning(t *testing.T) {
	e := mem.New(mem.Options{})
	defer e.Close()
	f := open(t, filter.Config{Engine: e})
	if !learn(t, f, 1, "m", filter.Spam, bad) || learn(t, f, 1, "m", filter.Spam, bad) {
		t.Error("the same message twice is one lesson")
	}
	learn(t, f, 1, "m", filter.Ham, bad)
	s, err := f.Stats(t.Context(), 1)
	if err != nil || s.Ham != 1 || s.Spam != 0 || s.GivenHam != 1 || s.GivenSpam != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	learn(t, f, 1, "m", filter.Unknown, bad)
	if left := rows(t, e); len(left) != 2 {
		t.Errorf("%d rows are left: %q", len(left), left)
	}
	if s, _ := f.Stats(t.Context(), filter.Shared); s.Ham+s.Spam+s.Words != 0 {
		t.Errorf("shared: %+v", s)
	}
}

func TestShareIsBounded(t *testing.T) {
	f := open(t, filter.Config{MaxGiven: 3})
	for i := range 10 {
		learn(t, f, 1, fmt.Sprint(i), filter.Spam, bad)
	}
	if s, _ := f.Stats(t.Context(), filter.Shared); s.Spam != 3 {
		t.Errorf("%+v", s)
	}
	if err := f.Forget(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	own, _ := f.Stats(t.Context(), 1)
	if shared, _ := f.Stats(t.Context(), filter.Shared); own.Words != 0 || own.Spam != 0 || shared.Spam != 3 {
		t.Errorf("after forgetting: %+v, shared %+v", own, shared)
	}
	if owners, err := f.Owners(t.Context()); err != nil || !slices.Equal(owners, []uint64{0}) {
		t.Errorf("%v %v", owners, err)
	}
}

func TestOldWordsGo(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := mem.New(mem.Options{})
	defer e.Close()
	f := open(t, filter.Config{Engine: e, Clock: func() time.Time { return now }, MaxWords: 400, MaxLearned: 30})
	learn(t, f, 1, "old", filter.Ham, "antique furniture")
	now = now.AddDate(1, 0, 1)
	learn(t, f, 1, "new", filter.Ham, "modern chairs")
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if learn(t, f, 1, "old", filter.Unknown, "antique furniture") {
		t.Error("the old lesson is still remembered")
	}
	for i := range 200 {
		learn(t, f, 1, fmt.Sprint(i), filter.Spam, fmt.Sprintf("alpha%d beta%d gamma%d", i, i, i))
		s, _ := f.Stats(t.Context(), 1)
		n := 0
		for k := range rows(t, e) {
			if k[1] == 'w' && k[9] == 1 {
				n++
			}
		}
		if s.Words != uint32(n) || n > 400 {
			t.Fatalf("%d words are there, %d are counted, of at most 400", n, s.Words)
		}
	}
	now = now.AddDate(3, 0, 0)
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if owners, _ := f.Owners(t.Context()); slices.Contains(owners, 1) {
		t.Error("an account without lessons for three years is remembered")
	}
}

// What is in memory never differs from what is on the disk: a filter with a memory and one that has just been opened have the
// same opinion, whatever was learned and asked before, in however small a memory.
func TestMemory(t *testing.T) {
	vocabulary := strings.Fields("one two three four five six seven eight nine ten eleven twelve")
	rapid.Check(t, func(rt *rapid.T) {
		e := mem.New(mem.Options{})
		defer e.Close()
		f := open(t, filter.Config{Engine: e, CacheWords: 1 << rapid.IntRange(1, 8).Draw(rt, "cache")})
		words := rapid.SliceOfN(rapid.SampledFrom(vocabulary), 1, 6)
		for range rapid.IntRange(1, 15).Draw(rt, "lessons") {
			var ls []filter.Lesson
			for range rapid.IntRange(1, 8).Draw(rt, "at once") {
				id := rapid.IntRange(0, 40).Draw(rt, "id")
				text := vocabulary[id%12] + " " + vocabulary[id%7] + " " + vocabulary[id%5]
				ls = append(ls, filter.Lesson{ID: fmt.Sprint(id), Kind: filter.Kind(rapid.IntRange(0, 2).Draw(rt, "kind")), Content: strings.NewReader(letter(text))})
			}
			if _, err := f.LearnAll(t.Context(), rapid.Uint64Range(0, 2).Draw(rt, "owner"), ls); err != nil {
				rt.Fatal(err)
			}
			text := strings.Join(words.Draw(rt, "words"), " ")
			fresh := open(t, filter.Config{Engine: e})
			for _, to := range []mail.Address{alice, bob} {
				if got, want := opinion(t, f, to, text), opinion(t, fresh, to, text); got.Score != want.Score || !slices.Equal(got.Reasons, want.Reasons) {
					rt.Fatalf("%s: %v with what was in memory, %v without", text, got, want)
				}
			}
		}
	})
}

func TestAtTheSameTime(t *testing.T) {
	f := open(t, filter.Config{CacheWords: 64})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20 {
				if g%2 == 0 {
					learn(t, f, uint64(g), fmt.Sprint(i), filter.Kind(1+i%2), fmt.Sprint(good, bad, i))
				} else {
					opinion(t, f, alice, good)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpinion(b *testing.B) {
	e, err := log.Open(b.Context(), log.Small(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	r := rand.New(rand.NewPCG(1, 1))
	text := func() string {
		var w strings.Builder
		for range 200 {
			fmt.Fprintf(&w, "word%d ", int(r.ExpFloat64()*2000))
		}
		return w.String()
	}
	for name, c := range map[string]filter.Config{"in memory": {}, "from disk": {CacheWords: 2}} {
		c.Engine = e
		f := open(b, c)
		for i := range 8 {
			var ls []filter.Lesson
			for j := range 64 {
				ls = append(ls, filter.Lesson{ID: fmt.Sprint(i, j), Kind: filter.Kind(1 + j%2), Content: strings.NewReader(letter(text()))})
			}
			if _, err := f.LearnAll(b.Context(), 1, ls); err != nil {
				b.Fatal(err)
			}
		}
		words := text()
		opinion(b, f, alice, words)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				opinion(b, f, alice, words)
			}
		})
	}
}
