package imap_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
	"github.com/samotop/samotop/mail"
)

// slowBackend searches for as long as it may.
type slowBackend struct {
	*imapmem.Backend
	takes time.Duration // a search takes that long, or until it is given up
	ended chan error    // gets what a search ended by
}

func (b *slowBackend) Open(ctx context.Context, s *mail.Session) (imap.Account, error) {
	a, err := b.Backend.Open(ctx, s)
	return slowAccount{a, b}, err
}

type slowAccount struct {
	imap.Account
	b *slowBackend
}

func (a slowAccount) Select(ctx context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	m, err := a.Account.Select(ctx, name, readOnly)
	return slowMailbox{m, a.b}, err
}

type slowMailbox struct {
	imap.Mailbox
	b *slowBackend
}

func (m slowMailbox) Search(ctx context.Context, q *imap.Query) (*imap.SearchResult, error) {
	select {
	case <-ctx.Done():
		m.b.ended <- ctx.Err()
		return nil, ctx.Err()
	case <-time.After(m.b.takes):
		m.b.ended <- nil
		return m.Mailbox.Search(ctx, q)
	}
}

// slowSession has a search run that takes its time, in a bubble.
func slowSession(t *testing.T, takes time.Duration, then func(peer net.Conn, rd *bufio.Reader, b *slowBackend)) {
	synctest.Test(t, func(t *testing.T) {
		b := &slowBackend{Backend: imapmem.New(), takes: takes, ended: make(chan error, 1)}
		srv := &imap.Server{Backend: b, Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true}
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			srv.ServeConn(t.Context(), local{server})
		}()
		rd := bufio.NewReader(client)
		if _, err := rd.ReadString('\n'); err != nil { // the greeting: nothing is read before it is
			t.Fatal(err)
		}
		for _, line := range []string{"l LOGIN alice secret", "s SELECT INBOX", "x SEARCH TEXT needle"} {
			if _, err := fmt.Fprintf(client, "%s\r\n", line); err != nil {
				t.Fatal(err)
			}
			for line[0] != 'x' {
				if got, err := rd.ReadString('\n'); err != nil {
					t.Fatal(err)
				} else if strings.HasPrefix(got, line[:2]) {
					break
				}
			}
		}
		then(client, rd, b)
		_ = client.Close()
		<-done
	})
}

// local says that its peer is on this machine.
type local struct{ net.Conn }

func (local) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

// TestInProgress: a command that takes long says so each ten seconds (RFC 9585 section 4), and what the client says
// meanwhile is answered in its turn.
func TestInProgress(t *testing.T) {
	slowSession(t, 25*time.Second, func(peer net.Conn, rd *bufio.Reader, b *slowBackend) {
		go fmt.Fprint(peer, "y NOOP\r\n")
		var got []string
		for range 5 {
			line, err := rd.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(line))
		}
		want := `* OK [INPROGRESS ("x" NIL NIL)] still working|* OK [INPROGRESS ("x" NIL NIL)] still working|* SEARCH|x OK SEARCH completed|y OK NOOP completed`
		if all := strings.Join(got, "|"); all != want {
			t.Errorf("got %s\nwant %s", all, want)
		}
		<-b.ended
	})
}

// TestAbandoned: a command whose client has gone is given up long before it would have ended.
func TestAbandoned(t *testing.T) {
	slowSession(t, time.Hour, func(peer net.Conn, _ *bufio.Reader, b *slowBackend) {
		began := time.Now()
		time.Sleep(5 * time.Second)
		_ = peer.Close()
		if err := <-b.ended; err == nil {
			t.Error("the search went on")
		}
		if took := time.Since(began); took > 10*time.Second { // of the bubble
			t.Errorf("given up after %v", took)
		}
	})
}
