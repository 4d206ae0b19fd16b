package delivery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// Journal keeps messages in append-only files: NUMBER.log holds the messages one after the other, NUMBER.idx a line
// for each recipient of each message. A new pair is begun when the log is big or old enough. What stands in a log
// behind the last line of its index was never acknowledged; it is cut off when the journal is opened again.
//
// Messages that come while others are written share their two syncs. A Journal is the only writer of its directory. Read
// it with Entries.
type Journal struct {
	Dir       string
	MaxOctets int64         // of a log before the next is begun; 0: 256 MiB
	MaxAge    time.Duration // the same; 0: 24 hours

	mu    sync.Mutex
	log   *os.File
	idx   *os.File
	size  int64 // of log
	isize int64 // of idx
	begun time.Time
	n     int   // number of the pair
	bad   error // a failed sync: nothing may be written behind it

	appends group
}

var _ mail.Door = (*Journal)(nil)

// Entry is one line of an index: one recipient of one message.
type Entry struct {
	Time   time.Time
	ID     string // session
	From   mail.Address
	To     mail.Address
	Folder string
	Size   int64 // octets of the message, with its trace fields

	file   string
	offset int64
	sum    uint32
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// Check reports a Journal without a directory.
func (d *Journal) Check() error {
	if d.Dir == "" {
		return errors.New("delivery: journal has no directory")
	}
	return nil
}

func (d *Journal) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }

// Begin accepts any sender.
func (d *Journal) Begin(_ context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	id := ""
	if s != nil {
		id = s.ID
	}
	return newSpooled(from, "", d.appends.finisher(id, "journal", d.append))
}

// Close closes the files.
func (d *Journal) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.close()
}

func (d *Journal) close() error {
	if d.log == nil {
		return nil
	}
	err := errors.Join(d.log.Close(), d.idx.Close())
	d.log, d.idx = nil, nil
	return err
}

// append appends some messages. Those that fit into one pair of files share its syncs.
func (d *Journal) append(some []*appending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(some) > 0 {
		err := d.bad
		if err == nil {
			err = d.ready()
		}
		if err != nil {
			failAll(some, err)
			return
		}
		n, err := d.write(some)
		if err != nil {
			failAll(some[:n], err)
			// Back to what is known to be good; if even that fails, nobody can say any more what is in the files.
			_, e1 := d.log.Seek(d.size, io.SeekStart)
			_, e2 := d.idx.Seek(d.isize, io.SeekStart)
			d.bad = errors.Join(e1, e2, d.log.Truncate(d.size), d.idx.Truncate(d.isize), d.idx.Sync())
		}
		some = some[n:]
	}
}

// write writes messages until the log is big enough, and returns how many it took in hand: first the log is made durable,
// then the lines of the index that say so. A message that cannot be read is left out alone.
func (d *Journal) write(some []*appending) (n int, err error) {
	size, lines, now := d.size, []byte(nil), time.Now()
	for ; n < len(some) && (n == 0 || size < d.maxOctets()); n++ {
		a, sum := some[n], crc32.New(crcTable)
		var octets int64
		if octets, a.err = io.Copy(io.MultiWriter(d.log, sum), a.content); a.err != nil {
			if _, err := d.log.Seek(size, io.SeekStart); err != nil {
				return n + 1, err
			}
			if err := d.log.Truncate(size); err != nil {
				return n + 1, err
			}
			continue
		}
		for _, r := range a.to {
			lines = appendEntry(lines, Entry{Time: now, ID: a.id, From: a.from.Address, To: r.Address, Folder: r.Folder, Size: octets, offset: size, sum: sum.Sum32()})
		}
		size += octets
	}
	if len(lines) == 0 {
		return n, nil
	}
	if err := d.log.Sync(); err != nil {
		return n, err
	}
	if _, err := d.idx.Write(lines); err != nil {
		return n, err
	}
	if err := d.idx.Sync(); err != nil {
		return n, err
	}
	d.size = size
	d.isize += int64(len(lines))
	return n, nil
}

// appendEntry writes a line: fields in xtext between spaces, at the end a sum over the line itself.
func appendEntry(b []byte, e Entry) []byte {
	start := len(b)
	b = fmt.Appendf(b, "%d %d %08x %d %s %s %s %s", e.offset, e.Size, e.sum, e.Time.UnixNano(), word(e.ID), word(e.From.Path()), word(e.To.Path()), word(e.Folder))
	return fmt.Appendf(b, " %08x\n", crc32.Checksum(b[start:], crcTable))
}

func word(s string) string {
	if s == "" {
		return "-"
	}
	if s == "-" {
		return "+2D"
	}
	return mail.EncodeXtext(s)
}

var errJournal = errors.New("delivery: index line is damaged")

