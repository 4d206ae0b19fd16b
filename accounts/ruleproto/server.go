package ruleproto

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// Method answers one kind of question.
type Method func(ctx context.Context, args json.RawMessage) (any, error)

// Handle makes a Method of a function.
func Handle[A, R any](f func(ctx context.Context, args A) (R, error)) Method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, &Error{Kind: "usage", Text: "the arguments cannot be read: " + err.Error()}
		}
		return f(ctx, args)
	}
}

// Server is an http.Handler. It must not be changed after its first use.
type Server struct {
	Methods map[string]Method
	// Changes yields after each durable change to what the answers depend on, until ctx ends; an error ends it.
	Changes func(ctx context.Context) iter.Seq2[struct{}, error]
	// Kind names the kind of an error that the other side knows, or returns ""; nil: none is known.
	Kind func(err error) string
	Log  *slog.Logger // nil: none

	mu         sync.Mutex
	generation uint64
	news       chan struct{} // closed and replaced when the generation grows
}

// Run follows the changes until ctx ends. Without it no client keeps anything.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	s.generation = uint64(time.Now().UnixMilli()) * 1000 // never one that an earlier process had
	s.mu.Unlock()
	s.advance()
	for _, err := range s.Changes(ctx) {
		if err != nil {
			s.mu.Lock()
			s.generation = 0
			s.mu.Unlock()
			return err
		}
		s.advance()
	}
	return ctx.Err()
}

func (s *Server) advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	if s.news != nil {
		close(s.news)
	}
	s.news = make(chan struct{})
}

// now returns the generation and what is closed after it.
func (s *Server) now() (uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news == nil {
		s.news = make(chan struct{})
	}
	return s.generation, s.news
}

// ServeHTTP is of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	switch m := s.Methods[name]; {
	case ok && name == "events" && r.Method == http.MethodGet:
		s.events(w, r)
	case !ok || m == nil:
		http.Error(w, "no such method: client and server should be of the same version", http.StatusNotFound)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "questions are sent with POST", http.StatusMethodNotAllowed)
	default:
		s.answer(w, r, m)
	}
}

// answered is what a question gets.
type answered struct {
	Generation uint64     `json:"generation,omitempty"`
	Result     any        `json:"result,omitempty"`
	Reply      *wireReply `json:"reply,omitempty"`
	Error      *Error     `json:"error,omitempty"`
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, m Method) {
	args, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequestOctets))
	if err != nil {
		http.Error(w, "the question cannot be read", http.StatusBadRequest)
		return
	}
	var a answered
	a.Generation, _ = s.now() // before the question is answered, so that a change meanwhile makes the answer old
	a.Result, err = m(r.Context(), args)
	if err != nil {
		a = s.refusal(err)
	}
	b, err := json.Marshal(a)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // whoever asked has gone
}

func (s *Server) refusal(err error) answered {
	var reply *mail.Reply
	if errors.As(err, &reply) {
		return answered{Reply: &wireReply{reply.Code, reply.Enhanced, reply.Text}}
	}
	var e *Error
	if errors.As(err, &e) {
		return answered{Error: e}
	}
	if s.Kind != nil {
		if kind := s.Kind(err); kind != "" {
			return answered{Error: &Error{kind, err.Error()}}
		}
	}
	if s.Log != nil {
		s.Log.Warn("question failed", "err", err)
	}
	return answered{Error: &Error{"internal", "internal trouble"}} // the cause stays in our log
}

// events streams generations until the client goes away.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		g, news := s.now()
		b, err := json.Marshal(event{g})
		if err != nil {
			return
		}
		_ = out.SetWriteDeadline(time.Now().Add(maxSilence))
		if _, err := w.Write(append(b, '\n')); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-news:
		case <-beat.C:
		case <-r.Context().Done():
			return
		}
	}
}
