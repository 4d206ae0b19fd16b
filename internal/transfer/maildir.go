package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/samotop/samotop/imap"
)

// Maildir reads a Maildir++ (folders are .A.B beside cur and new, as Dovecot and Courier have them) or a tree of plain
// maildirs (folders are directories within each other).
type Maildir struct{ Dir string }

var _ Source = Maildir{}

// Close does nothing.
func (Maildir) Close() error { return nil }

func isMaildir(dir string) bool {
	for _, d := range []string{"cur", "new"} {
		if s, err := os.Stat(filepath.Join(dir, d)); err != nil || !s.IsDir() {
			return false
		}
	}
	return true
}

// Folders looks for maildirs.
func (m Maildir) Folders(context.Context) ([]Folder, error) {
	var out []Folder
	err := filepath.WalkDir(m.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if n := d.Name(); p != m.Dir && (n == "cur" || n == "new" || n == "tmp") {
			return filepath.SkipDir
		}
		if !isMaildir(p) {
			return nil
		}
		rel, err := filepath.Rel(m.Dir, p)
		if err != nil {
			return err
		}
		n := 0
		for _, sub := range []string{"cur", "new"} {
			entries, err := os.ReadDir(filepath.Join(p, sub))
			if err != nil {
				return err
			}
			n += len(entries)
		}
		out = append(out, Folder{Name: folderName(rel), Messages: n, path: p})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read maildir: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: there is no maildir in it, that is a directory with cur and new", m.Dir)
	}
	return out, nil
}

// folderName turns the path of a maildir below the first one into a name of ours. In Maildir++ names are in modified
// UTF-7.
func folderName(rel string) string {
	if rel == "." {
		return "INBOX"
	}
	var levels []string
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		if strings.HasPrefix(part, ".") {
			for _, l := range strings.Split(part[1:], ".") {
				if name, err := imap.DecodeUTF7(l); err == nil {
					l = name
				}
				levels = append(levels, l)
			}
			continue
		}
		levels = append(levels, part)
	}
	levels = slices.DeleteFunc(levels, func(s string) bool { return s == "" })
	if strings.EqualFold(levels[0], "INBOX") {
		levels[0] = "INBOX"
	}
	return strings.Join(levels, "/")
}

// Messages yields the messages of cur and new, in the order of their names, which begin with the time of delivery.
func (m Maildir) Messages(ctx context.Context, f Folder, known func(string) bool, skipped func(int)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		words, err := dovecotKeywords(f.path)
		if err != nil {
			yield(Item{}, err)
			return
		}
		for _, sub := range []string{"cur", "new"} {
			entries, err := os.ReadDir(filepath.Join(f.path, sub))
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, e := range entries {
				if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
					continue
				}
				unique, info, _ := strings.Cut(e.Name(), ":2,")
				id := "maildir\x00" + f.Name + "\x00" + unique
				if known(id) {
					skipped(1)
					continue
				}
				item, err := maildirItem(filepath.Join(f.path, sub, e.Name()), id, maildirFlags(info, words))
				if errors.Is(err, fs.ErrNotExist) { // moved or deleted by somebody meanwhile
					continue
				}
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				if !yield(item, err) || err != nil {
					return
				}
			}
		}
	}
}

func maildirItem(path, id string, flags []string) (Item, error) {
	s, err := os.Stat(path)
	if err != nil {
		return Item{}, err
	}
	return Item{Head{ID: id, Flags: flags, Date: s.ModTime(), Size: s.Size()}, func(w io.Writer) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		return copyMail(w, file)
	}}, nil
}

// letters of Maildir and the flags they stand for, in the order that they must have in a name.
var letters = [...]struct {
	letter byte
	flag   string
}{{'D', `\Draft`}, {'F', `\Flagged`}, {'P', "$Forwarded"}, {'R', `\Answered`}, {'S', `\Seen`}, {'T', `\Deleted`}}

func maildirFlags(info string, words []string) (flags []string) {
	for _, c := range []byte(info) {
		if c >= 'a' && c <= 'z' && int(c-'a') < len(words) && words[c-'a'] != "" {
			flags = append(flags, words[c-'a'])
		}
		for _, l := range letters {
			if l.letter == c {
				flags = append(flags, l.flag)
			}
		}
	}
	return flags
}

// dovecotKeywords reads the file that says which keyword each of the letters a to z stands for.
func dovecotKeywords(dir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, keywordsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	words := make([]string, 26)
	for line := range strings.Lines(string(b)) {
		n, word, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if i, err := strconv.Atoi(n); err == nil && i >= 0 && i < len(words) {
			words[i] = word
		}
	}
	return words, nil
}

