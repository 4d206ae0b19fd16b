package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Mbox reads a file in one of the mbox formats, or a directory of such files; their names are those of the folders.
type Mbox struct {
	Path   string
	Folder string // of a single file; "": the file's name
}

var _ Source = Mbox{}

// Close does nothing.
func (Mbox) Close() error { return nil }

// Folders looks for files that begin as an mbox does.
func (m Mbox) Folders(context.Context) ([]Folder, error) {
	s, err := os.Stat(m.Path)
	if err != nil {
		return nil, err
	}
	if !s.IsDir() {
		name := m.Folder
		if name == "" {
			name = mboxName(filepath.Base(m.Path))
		}
		if !isMbox(m.Path) && s.Size() > 0 {
			return nil, fmt.Errorf("%s: not an mbox file: it does not begin with \"From \"", m.Path)
		}
		return []Folder{{Name: name, path: m.Path}}, nil
	}
	if m.Folder != "" {
		return nil, fmt.Errorf("%s: is a directory, whose files are folders of their own names: --folder is for one file", m.Path)
	}
	var out []Folder
	err = filepath.WalkDir(m.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !isMbox(p) {
			return err
		}
		rel, err := filepath.Rel(m.Path, p)
		out = append(out, Folder{Name: mboxName(rel), path: p})
		return err
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s: there is no mbox file in it", m.Path)
	}
	return out, err
}

// mboxName turns the path of a file into a name of ours; Thunderbird keeps the folders within X in X.sbd.
func mboxName(rel string) string {
	levels := strings.Split(filepath.ToSlash(rel), "/")
	for i, l := range levels {
		levels[i] = strings.TrimSuffix(strings.TrimSuffix(l, ".sbd"), ".mbox")
	}
	if strings.EqualFold(levels[0], "INBOX") {
		levels[0] = "INBOX"
	}
	return strings.Join(levels, "/")
}

func isMbox(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 5)
	_, err = io.ReadFull(f, b)
	return err == nil && string(b) == "From "
}

// Messages goes through a file twice: once to find a message and its hash, which is its id with the number of its copies
// before it, and once more for its content.
func (m Mbox) Messages(ctx context.Context, f Folder, known func(string) bool, skipped func(int)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		file, err := os.Open(f.path)
		if err != nil {
			yield(Item{}, err)
			return
		}
		defer file.Close()
		copies := map[[32]byte]int{}
		s := &mboxScanner{r: bufio.NewReaderSize(file, 64<<10)}
		for {
			found, err := s.next()
			if err == nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Item{}, err)
				}
				return
			}
			copies[found.hash]++
			id := fmt.Sprintf("mbox\x00%s\x00%x\x00%d", f.Name, found.hash, copies[found.hash])
			if known(id) {
				skipped(1)
				continue
			}
			head := Head{ID: id, Flags: found.flags, Date: found.date, Size: found.end - found.start}
			item := Item{head, func(w io.Writer) error {
				own, err := os.Open(f.path) // workers read at the same time
				if err != nil {
					return err
				}
				defer own.Close()
				return copyMbox(w, io.NewSectionReader(own, found.start, found.end-found.start))
			}}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// mboxMessage is a message in a file.
type mboxMessage struct {
	start, end int64 // without the From_ line and the empty line behind it
	date       time.Time
	flags      []string
	hash       [32]byte
}

type mboxScanner struct {
	r    *bufio.Reader
	off  int64
	from string // the From_ line that was read already
}

