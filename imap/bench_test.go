package imap

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"testing"
	"time"

	"github.com/samotop/samotop/message"
)

// benchBox is a mailbox whose messages cost nothing.
type benchBox struct {
	Mailbox
	n   int
	msg Message
}

func (b *benchBox) Fetch(context.Context, UIDSet, Need) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for u := 1; u <= b.n; u++ {
			b.msg.UID = UID(u)
			if !yield(&b.msg, nil) {
				return
			}
		}
	}
}

type nowhere struct{ net.Conn }

func (nowhere) SetWriteDeadline(time.Time) error { return nil }

// benchFetch formats one FETCH of b.N messages.
func benchFetch(b *testing.B, items string) {
	env := AppendEnvelope(nil, message.ParseHeader([]byte("From: Anna <anna@example.test>\r\nTo: Bob <bob@example.test>\r\nSubject: hello world\r\nDate: Fri, 22 Feb 2008 17:06:23 +0000\r\nMessage-ID: <1@example.test>\r\n\r\n")))
	box := &benchBox{n: b.N, msg: Message{
		Flags: Flags{System: FlagSeen | FlagAnswered}, ModSeq: 7, InternalDate: time.Unix(1e9, 0), Size: 4096, Envelope: env,
	}}
	c := &conn{srv: &Server{}, limits: Limits{}.withDefaults(), sel: &selected{box: box, uids: UIDSet{{1, UID(b.N)}}}}
	c.wire = wire{nc: nowhere{}, wr: io.Discard, pool: &c.srv.bufs}
	p := &parser{b: fmt.Appendf(nil, "1:%d %s", b.N, items), l: &c.limits}
	b.ReportAllocs()
	b.ResetTimer()
	if err := c.cmdFetch(context.Background(), p, false); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkFetchFlags(b *testing.B)    { benchFetch(b, "(UID FLAGS)") }
func BenchmarkFetchEnvelope(b *testing.B) { benchFetch(b, "(UID ENVELOPE)") }
func BenchmarkFetchFast(b *testing.B)     { benchFetch(b, "FAST") }

func BenchmarkParseFetch(b *testing.B) {
	l := Limits{}.withDefaults()
	c := &conn{srv: &Server{}, limits: l}
	line := []byte("(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Subject Date)])")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.fetchArgs(&parser{b: line, l: &l}, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatchText(b *testing.B) {
	body := make([]byte, 0, 1<<20)
	for len(body) < 1<<20-80 {
		body = append(body, "The quick brown fox jumps over the lazy dog, grüßt und geht nach Hause.\r\n"...)
	}
	m := &Message{Header: []byte("\r\n"), Content: memContent(body), Parts: &Part{Type: "text", Subtype: "plain", Charset: "utf-8", End: int64(len(body))}}
	match := NewMatcher(&Criteria{Body: []string{"no such text"}}, time.Now())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := match.Match(context.Background(), m); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

type memContent []byte

func (m memContent) Size() int64 { return int64(len(m)) }

func (m memContent) Append(_ context.Context, dst []byte, off, n int64) ([]byte, error) {
	return append(dst, m[off:min(off+n, m.Size())]...), nil
}
