package management

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// MaxLineOctets is the longest line of an answer that a Client reads: one message of the queue with all recipients.
const MaxLineOctets = 64 << 20

// Client asks for verbs.
type Client struct {
	HTTP     *http.Client
	Progress func(Progress) // nil: it is not shown
}

// Over makes a client that reaches the handler by a connection.
func Over(dial func(ctx context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
}

// Direct makes a client that calls the handler in this process.
func Direct(h http.Handler) *http.Client { return &http.Client{Transport: direct{h}} }

// Call asks for a verb whose answer is one thing. A nil result is not looked at.
func (c Client) Call(ctx context.Context, verb string, args, result any) error {
	ok, err := c.Each(ctx, verb, args, nil)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(ok, result)
}

// Each asks for a verb that lists things, and returns what its last line says. An error of item ends it.
func (c Client) Each(ctx context.Context, verb string, args any, item func(json.RawMessage) error) (json.RawMessage, error) {
	if args == nil {
		args = struct{}{}
	}
	body, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://samotop/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		text, err := readLine(r)
		if errors.Is(err, io.EOF) {
			return nil, &Error{Unavailable, verb, "the answer broke off: the server has stopped", "see its log, then try again"}
		}
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		var l struct {
			Item     json.RawMessage `json:"item"`
			Progress *Progress       `json:"progress"`
			OK       json.RawMessage `json:"ok"`
			Error    *Error          `json:"error"`
		}
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		switch {
		case l.Error != nil:
			return nil, l.Error
		case l.OK != nil:
			return l.OK, nil
		case l.Progress != nil && c.Progress != nil:
			c.Progress(*l.Progress)
		case l.Item != nil && item != nil:
			if err := item(l.Item); err != nil {
				return nil, err
			}
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
		if len(text) > MaxLineOctets {
			return nil, errors.New("a line is too long")
		}
	}
}

// direct is a RoundTripper that calls a handler.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, pw: pw, ready: make(chan struct{})}
	go func() {
		d.h.ServeHTTP(w, r.WithContext(ctx))
		w.WriteHeader(http.StatusOK)
		pw.Close()
	}()
	<-w.ready
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: body{pr, cancel}, ContentLength: -1, Request: r,
	}, nil
}

// body ends the handler when the answer is not wanted any more.
type body struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b body) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// pipeWriter is used by one goroutine; ready publishes status and header.
type pipeWriter struct {
	header http.Header
	pw     *io.PipeWriter
	status int
	ready  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		close(w.ready)
	}
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pw.Write(p)
}