// separates tells a From_ line from text that was not quoted: it has a time of day.
func separates(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("From ")) {
		return false
	}
	for i := bytes.IndexByte(b, ':'); i > 1 && i+2 < len(b); {
		if isDigit(b[i-1]) && isDigit(b[i+1]) && isDigit(b[i+2]) {
			return true
		}
		n := bytes.IndexByte(b[i+1:], ':')
		if n < 0 {
			return false
		}
		i += 1 + n
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// maxMboxLine is how much of a line is looked at; longer ones are read in pieces.
const maxMboxLine = 64 << 10

// piece reads a line, or a piece of a long one; whole tells that it begins a line.
func (s *mboxScanner) piece() ([]byte, error) {
	b, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	s.off += int64(len(b))
	if len(b) > 0 {
		err = nil
	}
	return b, err
}

func (s *mboxScanner) next() (m mboxMessage, err error) {
	for s.from == "" {
		b, err := s.piece()
		if err != nil {
			return m, err
		}
		if bytes.HasPrefix(b, []byte("From ")) {
			s.from = string(b)
		} else if len(bytes.TrimSpace(b)) > 0 {
			return m, errors.New("not an mbox file: a message does not begin with \"From \"")
		}
	}
	m.start, m.end, m.date = s.off, s.off, fromDate(s.from)
	s.from = ""
	sum := sha256.New()
	var flags mboxFlags
	header, begin, empty := true, true, int64(0)
	for {
		b, err := s.piece()
		if errors.Is(err, io.EOF) {
			m.end = s.off - empty
			break
		}
		if err != nil {
			return m, err
		}
		if begin && empty > 0 && separates(b) {
			m.end, s.from = s.off-int64(len(b))-empty, string(b)
			break
		}
		line := bytes.TrimRight(b, "\r\n")
		if header && begin {
			flags.field(string(line))
		}
		if begin && len(line) == 0 {
			header, empty = false, int64(len(b))
		} else {
			empty = 0
		}
		sum.Write(b)
		begin = b[len(b)-1] == '\n'
	}
	sum.Sum(m.hash[:0])
	m.flags = flags.list
	return m, nil
}

// mboxFlags gathers what Status, X-Status and X-Keywords say.
type mboxFlags struct{ list []string }

func (f *mboxFlags) field(line string) {
	name, value, _ := strings.Cut(line, ":")
	switch strings.ToLower(name) {
	case "status", "x-status":
		for _, c := range []byte(value) {
			if flag := map[byte]string{'R': `\Seen`, 'A': `\Answered`, 'F': `\Flagged`, 'D': `\Deleted`, 'T': `\Draft`}[c]; flag != "" {
				f.list = append(f.list, flag)
			}
		}
	case "x-keywords":
		f.list = append(f.list, strings.Fields(value)...)
	}
}

// ownFields are those that programs keep their own notes in; they are no part of the message.
func ownField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && slices.Contains([]string{"status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase"}, strings.ToLower(string(name)))
}

