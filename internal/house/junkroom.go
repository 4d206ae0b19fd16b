package house

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/guard/ask"
	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/mail"
)

// junkSocket is where the guard learns from the mailbox of another process.
const junkSocket = "junk.sock"

// contentReaders lists who has an opinion on content.
func (h *House) contentReaders(ctx context.Context) ([]guard.Reader, error) {
	if err := h.openFilter(ctx); err != nil {
		return nil, err
	}
	var out []guard.Reader
	if !h.conf.Guard.LearnOff {
		out = append(out, h.filter)
	}
	for _, c := range h.conf.Guard.Filters {
		out = append(out, ask.New(ask.Config{Name: c.Name, URL: c.URL, Password: c.Password, Network: c.Network, Address: c.Address, Hostname: h.conf.Hostname,
			Timeout: c.Timeout, InFlight: int(c.InFlight), MaxOctets: c.MaxBytes, Weight: c.Weight, Required: c.Required, Log: h.log.With("room", "guard")}))
	}
	return out, nil
}

// openFilter opens what the guard has learned about words.
func (h *House) openFilter(ctx context.Context) (err error) {
	c := h.conf.Guard
	h.filter, err = filter.Open(ctx, filter.Config{Engine: h.engines[evidenceDB], Owner: h.ownerOf, Weight: c.LearnWeight,
		Classifier: junk.Classifier{MinMessages: uint32(c.LearnMessages)}, Log: h.log.With("room", "guard")})
	return err
}

// ownerOf finds whose account an address is.
func (h *House) ownerOf(ctx context.Context, a mail.Address) (uint64, error) {
	o, err := h.rules.Lookup(ctx, a)
	return o.ID, err
}

// teacher lets the guard learn a message; it is the filter itself, or that of another process.
type teacher interface {
	Learn(ctx context.Context, owner uint64, id string, kind filter.Kind, content io.Reader) (changed bool, err error)
}

// teacher returns nil where there is no guard.
func (h *House) teacher() teacher {
	switch {
	case h.filter != nil:
		return h.filter
	case h.o.Linked:
		dial := h.dialer("junk")
		return farTeacher{&http.Client{Transport: &http.Transport{
			DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			IdleConnTimeout: time.Minute}, Timeout: teachTime}}
	}
	return nil
}

// teachTime is how long one message may take to be learned, teachOctets how much of it is looked at.
const (
	teachTime   = time.Minute
	teachOctets = 8 << 20
)

// farTeacher speaks to lessons: POST /v1/learn?owner=ID&id=EMAILID&kind=ham|spam|unknown with the message as it is.
type farTeacher struct{ c *http.Client }

// taught is the answer.
type taught struct {
	Changed bool   `json:"changed"`
	Error   string `json:"error,omitempty"`
}

func (t farTeacher) Learn(ctx context.Context, owner uint64, id string, kind filter.Kind, content io.Reader) (bool, error) {
	q := url.Values{"owner": {strconv.FormatUint(owner, 10)}, "id": {id}, "kind": {kind.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://guard/v1/learn?"+q.Encode(), content)
	if err != nil {
		return false, err
	}
	res, err := t.c.Do(req)
	if err != nil {
		return false, fmt.Errorf("teach the guard: %w", err)
	}
	defer res.Body.Close()
	var a taught
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&a); err != nil {
		return false, fmt.Errorf("teach the guard: %w", err)
	}
	if a.Error != "" {
		return false, fmt.Errorf("teach the guard: %s", a.Error)
	}
	return a.Changed, nil
}

// lessons answers farTeacher.
type lessons struct{ f teacher }

func (l lessons) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	changed, err := l.learn(r)
	a := taught{Changed: changed}
	if err != nil {
		a.Error = err.Error()
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = json.NewEncoder(w).Encode(a) // whoever asked has gone
}

func (l lessons) learn(r *http.Request) (bool, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/learn" {
		return false, errors.New("say POST /v1/learn?owner=ID&id=EMAILID&kind=ham|spam|unknown")
	}
	q := r.URL.Query()
	owner, err := strconv.ParseUint(q.Get("owner"), 10, 64)
	if err != nil || owner == filter.Shared || q.Get("id") == "" {
		return false, errors.New("owner and id are needed")
	}
	kind, err := filter.ParseKind(q.Get("kind"))
	if err != nil {
		return false, err
	}
	return l.f.Learn(r.Context(), owner, q.Get("id"), kind, io.LimitReader(r.Body, teachOctets))
}

// lessonService lets the mailbox of another process teach.
func (h *House) lessonService() planned {
	return h.http("junk", h.conf.RunPath(junkSocket), 0o660, lessons{reputing{h.filter, h.history.Reputation, h.conf.Hostname}})
}

// sweepFilter takes out old words each day, until ctx ends.
func (h *House) sweepFilter(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(24 * time.Hour):
		}
		if err := h.filter.Sweep(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("old words could not be taken out of the filter", "err", err)
		}
	}
}
