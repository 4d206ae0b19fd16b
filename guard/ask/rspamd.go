package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/guard"
)

// maxAnswerOctets is the longest answer of rspamd that is read.
const maxAnswerOctets = 1 << 20

// maxRspamdRecipients is how many recipients rspamd is told: they are fields of one header.
const maxRspamdRecipients = 100

// rspamd asks rspamd by its protocol (HTTP POST of the message to /checkv2, facts as header fields, an answer in JSON).
type rspamd struct {
	f      *Filter
	cancel context.CancelFunc
	pipe   *io.PipeWriter
	answer chan rspamdAnswer
	tr     *http.Transport
}

type rspamdAnswer struct {
	verdict rspamdVerdict
	err     error
}

// rspamdVerdict is the part of the answer that counts.
type rspamdVerdict struct {
	Action        string                  `json:"action"`
	Score         float64                 `json:"score"`
	RequiredScore float64                 `json:"required_score"`
	Skipped       bool                    `json:"is_skipped"`
	Symbols       map[string]rspamdSymbol `json:"symbols"`
	Error         string                  `json:"error"`
	Messages      json.RawMessage         `json:"messages"`
}

// text is what rspamd wants the sender to be told. An empty list of messages may be an array.
func (v *rspamdVerdict) text() string {
	var m struct {
		SMTP string `json:"smtp_message"`
	}
	if json.Unmarshal(v.Messages, &m) != nil {
		return ""
	}
	return told(m.SMTP)
}

type rspamdSymbol struct {
	Name  string  `json:"name"`
	Score float64 `json:"score"`
}

func (f *Filter) askRspamd(ctx context.Context, m *guard.Message) asking {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	x := &rspamd{f: f, cancel: cancel, pipe: w, answer: make(chan rspamdAnswer, 1)}
	x.tr = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, f.c.Timeout)
		defer cancel()
		return f.c.Dial(ctx, network, address)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.c.URL, r)
	if err != nil {
		x.answer <- rspamdAnswer{err: err}
		return x
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, clean(value, 1000))
		}
	}
	set("Password", f.c.Password)
	set("From", m.From.Address.String())
	for _, to := range m.To[:min(len(m.To), maxRspamdRecipients)] {
		req.Header.Add("Rcpt", clean(to.String(), 1000))
	}
	if m.IP.IsValid() {
		set("IP", m.IP.String())
	}
	set("Helo", m.Session.Hello)
	set("Hostname", m.Session.RemoteName)
	set("Queue-Id", m.Session.ID)
	set("MTA-Name", f.c.Hostname)
	go func() {
		a := x.ask(req)
		r.CloseWithError(errors.Join(errAnswered, a.err)) // what is still being written ends
		x.answer <- a
	}()
	return x
}

// errAnswered ends the writing when rspamd has said enough.
var errAnswered = errors.New("rspamd has answered")

func (x *rspamd) ask(req *http.Request) (a rspamdAnswer) {
	res, err := (&http.Client{Transport: x.tr}).Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		a.err = fmt.Errorf("rspamd answers %s", res.Status)
		return a
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerOctets+1))
	if err == nil && len(raw) > maxAnswerOctets {
		err = errors.New("the answer of rspamd is too long")
	}
	if err == nil {
		a.verdict, err = parseRspamd(raw)
	}
	a.err = err
	return a
}

func parseRspamd(raw []byte) (v rspamdVerdict, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("the answer of rspamd: %w", err)
	}
	if v.Error != "" {
		return v, fmt.Errorf("rspamd: %s", clean(v.Error, 300))
	}
	if v.Action == "" && !v.Skipped {
		return v, errors.New("the answer of rspamd names no action")
	}
	return v, nil
}

// silent: what rspamd skipped has no score, but an action where that was settled without one (GTUBE, settings).
func (v *rspamdVerdict) silent() bool {
	return v.Skipped && (v.Action == "" || v.Action == "no action")
}

func (x *rspamd) write(p []byte) error {
	defer time.AfterFunc(x.f.c.Timeout, x.cancel).Stop()
	_, err := x.pipe.Write(p)
	if errors.Is(err, errAnswered) {
		select {
		case a := <-x.answer:
			x.answer <- a
			return a.err // an early answer without an error stands
		default:
			return nil
		}
	}
	return err
}

func (x *rspamd) end(ctx context.Context) (o guard.Opinion, err error) {
	x.pipe.Close()
	select {
	case <-ctx.Done():
		return o, ctx.Err()
	case a := <-x.answer:
		if a.err != nil || a.verdict.silent() {
			return o, a.err
		}
		return x.f.opinionOf(&a.verdict), nil
	}
}

func (x *rspamd) close() {
	x.cancel()
	x.pipe.CloseWithError(context.Canceled)
	x.tr.CloseIdleConnections()
}

// opinionOf makes points of rspamd's score: with the default weight what it calls junk ("add header") has 5 of ours. A
// rejection is one, and a deferral too.
func (f *Filter) opinionOf(v *rspamdVerdict) (o guard.Opinion) {
	weight := f.c.Weight
	if weight == 0 {
		weight = 5.0 / 6 // rspamd's add_header is 6 by default
	}
	points := max(-5, min(v.Score*weight, pointsReject))
	switch v.Action {
	case "reject":
		points = pointsReject
	case "soft reject", "greylist":
		if v.Action == "soft reject" {
			o.Defer = true
		}
	case "add header", "rewrite subject", "quarantine":
		points = max(points, 5)
	case "discard":
		points = pointsReject
	}
	var names []rspamdSymbol
	for name, s := range v.Symbols {
		s.Name = name
		names = append(names, s)
	}
	slices.SortFunc(names, func(a, b rspamdSymbol) int {
		if a.Score != b.Score {
			if a.Score > b.Score {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	text := v.Action
	for i, s := range names {
		if i == 5 || s.Score <= 0 {
			break
		}
		text += fmt.Sprintf(" %s(%.1f)", s.Name, s.Score)
	}
	f.say(&o, points, "%s", text)
	if v.Action == "reject" || v.Action == "soft reject" {
		o.Text = v.text()
	}
	return o
}