func parseEntry(line string) (e Entry, err error) {
	body, sum, ok := cutLast(line)
	want, perr := strconv.ParseUint(sum, 16, 32)
	if !ok || perr != nil || crc32.Checksum([]byte(body), crcTable) != uint32(want) {
		return e, errJournal
	}
	f := strings.Split(body, " ")
	if len(f) != 8 {
		return e, errJournal
	}
	var text [4]string
	for i, w := range f[4:] {
		if w != "-" {
			if text[i], err = mail.DecodeXtext(w); err != nil {
				return e, errJournal
			}
		}
	}
	var nanos int64
	var crc uint64
	var errs [6]error
	e.offset, errs[0] = strconv.ParseInt(f[0], 10, 64)
	e.Size, errs[1] = strconv.ParseInt(f[1], 10, 64)
	crc, errs[2] = strconv.ParseUint(f[2], 16, 32)
	nanos, errs[3] = strconv.ParseInt(f[3], 10, 64)
	e.From, _, errs[4] = mail.ParsePath(text[1])
	e.To, _, errs[5] = mail.ParsePath(text[2])
	e.sum, e.Time, e.ID, e.Folder = uint32(crc), time.Unix(0, nanos).UTC(), text[0], text[3]
	if errors.Join(errs[:]...) != nil || e.offset < 0 || e.Size < 0 {
		return e, errJournal
	}
	return e, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// ready opens the last pair, or begins the next.
func (d *Journal) ready() error {
	maxAge := d.MaxAge
	if maxAge <= 0 {
		maxAge = 24 * time.Hour
	}
	if d.log == nil {
		if err := d.reopen(); err != nil {
			return err
		}
	}
	if d.size == 0 || d.size < d.maxOctets() && time.Since(d.begun) < maxAge {
		return nil
	}
	if err := d.close(); err != nil {
		return err
	}
	return d.begin(d.n + 1)
}

func (d *Journal) maxOctets() int64 {
	if d.MaxOctets > 0 {
		return d.MaxOctets
	}
	return 256 << 20
}

func (d *Journal) reopen() error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return err
	}
	ns, err := pairs(d.Dir)
	if err != nil {
		return err
	}
	if len(ns) == 0 {
		return d.begin(1)
	}
	return d.begin(ns[len(ns)-1])
}

// begin opens a pair and cuts off what was not acknowledged.
func (d *Journal) begin(n int) error {
	log, err := os.OpenFile(pairName(d.Dir, n, "log"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	idx, err := os.OpenFile(pairName(d.Dir, n, "idx"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	d.log, d.idx, d.n, d.size, d.isize, d.begun = log, idx, n, 0, 0, time.Now()
	r := bufio.NewReader(idx)
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		e, err := parseEntry(strings.TrimSuffix(line, "\n"))
		if err != nil {
			break
		}
		if first {
			d.begun = e.Time
		}
		d.isize += int64(len(line))
		d.size = max(d.size, e.offset+e.Size)
	}
	_, e1 := log.Seek(d.size, io.SeekStart)
	_, e2 := idx.Seek(d.isize, io.SeekStart)
	if err := errors.Join(e1, e2, log.Truncate(d.size), idx.Truncate(d.isize), syncDir(d.Dir)); err != nil {
		return errors.Join(err, d.close())
	}
	return nil
}

func pairName(dir string, n int, ext string) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.%s", n, ext))
}

// pairs lists the numbers in order.
func pairs(dir string) ([]int, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	var ns []int
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".log")); err == nil {
			ns = append(ns, n)
		}
	}
	sort.Ints(ns)
	return ns, nil
}

// Entries reads the journal in dir from its beginning: an entry for each recipient, in the order in which they were
// acknowledged. A damaged line ends its file with an error.
func Entries(dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		ns, err := pairs(dir)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, n := range ns {
			if !entries(dir, n, yield) {
				return
			}
		}
	}
}

func entries(dir string, n int, yield func(Entry, error) bool) bool {
	f, err := os.Open(pairName(dir, n, "idx"))
	if err != nil {
		return yield(Entry{}, err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if err != nil { // a line without an end is still being written
			return errors.Is(err, io.EOF) || yield(Entry{}, err)
		}
		e, err := parseEntry(strings.TrimSuffix(line, "\n"))
		e.file = pairName(dir, n, "log")
		if !yield(e, err) {
			return false
		}
		if err != nil {
			return true
		}
	}
}

// Open reads the message. Its end gives an error if it is not what was written.
func (e Entry) Open() (io.ReadCloser, error) {
	f, err := os.Open(e.file)
	if err != nil {
		return nil, err
	}
	return &entryReader{Reader: io.NewSectionReader(f, e.offset, e.Size), f: f, want: e.sum, left: e.Size}, nil
}

type entryReader struct {
	io.Reader
	f         *os.File
	want, sum uint32
	left      int64
}

func (r *entryReader) Close() error { return r.f.Close() }

func (r *entryReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.sum = crc32.Update(r.sum, crcTable, p[:n])
	r.left -= int64(n)
	if err == io.EOF && (r.left > 0 || r.sum != r.want) { //nolint:errorlint // io.Reader's contract
		return n, errors.New("delivery: message in the journal is damaged")
	}
	return n, err
}