// fromDate reads the date of a From_ line: "From SENDER Mon Jan  2 15:04:05 2006", which is in UTC, with or without a zone.
func fromDate(line string) time.Time {
	words := strings.Fields(line)
	for n := 5; n <= 7 && n < len(words); n++ {
		text := strings.Join(words[len(words)-n:], " ")
		for _, layout := range []string{"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04:05 2006 -0700", "Mon Jan 2 15:04:05 MST 2006", "Mon Jan 2 15:04:05 -0700 2006"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// copyMbox copies a message: without the fields of programs in its header, ">From " unquoted (mboxrd).
func copyMbox(w io.Writer, r io.Reader) error {
	c := &crlfWriter{w: w}
	b := bufio.NewReaderSize(r, maxMboxLine)
	header, begin, drop := true, true, false
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 {
			folded := line[0] == ' ' || line[0] == '\t'
			if header && begin && !folded {
				drop = ownField(line)
				header = len(bytes.TrimRight(line, "\r\n")) > 0
			}
			keep := !(header && drop)
			if begin && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
				line = line[1:]
			}
			begin = line[len(line)-1] == '\n'
			if keep {
				if _, err := c.Write(line); err != nil {
					return err
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return c.Close()
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// ToMbox writes each folder as a file in the mboxrd format. A folder is written to FILE.part and gets its name when it is
// whole: one that is there is not written again.
type ToMbox struct{ Dir string }

// Begin begins a file.
func (m ToMbox) Begin(folder string) (Sink, error) {
	for _, l := range strings.Split(folder, "/") {
		if l == "" || l == "." || l == ".." {
			return nil, fmt.Errorf("folder %q: no name for a file", folder)
		}
	}
	name := filepath.Join(m.Dir, filepath.FromSlash(folder)) + ".mbox"
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	s := &mboxSink{name: name}
	if _, err := os.Stat(name); err == nil {
		s.whole = true
		return s, nil
	}
	f, err := os.OpenFile(name+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	s.f, s.w = f, bufio.NewWriterSize(f, 64<<10)
	return s, nil
}

type mboxSink struct {
	name  string
	whole bool // it is there already
	bad   bool
	f     *os.File
	w     *bufio.Writer
}

func (s *mboxSink) Has(Head) bool { return s.whole }

func (s *mboxSink) Put(h Head, content func(io.Writer) error) error {
	s.bad = true
	fmt.Fprintf(s.w, "From MAILER-DAEMON %s\n", h.Date.UTC().Format("Mon Jan _2 15:04:05 2006"))
	status, x, words := "O", "", []string(nil)
	for _, f := range h.Flags {
		switch strings.ToLower(f) {
		case `\seen`:
			status = "RO"
		case `\answered`:
			x += "A"
		case `\flagged`:
			x += "F"
		case `\draft`:
			x += "T"
		case `\deleted`:
			x += "D"
		default:
			words = append(words, f)
		}
	}
	fmt.Fprintf(s.w, "Status: %s\n", status)
	if x != "" {
		fmt.Fprintf(s.w, "X-Status: %s\n", x)
	}
	if len(words) > 0 {
		fmt.Fprintf(s.w, "X-Keywords: %s\n", strings.Join(words, " "))
	}
	q := &mboxWriter{w: s.w, begin: true, header: true}
	if err := content(q); err != nil {
		return err
	}
	if err := q.end(); err != nil {
		return err
	}
	_, err := s.w.WriteString("\n")
	s.bad = err != nil
	return err
}

// mboxWriter writes content with LF, "From " quoted, and without fields that would be taken for ours.
type mboxWriter struct {
	w      *bufio.Writer
	line   []byte // of the header, or the beginning of a line
	begin  bool
	header bool
	drop   bool
}

func (q *mboxWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			q.line = append(q.line, p...)
			if len(q.line) > maxMboxLine {
				last := [2]byte(q.line[len(q.line)-2:]) // they may be the CRs before an LF
				q.put(q.line[:len(q.line)-2])
				q.line = append(q.line[:0], last[:]...)
			}
			break
		}
		q.line = append(q.line, p[:i+1]...)
		q.put(q.line)
		q.line, p = q.line[:0], p[i+1:]
	}
	return n, nil
}

// put writes a line, or a piece of a long one. Errors stay with the bufio.Writer.
func (q *mboxWriter) put(b []byte) {
	if len(b) == 0 {
		return
	}
	whole := b[len(b)-1] == '\n'
	if q.begin {
		if q.header && b[0] != ' ' && b[0] != '\t' {
			q.drop = ownField(b)
			q.header = len(bytes.TrimRight(b, "\r\n")) > 0
		}
		if bytes.HasPrefix(bytes.TrimLeft(b, ">"), []byte("From ")) {
			q.w.WriteByte('>')
		}
	}
	q.begin = whole
	if q.header && q.drop {
		return
	}
	if whole && bytes.HasSuffix(b, []byte("\r\n")) && !bytes.HasSuffix(b, []byte("\r\r\n")) { // of CR CR LF both CRs are content
		b = append(b[:len(b)-2:len(b)-2], '\n')
	}
	q.w.Write(b)
}

func (q *mboxWriter) end() error {
	if len(q.line) > 0 {
		q.put(append(q.line, '\n'))
	} else if !q.begin {
		q.w.WriteByte('\n')
	}
	return q.w.Flush()
}

// Close gives the file its name, if all of it came.
func (s *mboxSink) Close() error {
	if s.whole || s.f == nil {
		return nil
	}
	err := errors.Join(s.w.Flush(), s.f.Sync(), s.f.Close())
	if err != nil || s.bad {
		return err
	}
	if err := os.Rename(s.name+".part", s.name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.name))
}

// Break leaves an unfinished file as it is: the next run begins it anew.
func (s *mboxSink) Break() {
	if s.f != nil {
		_ = s.f.Close()
	}
}
