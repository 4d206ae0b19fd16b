// Package ruleproto carries questions to the room that owns the accounts, from rooms in other processes: HTTP with JSON over a
// Unix socket. What can be asked is the server's table of methods; docs/rules-protocol.md lists those of a house.
//
//	srv := &ruleproto.Server{Methods: map[string]ruleproto.Method{
//		"resolve": ruleproto.Handle(func(ctx context.Context, to mail.Address) (Resolution, error) { ... }),
//	}, Changes: accounts.Changes}
//	go http.Serve(socket, srv)
//
//	c := ruleproto.NewClient(ruleproto.Config{Dial: dialSocket})
//	go c.Follow(ctx)
//	r, err := ruleproto.Ask[Resolution](ctx, c, "resolve", to, keep)
//
// # The protocol
//
// A question is POST /v1/METHOD with its arguments as JSON. The answer is one JSON object: {"generation":N,"result":...}, or
// {"reply":{"code":550,"enhanced":"5.1.1","text":"..."}} where a peer is to be told just that, or
// {"error":{"kind":"...","text":"..."}}. GET /v1/events is a stream of lines {"generation":N}: one at once, one after each
// change to what the answers depend on, and one now and then so that both sides know the other is there.
//
// Promises. A Client keeps answers only while the stream of events is up, forgets all of them when an event comes or the
// stream breaks, and does not keep an answer of another generation than the last event's. So an answer is at most as old as an event is on its
// way, and after a restart of the server nothing old is used. Requests, answers, waiting and what is kept are limited.
package ruleproto

import (
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limits.
const (
	MaxRequestOctets = 256 << 10
	MaxAnswerOctets  = 16 << 20
	DefaultTimeout   = 10 * time.Second // of one question
	DefaultMaxKept   = 50_000           // answers that a Client keeps
	heartbeat        = 10 * time.Second
	maxSilence       = 3 * heartbeat // then the stream counts as broken
)

// Error is a refusal with a kind that both sides know.
type Error struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

func (e *Error) Error() string { return e.Text }

// ErrAway is wrapped by what a Client returns while the server cannot be asked.
var ErrAway = errors.New("the room that owns the accounts is away")

// wireReply is a mail.Reply.
type wireReply struct {
	Code     int           `json:"code"`
	Enhanced mail.Enhanced `json:"enhanced"`
	Text     string        `json:"text"`
}

// event is a line of the stream.
type event struct {
	Generation uint64 `json:"generation"`
}
