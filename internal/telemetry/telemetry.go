// Package telemetry counts what a process does, and shows it to Prometheus and to whoever asks whether it is well.
//
//	m := telemetry.New(version)
//	l = m.Listener("smtp", l)                                // connections
//	mta.New(mta.Config{Journal: m.Journal(journal)})         // what became of messages
//	m.Store("mails", status)                                 // space, read when asked
//	http.Serve(socket, m.Handler(healthy, ready))
//
// Names are samotop_<room>_<noun>_<unit>. No label holds an address, a domain or anything else that a stranger chooses,
// so their number is bounded.
package telemetry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/samotop/samotop/mail"
)

// maxKinds bounds the series that events can make, should a room ever invent kinds.
const maxKinds = 1000

// Metrics is what one process counts. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	mu      sync.Mutex
	events  map[eventKey]prometheus.Counter
	vectors map[string]*prometheus.CounterVec // by room
	open    *prometheus.GaugeVec
	made    *prometheus.CounterVec
	logins  *prometheus.CounterVec
	dropped prometheus.Counter
}

// eventKey is what events are counted by.
type eventKey struct {
	room, kind string
	class      int // first digit of the reply's code
}

// New makes the counters of a process.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), events: map[eventKey]prometheus.Counter{}, vectors: map[string]*prometheus.CounterVec{}}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "samotop_build_info", Help: "1, with the version that runs.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.open = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "samotop_listener_connections", Help: "Connections that are open, by listener."}, []string{"listener"})
	m.made = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "samotop_listener_connections_total", Help: "Connections accepted, by listener."}, []string{"listener"})
	m.logins = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "samotop_accounts_logins_total", Help: "Logins, by service, mechanism and result (ok, wrong, trouble)."}, []string{"service", "mechanism", "result"})
	m.dropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "samotop_events_uncounted_total", Help: "Events of more kinds than are counted one by one."})
	m.registry.MustRegister(build, m.open, m.made, m.logins, m.dropped)
	return m
}

// Journal counts the events on their way to the next journal.
func (m *Metrics) Journal(next mail.Journal) mail.Journal {
	if next == nil {
		next = mail.NoJournal
	}
	return journal{m, next}
}

type journal struct {
	m    *Metrics
	next mail.Journal
}

// Record is of mail.Journal.
func (j journal) Record(ctx context.Context, e mail.Event) {
	j.m.count(eventKey{e.Room, e.Kind, e.Code / 100})
	j.next.Record(ctx, e)
}

func (m *Metrics) count(k eventKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.events[k]
	if c == nil {
		if len(m.events) >= maxKinds {
			m.dropped.Inc()
			return
		}
		v := m.vectors[k.room]
		if v == nil {
			v = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "samotop_" + name(k.room) + "_events_total",
				Help: "What happened to messages in the room, by kind and by the class of the reply that was given or got."}, []string{"kind", "class"})
			m.vectors[k.room] = v
			if err := m.registry.Register(v); err != nil { // two rooms whose names are the same to Prometheus
				m.dropped.Inc()
			}
		}
		class := ""
		if k.class > 0 {
			class = strconv.Itoa(k.class) + "xx"
		}
		c = v.WithLabelValues(k.kind, class)
		m.events[k] = c
	}
	c.Inc()
}

// name makes a room's name one that Prometheus takes.
func name(room string) string {
	b := []byte(room)
	for i, c := range b {
		if c < 'a' || c > 'z' {
			b[i] = '_'
		}
	}
	return string(b)
}

// Listener counts the connections of a listener.
func (m *Metrics) Listener(name string, l net.Listener) net.Listener {
	return &listener{Listener: l, open: m.open.WithLabelValues(name), made: m.made.WithLabelValues(name)}
}

type listener struct {
	net.Listener
	open prometheus.Gauge
	made prometheus.Counter
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Inc()
	l.made.Inc()
	return &conn{Conn: c, open: l.open}, nil
}

// conn is counted out once. Unwrap lets servers reach the connection below.
type conn struct {
	net.Conn
	open   prometheus.Gauge
	closed atomic.Bool
}

// NetConn returns the connection below, as tls.Conn does.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets a server hear a peer out that it sends away.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *conn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Dec()
	}
	return c.Conn.Close()
}

// Gauge shows a number that is read when somebody asks; read may fail, then it is left out.
func (m *Metrics) Gauge(name, help string, labels map[string]string, read func(ctx context.Context) (float64, error)) {
	m.registry.MustRegister(&gauge{prometheus.NewDesc(name, help, nil, labels), read})
}

type gauge struct {
	desc *prometheus.Desc
	read func(ctx context.Context) (float64, error)
}

func (g *gauge) Describe(out chan<- *prometheus.Desc) { out <- g.desc }

func (g *gauge) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	v, err := g.read(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(g.desc, err)
		return
	}
	out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v)
}

// Sample is one number of a family.
type Sample struct {
	Labels []string // values, in the order of the family's names
	Value  float64
}

// Family shows numbers that differ by labels and are read when somebody asks; read may fail, then they are left out. Counter says
// that they only grow. The values of labels must be few and ours.
func (m *Metrics) Family(name, help string, labels []string, counter bool, read func(ctx context.Context) ([]Sample, error)) {
	kind := prometheus.GaugeValue
	if counter {
		kind = prometheus.CounterValue
	}
	m.registry.MustRegister(&family{prometheus.NewDesc(name, help, labels, nil), kind, read})
}

type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(ctx context.Context) ([]Sample, error)
}

func (f *family) Describe(out chan<- *prometheus.Desc) { out <- f.desc }

func (f *family) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	samples, err := f.read(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(f.desc, err)
		return
	}
	for _, s := range samples {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, s.Value, s.Labels...)
	}
}

// Handler answers GET /metrics; /healthz with 200 while healthy returns nil, which is when the process can keep mail; and
// /readyz with 200 once ready returns nil, which is when it serves.
func (m *Metrics) Handler(healthy, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4}))
	check := func(f func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := f(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("ok\n")) // whoever asked has gone
		}
	}
	mux.HandleFunc("GET /healthz", check(healthy))
	mux.HandleFunc("GET /readyz", check(ready))
	return mux
}
