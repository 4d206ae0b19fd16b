// Package drop is where mail from programs on this machine waits while the house is down: DIR/spool/drop, one file for
// each message. Put writes one; a Taker hands them to the house and takes them away.
//
//	id, err := drop.Put(dir, drop.Envelope{To: []string{"root"}}, content)          // "samotop sendmail"
//	t := &drop.Taker{Dir: dir, Take: func(ctx context.Context, m *drop.Item) error { ... }} // the house
//	t.Run(ctx)
//
// Everybody on the machine may put something there, and nobody may see what others have put: the directory belongs to the
// house, is sticky and setgid and cannot be listed by others (mode 3733, Prepare makes it). Who has written a file is told
// by the file system, which does not lie: no program needs special rights for it.
//
// Promises. Put returns when the message would survive a power cut: the file is synced, then renamed, then its directory is
// synced. A Taker takes a file away only after Take has kept the message; when it comes to the same file again, after a
// crash between the two, it has the same Envelope.Token, by which a Door keeps it once. Links, devices and unfinished
// files are not taken; a message that is refused for good is moved to Taker.Refused, never thrown away.
package drop

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Limits of what is read of a file before the content.
const (
	MaxEnvelopeOctets = 4 << 20
	MaxRecipients     = 50_000
)

// Mode is that of the directory: who is not the house may make files in it and not list it, files belong to its group,
// and nobody can take away another's.
const Mode = os.ModeSetgid | os.ModeSticky | 0o733

// Words between the program that sends and the house that serves DIR/spool/submit.sock.
const (
	// Keyword stands in the house's answer to EHLO, with the domain of this machine's users.
	Keyword = "XLOCAL"
	// TokenPrefix begins an ENVID that carries an Envelope's token: the prefix, the token, a colon, and the ENVID that is meant.
	TokenPrefix = "samotop-drop:"
)

const (
	suffix     = ".mail"
	unfinished = ".tmp"
	version    = 1
)

// Envelope is what a program says about a message beside its content.
type Envelope struct {
	Version    int      `json:"version"`
	From       string   `json:"from,omitempty"` // reverse-path; "": the user's own address; "<>": the null path
	To         []string `json:"to"`             // addresses; without a domain: users of this machine
	EnvelopeID string   `json:"envid,omitempty"`
	Ret        string   `json:"ret,omitempty"`    // full or hdrs (RFC 3461 section 4.3)
	Notify     string   `json:"notify,omitempty"` // as NOTIFY of RFC 3461 section 4.1
	EightBit   bool     `json:"eight_bit,omitempty"`
	UTF8       bool     `json:"utf8,omitempty"`  // the header needs SMTPUTF8 (RFC 6531)
	Token      string   `json:"token,omitempty"` // the same however often this message is handed over; "": Put makes one
}

// ErrNoDrop: the directory is not there, or not a place where everybody may drop mail.
var ErrNoDrop = errors.New("no mail can be dropped there")

// Prepare makes the directory, for who owns the house.
func Prepare(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s: %w: it is not a directory", dir, ErrNoDrop)
	}
	if fi.Mode()&(os.ModeSetgid|os.ModeSticky|os.ModePerm) == Mode {
		return nil
	}
	return os.Chmod(dir, Mode) // what the umask took away
}

// Put keeps a message: content with CRLF lines. It returns its name in the directory.
func Put(dir string, e Envelope, content io.Reader) (id string, err error) {
	e.Version = version
	if e.Token == "" {
		e.Token = rand.Text()
	}
	head, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	if len(e.To) > MaxRecipients || len(head) >= MaxEnvelopeOctets {
		return "", fmt.Errorf("more than the %d recipients that one message may have here", MaxRecipients)
	}
	id = rand.Text()
	tmp := filepath.Join(dir, id+unfinished)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	if err := write(f, head, content); err != nil {
		return "", errors.Join(err, f.Close())
	}
	if err := os.Rename(tmp, filepath.Join(dir, id+suffix)); err != nil {
		return "", errors.Join(err, f.Close())
	}
	tmp = filepath.Join(dir, id+suffix)
	if err := syncDir(dir, f); err != nil {
		return "", errors.Join(err, f.Close())
	}
	return id, f.Close()
}

func write(f *os.File, head []byte, content io.Reader) error {
	w := bufio.NewWriterSize(f, 64<<10)
	_, err := w.Write(append(head, '\n'))
	if err == nil {
		_, err = io.Copy(w, content)
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o640) // the group is the house's
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}

// readEnvelope reads the first line of a file.
func readEnvelope(r *bufio.Reader) (e Envelope, err error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > MaxEnvelopeOctets {
			return e, fmt.Errorf("the envelope is longer than %d octets", MaxEnvelopeOctets)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return e, fmt.Errorf("the envelope is not complete: %w", err)
		}
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
		return e, fmt.Errorf("the envelope cannot be read: %w", err)
	}
	switch {
	case e.Version != version:
		return e, fmt.Errorf("the envelope is of version %d, not %d: a newer samotop wrote it", e.Version, version)
	case len(e.To) == 0 || len(e.To) > MaxRecipients:
		return e, fmt.Errorf("the envelope has %d recipients, not 1 to %d", len(e.To), MaxRecipients)
	}
	return e, nil
}

// Count tells how many messages wait; only the owner of the house can know.
func Count(dir string) (n int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if strings.HasSuffix(name, suffix) {
				n++
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
