package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
)

// Handler answers the requests of a Client, below /v1/transfer/.
type Handler struct {
	Mailbox *mailbox.Mailbox
	Log     *slog.Logger // nil: none
}

// Refusal is why something was not done.
type Refusal struct {
	Code string `json:"code,omitempty"` // as an IMAP response code: TOOBIG, LIMIT, OVERQUOTA
	Text string `json:"error"`
}

func (r *Refusal) Error() string { return r.Text }

// counts answers an import.
type counts struct {
	Stored   int      `json:"stored"`
	Repeated int      `json:"repeated"`
	Refusal  *Refusal `json:"refusal,omitempty"`
}

// listed is a folder of the house.
type listed struct {
	Name     string   `json:"name"`
	Use      string   `json:"use,omitempty"`
	Messages int      `json:"messages"`
	Octets   int64    `json:"octets"`
	Refusal  *Refusal `json:"refusal,omitempty"`
}

// pieceTime is how long the next piece of a request may take.
const pieceTime = time.Minute

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s := &mail.Session{Service: "transfer", Login: mail.Identity{Account: q.Get("account")}, Start: time.Now()}
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "POST", http.StatusMethodNotAllowed)
	case strings.HasSuffix(r.URL.Path, "/folders"):
		h.folders(r.Context(), w, s)
	case strings.HasSuffix(r.URL.Path, "/import"):
		c := h.take(r.Context(), s, q.Get("folder"), timed{r.Body, http.NewResponseController(w)})
		_ = json.NewEncoder(w).Encode(c) // whoever asked has gone: the next run tells what was stored
	case strings.HasSuffix(r.URL.Path, "/export"):
		h.give(r.Context(), w, s, q.Get("folder"))
	default:
		http.NotFound(w, r)
	}
}

// timed gives each read its time.
type timed struct {
	r io.Reader
	c *http.ResponseController
}

func (t timed) Read(p []byte) (int, error) {
	_ = t.c.SetReadDeadline(time.Now().Add(pieceTime)) // not in this process
	return t.r.Read(p)
}

func (h *Handler) refusal(err error) *Refusal {
	var e *imap.Error
	if errors.As(err, &e) && e.Cause == nil {
		return &Refusal{e.Code, e.Text}
	}
	if h.Log != nil {
		h.Log.Warn("transfer failed", "err", err)
	}
	if e != nil {
		return &Refusal{e.Code, e.Text + ": " + e.Cause.Error()}
	}
	return &Refusal{"", err.Error()}
}

// folders lists the folders of an account.
func (h *Handler) folders(ctx context.Context, w io.Writer, s *mail.Session) {
	out := json.NewEncoder(w)
	acct, err := h.Mailbox.QuietBackend().Open(ctx, s)
	if err != nil {
		_ = out.Encode(listed{Refusal: h.refusal(err)})
		return
	}
	defer acct.Close()
	list, err := acct.List(ctx)
	if err != nil {
		_ = out.Encode(listed{Refusal: h.refusal(err)})
		return
	}
	for _, f := range list {
		if f.NonExistent || f.NoSelect {
			continue
		}
		l := listed{Name: f.Name}
		if len(f.Use) > 0 {
			l.Use = string(f.Use[0])
		}
		st, err := acct.Status(ctx, f.Name)
		if err != nil {
			l.Refusal = h.refusal(err)
		}
		l.Messages, l.Octets = int(st.Messages), st.Size
		if out.Encode(l) != nil {
			return
		}
	}
}

// take stores the messages of one request in one batch.
func (h *Handler) take(ctx context.Context, s *mail.Session, folder string, body io.Reader) (c counts) {
	im, err := h.Mailbox.Import(ctx, s, folder)
	if err == nil {
		defer im.Close()
		if err = takeAll(ctx, im, bufio.NewReaderSize(body, 64<<10)); err == nil {
			c.Stored, c.Repeated, err = im.Commit(ctx)
		}
	}
	if err != nil {
		_, _ = io.Copy(io.Discard, body) // so that whoever sends gets to read why
		return counts{Refusal: h.refusal(err)}
	}
	return c
}

func takeAll(ctx context.Context, im *mailbox.Importing, r *bufio.Reader) error {
	for {
		head, err := readHead(r)
		if err != nil || head.End {
			return err
		}
		w, err := im.Next(ctx, head.ID, imap.AppendOptions{Flags: flagsOf(head.Flags), Date: head.Date, Size: -1})
		if err != nil {
			return err
		}
		if err := readContent(w, r); err != nil {
			return err
		}
	}
}

var systemFlags = map[string]imap.SystemFlags{`\seen`: imap.FlagSeen, `\answered`: imap.FlagAnswered, `\flagged`: imap.FlagFlagged,
	`\deleted`: imap.FlagDeleted, `\draft`: imap.FlagDraft}

// flagsOf sorts flags into system flags and keywords. What cannot be a keyword (RFC 9051 section 9: atom) is left out.
func flagsOf(list []string) (f imap.Flags) {
	for _, s := range list {
		switch {
		case strings.HasPrefix(s, `\`):
			f.System |= systemFlags[strings.ToLower(s)]
		case isKeyword(s):
			f.Keywords = append(f.Keywords, s)
		}
	}
	return f
}

func isKeyword(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || strings.IndexByte("(){%*\"\\]", c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

func flagNames(f imap.Flags) (out []string) {
	for _, x := range []struct {
		bit  imap.SystemFlags
		name string
	}{{imap.FlagSeen, `\Seen`}, {imap.FlagAnswered, `\Answered`}, {imap.FlagFlagged, `\Flagged`}, {imap.FlagDeleted, `\Deleted`}, {imap.FlagDraft, `\Draft`}} {
		if f.System&x.bit != 0 {
			out = append(out, x.name)
		}
	}
	return append(out, f.Keywords...)
}

// give sends the messages of a folder.
func (h *Handler) give(ctx context.Context, w io.Writer, s *mail.Session, folder string) {
	b := bufio.NewWriterSize(w, 64<<10)
	end := Head{End: true}
	if err := h.giveAll(ctx, b, s, folder); err != nil {
		end = Head{Error: h.refusal(err).Text}
	}
	_ = writeRecord(b, end, nil)
	_ = b.Flush() // whoever asked misses the end
}

func (h *Handler) giveAll(ctx context.Context, w io.Writer, s *mail.Session, folder string) error {
	acct, err := h.Mailbox.QuietBackend().Open(ctx, s)
	if err != nil {
		return err
	}
	defer acct.Close()
	box, err := acct.Select(ctx, folder, true)
	if err != nil {
		return err
	}
	defer box.Close()
	snap, err := box.Snapshot(ctx)
	if err != nil {
		return err
	}
	for m, err := range box.Fetch(ctx, snap.UIDs, imap.NeedDates|imap.NeedSize|imap.NeedContent) {
		if err != nil {
			return err
		}
		head := Head{UID: uint32(m.UID), Validity: snap.UIDValidity, Flags: flagNames(m.Flags), Date: m.InternalDate, Size: m.Size}
		if err := writeRecord(w, head, func(w io.Writer) error { return copyContent(ctx, w, m.Content) }); err != nil {
			return err
		}
	}
	return nil
}

func copyContent(ctx context.Context, w io.Writer, c imap.Content) error {
	var buf []byte
	for off := int64(0); off < c.Size(); off += int64(len(buf)) {
		var err error
		if buf, err = c.Append(ctx, buf[:0], off, maxPieceOctets); err != nil {
			return err
		}
		if len(buf) == 0 {
			return io.ErrUnexpectedEOF
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
