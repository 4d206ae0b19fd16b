package management

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limits of Config when it says nothing.
const (
	DefaultMaxRequestOctets = 1 << 20
	DefaultMaxRequests      = 64
)

// requestTime is how long a request may take to arrive.
const requestTime = 30 * time.Second

// Config of New. A room that is nil is not there: its verbs say so.
type Config struct {
	Domains    Domains
	People     People
	Aliases    Aliases
	Contacts   Contacts
	Lists      Lists
	Rules      Rules
	Bans       Bans
	Senders    Senders
	Junk       Junk
	Reputation Reputation
	Relearner  Relearner
	Queue      Queue

	Destinations Destinations

	House     House
	Copies    Copies
	Keys      Keys
	Mailboxes Mailboxes
	Why       Why
	Reports   *Reports
	Counts    *Counts
	Record    mail.Journal // takes the events of other processes

	Mail Mail // for the accounts room of another process

	// Elsewhere answers the verbs whose room is in another process; nil, or a nil Handler: they are not there.
	Elsewhere func(verb string) http.Handler

	Transfer http.Handler // moves mail in and out, below /v1/transfer/; nil: this process has no mailbox

	MakePassword     func() (string, error) // for accounts that are added without one
	MaxRequestOctets int64                  // 0: DefaultMaxRequestOctets
	MaxRequests      int                    // at the same time; 0: DefaultMaxRequests
	Log              *slog.Logger           // nil: none; who did what, without passwords
}

// Handler answers the verbs.
type Handler struct {
	cfg   Config
	verbs map[string]verb
	slots chan struct{}
}

// verb reads its arguments, sends items and progress, and returns the answer.
type verb func(ctx context.Context, args json.RawMessage, out *sender) (any, error)

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.MaxRequestOctets <= 0 {
		cfg.MaxRequestOctets = DefaultMaxRequestOctets
	}
	if cfg.MaxRequests <= 0 {
		cfg.MaxRequests = DefaultMaxRequests
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg, slots: make(chan struct{}, cfg.MaxRequests)}
	h.verbs = h.table()
	return h
}

// ServeHTTP answers one verb.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &sender{w: w}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	v := h.verbs[name]
	if v == nil && ok && h.cfg.Elsewhere != nil {
		if other := h.cfg.Elsewhere(name); other != nil {
			other.ServeHTTP(w, r)
			return
		}
	}
	if ok && h.cfg.Transfer != nil && strings.HasPrefix(name, "transfer/") {
		h.transfer(w, r, out)
		return
	}
	switch {
	case !ok || v == nil:
		out.fail(http.StatusNotFound, &Error{WrongUse, "verb " + name, "this version does not have it", "client and server should be of the same version"})
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		out.fail(http.StatusMethodNotAllowed, &Error{WrongUse, "verb " + name, "verbs are sent with POST", ""})
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		out.fail(http.StatusServiceUnavailable, &Error{Unavailable, "verb " + name, "too many requests at the same time", "try again"})
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTime)) // not in this process
	args, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxRequestOctets))
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			out.fail(http.StatusRequestEntityTooLarge, &Error{WrongUse, "verb " + name, "the request is too long", ""})
		}
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // what follows may take its time
	if len(args) == 0 {
		args = []byte("{}")
	}
	answer, err := v(r.Context(), args, out)
	if err != nil {
		h.cfg.Log.Log(r.Context(), level(err), "verb failed", "verb", name, "err", err)
		out.fail(http.StatusOK, asError(err))
		return
	}
	h.cfg.Log.Debug("verb", "verb", name)
	_ = out.send(line{OK: orEmpty(answer)}) // whoever asked has gone: it is done all the same
}

// transfer lets mail in or out, whose octets are no verb's arguments.
func (h *Handler) transfer(w http.ResponseWriter, r *http.Request, out *sender) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		h.cfg.Transfer.ServeHTTP(w, r)
	default:
		out.fail(http.StatusServiceUnavailable, &Error{Unavailable, "transfer", "too many requests at the same time", "try again"})
	}
}

func orEmpty(v any) any {
	if v == nil {
		return struct{}{}
	}
	return v
}

// line is one line of an answer.
type line struct {
	Item     any       `json:"item,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	OK       any       `json:"ok,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

// Progress tells how far long work is.
type Progress struct {
	What  string `json:"what,omitempty"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// sender writes lines, each of them at once.
type sender struct {
	w       http.ResponseWriter
	started bool
}

func (s *sender) fail(status int, e *Error) {
	if !s.started && status != http.StatusOK {
		s.w.Header().Set("Content-Type", contentType)
		s.w.WriteHeader(status)
	}
	_ = s.send(line{Error: e})
}

const contentType = "application/x-ndjson"

func (s *sender) send(l line) error {
	if !s.started {
		s.started = true
		s.w.Header().Set("Content-Type", contentType)
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return err
	}
	if f, ok := s.w.(http.Flusher); ok && l.Progress != nil {
		f.Flush()
	}
	return nil
}

func (s *sender) item(v any) error { return s.send(line{Item: v}) }

// level of a failure in our log: what was asked for wrongly is not the house's trouble.
func level(err error) slog.Level {
	if asError(err).Kind == Internal {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
