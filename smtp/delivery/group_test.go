package delivery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
)

// TestGroup: what comes while a group is at work is the next group, up to its limit.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		var sizes []int
		run := func(some []*appending) {
			sizes = append(sizes, len(some))
			time.Sleep(time.Second)
			some[0].err = errors.New("the first of each fails")
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		failures := 0
		one := func() {
			if g.do(&appending{}, run) != nil {
				mu.Lock()
				failures++
				mu.Unlock()
			}
		}
		wg.Go(one)
		synctest.Wait()
		for range maxGroup + 10 {
			wg.Go(one)
		}
		wg.Wait()
		wg.Go(one) // after it was idle
		wg.Wait()
		if fmt.Sprint(sizes) != fmt.Sprint([]int{1, maxGroup, 10, 1}) || failures != 4 {
			t.Errorf("groups of %v, %d failures", sizes, failures)
		}
	})
}

// TestGroupLeavesOut: in a group the message that cannot be read is left out, and the others are whole.
func TestGroupLeavesOut(t *testing.T) {
	dir := t.TempDir()
	j, m := &Journal{Dir: filepath.Join(dir, "j"), MaxOctets: 25}, &Mbox{Path: filepath.Join(dir, "m")}
	defer j.Close()
	to := []mail.Recipient{{Address: mail.Address{Local: "a", Domain: "b.test"}}}
	some := func() []*appending {
		var as []*appending
		for i := range 5 {
			a := &appending{to: to, content: strings.NewReader(fmt.Sprintf("message %d\r\n", i))}
			if i == 2 {
				a.content = iotest.TimeoutReader(iotest.OneByteReader(a.content))
			}
			as = append(as, a)
		}
		return as
	}
	for name, run := range map[string]func([]*appending){"journal": j.append, "mbox": m.append} {
		as := some()
		run(as)
		for i, a := range as {
			if (a.err != nil) != (i == 2) {
				t.Errorf("%s: message %d: %v", name, i, a.err)
			}
		}
	}
	n := 0
	for e, err := range Entries(j.Dir) {
		if err != nil || e.Size != 11 {
			t.Errorf("%+v, %v", e, err)
		}
		n++
	}
	if ns, err := pairs(j.Dir); n != 4 || len(ns) != 2 || err != nil {
		t.Errorf("%d entries in %d pairs, %v", n, len(ns), err)
	}
	b, err := os.ReadFile(m.Path)
	if err != nil || strings.Count(string(b), "\nmessage ") != 4 || strings.Contains(string(b), "message 2") || strings.Count(string(b), "From MAILER-DAEMON ") != 4 {
		t.Errorf("%q, %v", b, err)
	}
}
