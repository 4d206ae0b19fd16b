package management_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/management"
)

// rooms is a house of maps.
type rooms struct {
	domains map[string]management.Domain
	people  map[string]management.Account
	pass    map[string]string
	queue   []management.Entry
	acts    []string
}

func notFound(thing string) error {
	return &management.Error{Kind: management.NotFound, Thing: thing, Cause: "there is none"}
}

func (r *rooms) AddDomain(_ context.Context, name string) (management.Domain, error) {
	if _, ok := r.domains[name]; ok {
		return management.Domain{}, &management.Error{Kind: management.Exists, Thing: "domain " + name, Cause: "is there already"}
	}
	r.domains[name] = management.Domain{Name: name}
	return r.domains[name], nil
}

func (r *rooms) Domain(_ context.Context, name string) (management.Domain, error) {
	d, ok := r.domains[name]
	if !ok {
		return d, notFound("domain " + name)
	}
	return d, nil
}

func (r *rooms) Domains(context.Context) iter.Seq2[management.Domain, error] {
	return func(yield func(management.Domain, error) bool) {
		for _, d := range r.domains {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (r *rooms) RemoveDomain(_ context.Context, name string) error {
	delete(r.domains, name)
	return nil
}

func (r *rooms) AddAccount(_ context.Context, a management.AccountArgs) (management.Account, error) {
	r.people[a.Address] = management.Account{Address: a.Address, Admin: a.Admin, Quota: a.Quota}
	r.pass[a.Address] = a.Password
	return r.people[a.Address], nil
}

func (r *rooms) Account(_ context.Context, address string) (management.Account, error) {
	a, ok := r.people[address]
	if !ok {
		return a, notFound("account " + address)
	}
	return a, nil
}

func (r *rooms) Accounts(_ context.Context, domain string) iter.Seq2[management.Account, error] {
	return func(yield func(management.Account, error) bool) {
		for _, a := range r.people {
			if strings.HasSuffix(a.Address, domain) && !yield(a, nil) {
				return
			}
		}
		if domain == "broken" {
			yield(management.Account{}, errors.New("the disk"))
		}
	}
}

func (r *rooms) SetAccount(_ context.Context, a management.SetArgs) (management.Account, error) {
	if a.Password != nil {
		r.pass[a.Address] = *a.Password
	}
	return r.people[a.Address], nil
}

func (r *rooms) RemoveAccount(_ context.Context, address string) (management.Account, error) {
	a := r.people[address]
	delete(r.people, address)
	return a, nil
}

func (r *rooms) Entries(_ context.Context, f management.Filter) iter.Seq2[management.Entry, error] {
	return func(yield func(management.Entry, error) bool) {
		for _, e := range r.queue {
			if (f.Sender == "" || f.Sender == e.Sender) && !yield(e, nil) {
				return
			}
		}
	}
}

func (r *rooms) Entry(_ context.Context, id string) (management.Entry, error) {
	for _, e := range r.queue {
		if e.ID == id {
			return e, nil
		}
	}
	return management.Entry{}, notFound("message " + id)
}

func (r *rooms) Do(_ context.Context, act management.Action, id string) error {
	r.acts = append(r.acts, string(act)+" "+id)
	if id == "gone" {
		return notFound("message " + id)
	}
	return nil
}

func (r *rooms) QueueStats(context.Context, management.Filter) (management.QueueStats, error) {
	return management.QueueStats{Messages: len(r.queue)}, nil
}

func (r *rooms) Status(context.Context) (management.Status, error) {
	return management.Status{Hostname: "mx.example.org"}, nil
}
func (r *rooms) Stores(context.Context) ([]management.Store, error) {
	return []management.Store{{Name: "accounts"}}, nil
}
func (r *rooms) CheckRecords(ctx context.Context, a management.CheckArgs) ([]management.Record, error) {
	return r.Records(ctx, a.Name)
}

func (r *rooms) Records(context.Context, string) ([]management.Record, error) { return nil, nil }
func (r *rooms) Verify(_ context.Context, found func(management.Fault) error, progress func(string, int64, int64) error) error {
	if err := progress("mails", 1, 2); err != nil {
		return err
	}
	return found(management.Fault{Store: "mails", What: "a hole"})
}

// transports gives a client over each way to the handler.
func transports(t *testing.T, run func(t *testing.T, r *rooms, c management.Client)) {
	build := func() (*rooms, *management.Handler) {
		r := &rooms{domains: map[string]management.Domain{}, people: map[string]management.Account{}, pass: map[string]string{}}
		return r, management.New(management.Config{Domains: r, People: r, Queue: r, House: r, MaxRequestOctets: 1 << 16,
			MakePassword: func() (string, error) { return "made-up", nil }})
	}
	t.Run("direct", func(t *testing.T) {
		r, h := build()
		run(t, r, management.Client{HTTP: management.Direct(h)})
	})
	t.Run("socket", func(t *testing.T) {
		r, h := build()
		sock := filepath.Join(t.TempDir(), "c.sock")
		l, err := net.Listen("unix", sock)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: h}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
		run(t, r, management.Client{HTTP: management.Over(func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", sock)
		})})
	})
}

func kind(err error) management.Kind {
	var e *management.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestVerbs(t *testing.T) {
	transports(t, func(t *testing.T, r *rooms, c management.Client) {
		ctx := t.Context()
		var d management.Domain
		if err := c.Call(ctx, "domain/add", management.NameArgs{Name: "example.org"}, &d); err != nil || d.Name != "example.org" {
			t.Fatal(d, err)
		}
		if err := c.Call(ctx, "domain/add", management.NameArgs{Name: "example.org"}, nil); kind(err) != management.Exists {
			t.Error(err)
		}
		var p management.NewPassword
		if err := c.Call(ctx, "account/add", management.AccountArgs{Address: "a@example.org", Admin: true}, &p); err != nil || p.Password != "made-up" || !p.Admin {
			t.Error(p, err)
		}
		var q management.NewPassword
		if err := c.Call(ctx, "account/add", management.AccountArgs{Address: "b@example.org", Password: "given"}, &q); err != nil || q.Password != "" || r.pass["b@example.org"] != "given" {
			t.Error(q, err)
		}
		if err := c.Call(ctx, "domain/show", management.NameArgs{Name: "example.org"}, &d); err != nil || d.Accounts != 2 {
			t.Error(d, err)
		}
		if err := c.Call(ctx, "account/password", management.SetArgs{Address: "b@example.org"}, &q); err != nil || q.Password != "made-up" {
			t.Error(q, err)
		}
		var names []string
		_, err := c.Each(ctx, "account/list", nil, func(raw json.RawMessage) error {
			var a management.Account
			err := json.Unmarshal(raw, &a)
			names = append(names, a.Address)
			return err
		})
		if slices.Sort(names); err != nil || !slices.Equal(names, []string{"a@example.org", "b@example.org"}) {
			t.Error(names, err)
		}
		if _, err := c.Each(ctx, "account/list", management.NameArgs{Name: "broken"}, nil); kind(err) != management.Internal {
			t.Error(err)
		}
		if err := c.Call(ctx, "account/show", management.NameArgs{Name: "x@example.org"}, nil); kind(err) != management.NotFound {
			t.Error(err)
		}
		if err := c.Call(ctx, "alias/list", nil, nil); kind(err) != management.WrongUse {
			t.Error(err)
		}
		if err := c.Call(ctx, "domain/add", map[string]any{"nom": 1}, nil); kind(err) != management.WrongUse {
			t.Error(err)
		}
		if err := c.Call(ctx, "domain/add", management.NameArgs{Name: strings.Repeat("x", 1<<16)}, nil); kind(err) != management.WrongUse {
			t.Error(err)
		}
	})
}

func TestQueueVerbs(t *testing.T) {
	transports(t, func(t *testing.T, r *rooms, c management.Client) {
		ctx := t.Context()
		for i := range 100 {
			r.queue = append(r.queue, management.Entry{ID: fmt.Sprint("q", i), Sender: "a@example.org"})
		}
		r.queue = append(r.queue, management.Entry{ID: "gone", Sender: "b@example.org"})
		if err := c.Call(ctx, "queue/remove", management.ActArgs{}, nil); kind(err) != management.WrongUse {
			t.Error(err)
		}
		var done management.Acted
		if err := c.Call(ctx, "queue/hold", management.ActArgs{Filter: management.Filter{All: true}}, &done); err != nil || done.Changed != 100 || done.Gone != 1 {
			t.Error(done, err)
		}
		if err := c.Call(ctx, "queue/hold", management.ActArgs{Filter: management.Filter{IDs: []string{"gone"}}}, &done); kind(err) != management.NotFound {
			t.Error(err)
		}
		r.acts = nil
		if err := c.Call(ctx, "queue/remove", management.ActArgs{Filter: management.Filter{IDs: []string{"q1"}}, Bounce: true}, &done); err != nil || r.acts[0] != "bounce q1" {
			t.Error(r.acts, err)
		}
		// a list may be left in the middle
		stop := errors.New("enough")
		if _, err := c.Each(ctx, "queue/list", nil, func(json.RawMessage) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}

func TestVerify(t *testing.T) {
	transports(t, func(t *testing.T, r *rooms, c management.Client) {
		var seen []management.Progress
		c.Progress = func(p management.Progress) { seen = append(seen, p) }
		var faults []string
		ok, err := c.Each(t.Context(), "store/verify", nil, func(raw json.RawMessage) error {
			faults = append(faults, string(raw))
			return nil
		})
		if err != nil || len(faults) != 1 || len(seen) != 1 || seen[0] != (management.Progress{What: "mails", Done: 1, Total: 2}) || string(ok) != `{"faults":1}` {
			t.Error(seen, faults, string(ok), err)
		}
	})
}

func TestBrokenAnswer(t *testing.T) {
	for name, answer := range map[string]string{"nothing": "", "half": `{"item":1}` + "\n" + `{"ite`, "not JSON": "hello\n"} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })
		if err := (management.Client{HTTP: management.Direct(h)}).Call(t.Context(), "x", nil, nil); err == nil {
			t.Error(name, "was taken for an answer")
		}
	}
}

func TestMethod(t *testing.T) {
	c := management.Direct(management.New(management.Config{House: &rooms{}}))
	resp, err := c.Get("http://samotop/v1/house/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("queue/list", `{"ids":["a"]}`)
	f.Add("account/add", `{"address":"a@b","quota":-1}`)
	f.Fuzz(func(t *testing.T, verb, body string) {
		r := &rooms{domains: map[string]management.Domain{}, people: map[string]management.Account{}, pass: map[string]string{}}
		h := management.New(management.Config{Domains: r, People: r, Queue: r, House: r})
		c := management.Client{HTTP: management.Direct(h)}
		if !json.Valid([]byte(body)) {
			return
		}
		_ = c.Call(t.Context(), verb, json.RawMessage(body), nil)
	})
}