const keywordsFile = "dovecot-keywords"

// ToMaildir writes folders as a Maildir++. The name of a file says which message it is, so that what is there already is
// not written again.
type ToMaildir struct{ Dir string }

// Begin makes a folder and returns what knows its files.
func (m ToMaildir) Begin(folder string) (Sink, error) {
	dir := m.Dir
	if folder != "INBOX" {
		name := ""
		for _, l := range strings.Split(folder, "/") {
			name += "." + strings.ReplaceAll(string(imap.AppendUTF7(nil, l)), ".", "&AC4-") // a dot would part levels
		}
		dir = filepath.Join(m.Dir, name)
	}
	s := &maildirSink{dir: dir, there: map[string]bool{}}
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if s.words, err = dovecotKeywords(dir); err != nil {
		return nil, err
	}
	for _, d := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(dir, d))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			unique, _, _ := strings.Cut(e.Name(), ":2,")
			s.there[unique] = true
		}
	}
	return s, nil
}

type maildirSink struct {
	dir   string
	there map[string]bool
	words []string
	more  bool // words has changed
}

func unique(h Head) string { return fmt.Sprintf("%d.%d_%d.samotop", h.Date.Unix(), h.Validity, h.UID) }

func (s *maildirSink) Has(h Head) bool { return s.there[unique(h)] }

// Put writes a message to tmp, syncs it and renames it to cur.
func (s *maildirSink) Put(h Head, content func(io.Writer) error) error {
	name := unique(h)
	tmp := filepath.Join(s.dir, "tmp", name)
	if err := writeMail(tmp, content); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, h.Date, h.Date); err != nil {
		return err
	}
	info, err := s.letters(h.Flags)
	if err != nil {
		return err
	}
	s.there[name] = true
	return os.Rename(tmp, filepath.Join(s.dir, "cur", name+":2,"+info))
}

// letters gives the flags of a file name. More than 26 keywords have no letters: the others are left out.
func (s *maildirSink) letters(flags []string) (string, error) {
	var out []byte
	for _, l := range letters {
		if slices.ContainsFunc(flags, func(f string) bool { return strings.EqualFold(f, l.flag) }) {
			out = append(out, l.letter)
		}
	}
	for _, f := range flags {
		if strings.HasPrefix(f, `\`) || strings.EqualFold(f, "$Forwarded") {
			continue
		}
		i := slices.IndexFunc(s.words, func(w string) bool { return strings.EqualFold(w, f) })
		if i < 0 && len(trimEmpty(s.words)) < 26 {
			s.words = append(trimEmpty(s.words), f)
			i = len(s.words) - 1
			if err := s.saveWords(); err != nil {
				return "", err
			}
		}
		if i >= 0 {
			out = append(out, 'a'+byte(i))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return string(out), nil
}

func trimEmpty(words []string) []string {
	for len(words) > 0 && words[len(words)-1] == "" {
		words = words[:len(words)-1]
	}
	return words
}

func (s *maildirSink) saveWords() error {
	var b bytes.Buffer
	for i, w := range s.words {
		if w != "" {
			fmt.Fprintf(&b, "%d %s\n", i, w)
		}
	}
	tmp := filepath.Join(s.dir, keywordsFile+".tmp")
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(s.dir, keywordsFile))
}

func (s *maildirSink) Close() error { return syncDir(filepath.Join(s.dir, "cur")) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeMail writes a message durably: with LF if all its lines end in CRLF, else octet for octet.
func writeMail(name string, content func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	check := &endsChecker{}
	b := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(content(io.MultiWriter(b, check)), b.Flush()); err != nil {
		return err
	}
	if check.clean() {
		if err := shorten(f); err != nil {
			return err
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// endsChecker looks whether CR and LF come as CRLF only.
type endsChecker struct{ cr, mixed bool }

func (c *endsChecker) Write(p []byte) (int, error) {
	for _, x := range p {
		if c.cr != (x == '\n') {
			c.mixed = true
		}
		c.cr = x == '\r'
	}
	return len(p), nil
}

func (c *endsChecker) clean() bool { return !c.mixed && !c.cr }

// shorten turns CRLF into LF in place: what is written is always behind what is read.
func shorten(f *os.File) error {
	buf := make([]byte, 64<<10)
	var from, to int64
	for {
		n, err := f.ReadAt(buf, from)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				return f.Truncate(to)
			}
			return err
		}
		from += int64(n)
		out := slices.DeleteFunc(buf[:n], func(c byte) bool { return c == '\r' })
		if _, err := f.WriteAt(out, to); err != nil {
			return err
		}
		to += int64(len(out))
		buf = buf[:cap(buf)]
	}
}
