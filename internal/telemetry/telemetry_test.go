package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

func get(t *testing.T, m *Metrics, path string, healthy, ready error) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(func() error { return healthy }, func() error { return ready }).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := New("v1")
	var seen []mail.Event
	j := m.Journal(record(func(e mail.Event) { seen = append(seen, e) }))
	for range 3 {
		j.Record(t.Context(), mail.Event{Room: "mta", Kind: "refused", Code: 550, From: "secret@x.example"})
	}
	j.Record(t.Context(), mail.Event{Room: "qm", Kind: "queued"})
	if len(seen) != 4 {
		t.Errorf("%d events were passed on", len(seen))
	}
	m.Gauge("samotop_store_free_octets", "Free.", map[string]string{"store": "mails"}, func(context.Context) (float64, error) { return 5, nil })
	m.Gauge("samotop_store_broken", "Broken.", nil, func(context.Context) (float64, error) { return 0, errors.New("cannot be read") })
	m.Family("samotop_qm_recipients", "Recipients.", []string{"state"}, false, func(context.Context) ([]Sample, error) {
		return []Sample{{[]string{"held"}, 2}, {[]string{"queued"}, 3}}, nil
	})
	m.Family("samotop_qm_broken_total", "Broken.", []string{"state"}, true, func(context.Context) ([]Sample, error) {
		return nil, errors.New("cannot be read")
	})

	a, b := net.Pipe()
	defer b.Close()
	l := m.Listener("smtp", &one{c: a})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, text := get(t, m, "/metrics", nil, nil)
	for _, want := range []string{
		`samotop_build_info{version="v1"} 1`, `samotop_mta_events_total{class="5xx",kind="refused"} 3`,
		`samotop_qm_events_total{class="",kind="queued"} 1`, `samotop_store_free_octets{store="mails"} 5`,
		`samotop_qm_recipients{state="held"} 2`, `samotop_qm_recipients{state="queued"} 3`,
		`samotop_listener_connections{listener="smtp"} 1`, "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("an address is shown")
	}
	c.Close()
	c.Close()
	if _, text = get(t, m, "/metrics", nil, nil); !strings.Contains(text, `samotop_listener_connections{listener="smtp"} 0`) {
		t.Error("a connection is not counted out once")
	}
}

func TestHealth(t *testing.T) {
	m := New("v1")
	if code, _ := get(t, m, "/healthz", nil, nil); code != 200 {
		t.Error(code)
	}
	if code, text := get(t, m, "/healthz", errors.New("the disk failed"), nil); code != 503 || !strings.Contains(text, "the disk failed") {
		t.Error(code, text)
	}
	if code, _ := get(t, m, "/readyz", nil, errors.New("not yet")); code != 503 {
		t.Error(code)
	}
}

// However many kinds there are, their series are bounded.
func TestBounded(t *testing.T) {
	m := New("v1")
	j := m.Journal(nil)
	for i := range 3 * maxKinds {
		j.Record(t.Context(), mail.Event{Room: "mta", Kind: fmt.Sprint(i)})
	}
	if _, text := get(t, m, "/metrics", nil, nil); strings.Count(text, "samotop_mta_events_total{") != maxKinds {
		t.Error("the series are not bounded")
	}
}

func TestLogins(t *testing.T) {
	m := New("v1")
	a := m.Authenticator(fake{})
	for _, password := range []string{"right", "wrong", "trouble"} {
		x, err := a.Start(t.Context(), &mail.Session{Service: "msa"}, "PLAIN")
		if err != nil {
			t.Fatal(err)
		}
		x.Next(t.Context(), []byte(password))
	}
	if _, err := a.Start(t.Context(), &mail.Session{Service: "msa"}, "evil"); err == nil {
		t.Error("a mechanism that there is not")
	}
	_, text := get(t, m, "/metrics", nil, nil)
	for _, result := range []string{"ok", "wrong", "trouble"} {
		if !strings.Contains(text, `samotop_accounts_logins_total{mechanism="PLAIN",result="`+result+`",service="msa"} 1`) {
			t.Errorf("%s is not counted\n%s", result, text)
		}
	}
	if strings.Contains(text, "evil") {
		t.Error("a stranger's word is a label")
	}
}

type fake struct{}

func (fake) Mechanisms(*mail.Session) []string { return []string{"PLAIN"} }
func (fake) Start(_ context.Context, _ *mail.Session, mechanism string) (mail.Exchange, error) {
	if mechanism != "PLAIN" {
		return nil, mail.ErrMechanism
	}
	return fakeExchange{}, nil
}

type fakeExchange struct{}

func (fakeExchange) Identity() mail.Identity { return mail.Identity{} }
func (fakeExchange) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	switch string(response) {
	case "right":
		return nil, true, nil
	case "wrong":
		return nil, false, mail.ErrCredentials
	}
	return nil, false, errors.New("trouble")
}

type record func(mail.Event)

func (f record) Record(_ context.Context, e mail.Event) { f(e) }

// one is a listener of one connection.
type one struct{ c net.Conn }

func (o *one) Accept() (net.Conn, error) { return o.c, nil }
func (o *one) Close() error              { return nil }
func (o *one) Addr() net.Addr            { return o.c.LocalAddr() }
