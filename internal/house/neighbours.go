package house

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/management"
)

// nouns tells which room answers the verbs of a noun.
var nouns = map[string]Rooms{
	"domain":     Accounts,
	"account":    Accounts,
	"alias":      Accounts,
	"list":       Accounts,
	"contact":    Accounts,
	"sender":     Accounts,
	"ban":        Guard,
	"junk":       Guard,
	"reputation": Guard,
	"queue":      Queue,
	"suppress":   Queue,
	"dkim":       Queue,
	"mailbox":    Mails,
	"transfer":   Mails,
}

// RoomOf is the room that answers a verb, such as "ban/list"; 0 if it is everybody's.
func RoomOf(verb string) Rooms {
	noun, _, _ := strings.Cut(verb, "/")
	return nouns[noun]
}

// owners are the rooms with a database.
const owners = Accounts | Mails | Queue | Guard

// askTime is how long another room may take to say how it is.
const askTime = 2 * time.Second

// roomControl connects to the verbs of a room in another process.
func (h *House) roomControl(room string) func(ctx context.Context) (net.Conn, error) {
	path := h.conf.RunPath(config.RoomControl(room))
	return func(ctx context.Context) (net.Conn, error) { return DialUnix(ctx, path) }
}

// askOwners calls f with a client for each room that owns a database in another process.
func (h *House) askOwners(f func(room string, c management.Client) error) error {
	if !h.o.Linked || !h.has(Management) { // the others answer for themselves alone
		return nil
	}
	for _, n := range roomNames {
		if h.has(n.room) || n.room&owners == 0 {
			continue
		}
		client := management.Over(h.roomControl(n.name))
		err := f(n.name, management.Client{HTTP: client})
		client.CloseIdleConnections()
		if err != nil {
			return err
		}
	}
	return nil
}

// elsewhere hands a verb to the process of its room.
func (h *House) elsewhere() func(verb string) http.Handler {
	if !h.o.Linked || !h.has(Management) {
		return nil
	}
	proxies := map[Rooms]http.Handler{}
	for _, n := range roomNames {
		if !h.has(n.room) {
			proxies[n.room] = h.proxy(n.name)
		}
	}
	return func(verb string) http.Handler {
		return proxies[RoomOf(verb)]
	}
}

func (h *House) proxy(room string) http.Handler {
	dial := h.roomControl(room)
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", room },
		Transport:     &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }},
		FlushInterval: -1, // progress is told as it comes
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": &management.Error{Kind: management.Unavailable, Thing: "room " + room,
				Cause: "does not answer: " + err.Error(), Remedy: "start it with \"samotop serve " + room + "\""}}) // whoever asked has gone
		},
	}
}

// roomStates tells of each room whether it is there, and what the processes of the others say of themselves. They are asked all
// at once. The queue's numbers go into s.
func (h *House) roomStates(ctx context.Context, s *management.Status) []management.Room {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out := make([]management.Room, len(roomNames))
	var wg sync.WaitGroup
	for i, n := range roomNames {
		r := &out[i]
		*r = management.Room{Name: n.name, Here: h.has(n.room), Up: h.has(n.room)}
		if r.Here || !h.o.Linked || !h.has(Management) {
			continue
		}
		wg.Go(func() {
			if said := h.askState(ctx, r); n.room == Queue && said.Queue != nil {
				s.Queue = said.Queue
			}
		})
	}
	wg.Wait()
	return out
}

// askState asks the process of a room. One that takes connections is up, even if it does not answer.
func (h *House) askState(ctx context.Context, r *management.Room) (said management.Status) {
	conn, err := h.roomControl(r.Name)(ctx)
	if err != nil {
		return said
	}
	conn.Close()
	r.Up = true
	client := management.Over(h.roomControl(r.Name))
	defer client.CloseIdleConnections()
	if err := (management.Client{HTTP: client}).Call(ctx, "house/status", nil, &said); err != nil {
		h.log.Warn("a room does not say how it is", "room", r.Name, "err", err)
		return management.Status{}
	}
	r.PID, r.Since, r.Stopping, r.Listeners, r.Certificate, r.Fenced = said.PID, said.Since, said.Stopping, said.Listeners, said.Certificate, said.Fenced
	return said
}
