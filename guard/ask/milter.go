package ask

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// The milter protocol, version 6, as libmilter's mfdef.h and its description by its users have it. Commands go out, responses
// come back; each is a length of four octets, a letter, and data.
const (
	milterVersion = 6
	// What a milter may ask: add and change fields, quarantine, and what we do not do but milters want to be offered: to
	// change the body, the sender and the recipients.
	milterActions = 0xff
	// What it may leave out: every step, and every answer.
	milterSteps = 0x1fffff
)

// Steps that a milter does not want (SMFIP_NO*), and answers that it does not give (SMFIP_NR_*).
const (
	noConnect, nrConnect = 1 << 0, 1 << 12
	noHelo, nrHelo       = 1 << 1, 1 << 13
	noMail, nrMail       = 1 << 2, 1 << 14
	noRcpt, nrRcpt       = 1 << 3, 1 << 15
	noBody, nrBody       = 1 << 4, 1 << 19
	noHeader, nrHeader   = 1 << 5, 1 << 7
	noEOH, nrEOH         = 1 << 6, 1 << 18
	noData, nrData       = 1 << 9, 1 << 16
)

// Limits of what is said and heard.
const (
	milterChunkOctets  = 65535
	milterAnswerOctets = 1 << 20 // a new body would be longer: we do not take one, and so it is read past
	milterHeaderOctets = 256 << 10
	milterProgress     = 1000 // answers before the last one
)

var errMilterEnd = errors.New("the milter has decided") // of a conversation that needs no more

// milter is one message.
type milter struct {
	f      *Filter
	m      *guard.Message
	conn   net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	steps  uint32 // left out
	header []byte // until it is complete
	inBody bool
	skip   bool // of the rest of the body
	over   bool // it has decided
	marked bool // its fields say that it is spam
	o      guard.Opinion
}

// askMilter connects, and says all that is known before the content.
func (f *Filter) askMilter(ctx context.Context, m *guard.Message) (asking, error) {
	ctx, cancel := context.WithTimeout(ctx, f.c.Timeout)
	defer cancel()
	conn, err := f.c.Dial(ctx, f.c.Network, f.c.Address)
	if err != nil {
		return nil, err
	}
	x := &milter{f: f, m: m, conn: conn, r: bufio.NewReader(conn), w: bufio.NewWriterSize(conn, 16<<10)}
	if err := x.greet(); err != nil && !x.over {
		conn.Close()
		return nil, err
	}
	return x, nil
}

// greet is everything up to the header.
func (x *milter) greet() error {
	if err := x.negotiate(); err != nil {
		return err
	}
	s := x.m.Session
	peer := s.RemoteName
	if peer == "" && x.m.IP.IsValid() {
		peer = "[" + x.m.IP.String() + "]"
	}
	if peer == "" {
		peer = "localhost"
	}
	x.macros('C', "j", x.f.c.Hostname, "{daemon_name}", "samotop", "v", "samotop", "_", peer)
	if err := x.step(noConnect, nrConnect, 'C', x.connect(peer)); err != nil {
		return err
	}
	if err := x.step(noHelo, nrHelo, 'H', zero(s.Hello)); err != nil {
		return err
	}
	x.macros('M', "i", s.ID, "{mail_addr}", x.m.From.Address.String())
	if err := x.step(noMail, nrMail, 'M', zero(x.m.From.Address.Path())); err != nil {
		return err
	}
	if err := x.recipients(); err != nil {
		return err
	}
	return x.step(noData, nrData, 'T', nil)
}

// recipients tells who gets the message. A refusal of some of several says nothing about the others.
func (x *milter) recipients() error {
	refused := 0
	for _, to := range x.m.To {
		x.macros('R', "i", x.m.Session.ID, "{rcpt_addr}", to.String())
		before := x.o
		err := x.step(noRcpt, nrRcpt, 'R', zero(to.Path()))
		if x.over && (x.o.Score > before.Score || x.o.Defer) {
			if refused++; refused < len(x.m.To) {
				x.o, x.over = before, false
				continue
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// negotiate agrees on what is said.
func (x *milter) negotiate() error {
	data := binary.BigEndian.AppendUint32(nil, milterVersion)
	data = binary.BigEndian.AppendUint32(data, milterActions)
	data = binary.BigEndian.AppendUint32(data, milterSteps)
	x.send('O', data)
	kind, answer, err := x.receive()
	switch {
	case err != nil:
		return err
	case kind != 'O' || len(answer) < 12:
		return fmt.Errorf("the milter answers %q to the negotiation", kind)
	}
	if v := binary.BigEndian.Uint32(answer); v < 2 || v > milterVersion {
		return fmt.Errorf("the milter speaks version %d", v)
	}
	x.steps = binary.BigEndian.Uint32(answer[8:])
	if x.steps&^milterSteps != 0 {
		return fmt.Errorf("the milter wants %#x, which was not offered", x.steps&^milterSteps)
	}
	return nil
}

func zero(s string) []byte { return append([]byte(strings.ReplaceAll(s, "\x00", "")), 0) }

func (x *milter) connect(peer string) []byte {
	b := zero(peer)
	port := uint16(0)
	if _, p, err := net.SplitHostPort(addrOf(x.m.Session)); err == nil {
		if n, err := strconv.ParseUint(p, 10, 16); err == nil {
			port = uint16(n)
		}
	}
	ip := x.m.IP.Unmap()
	switch {
	case ip.Is4():
		b = binary.BigEndian.AppendUint16(append(b, '4'), port)
	case ip.Is6():
		b = binary.BigEndian.AppendUint16(append(b, '6'), port)
	default:
		return append(b, 'U')
	}
	return append(b, zero(ip.WithZone("").String())...)
}

func addrOf(s *mail.Session) string {
	if s.RemoteAddr == nil {
		return ""
	}
	return s.RemoteAddr.String()
}

// macros tells names and values, of which empty ones are left out.
func (x *milter) macros(command byte, pairs ...string) {
	b := []byte{command}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			b = append(append(b, zero(pairs[i])...), zero(pairs[i+1])...)
		}
	}
	x.send('D', b)
}

// send writes a command. A failure shows at the next flush.
func (x *milter) send(command byte, data []byte) {
	var head [5]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(data)+1))
	head[4] = command
	x.extend()
	x.w.Write(head[:]) //nolint:errcheck // a bufio.Writer keeps its error
	x.w.Write(data)    //nolint:errcheck // the same
}

func (x *milter) extend() {
	x.conn.SetDeadline(time.Now().Add(x.f.c.Timeout)) //nolint:errcheck // a connection without one is closed: the next call says so
}

// step sends a command that the milter wants, and reads its answer if there is one. What decides ends the conversation by
// errMilterEnd.
func (x *milter) step(no, silent uint32, command byte, data []byte) error {
	if x.steps&no != 0 {
		return nil
	}
	x.send(command, data)
	if x.steps&silent != 0 {
		return nil
	}
	kind, answer, err := x.receive()
	if err != nil {
		return err
	}
	if !x.decided(kind, answer) {
		return nil
	}
	x.over = true
	return errMilterEnd
}

// receive flushes and reads one response. Progress is waited out.
func (x *milter) receive() (kind byte, data []byte, err error) {
	if err := x.w.Flush(); err != nil {
		return 0, nil, err
	}
	for range milterProgress {
		x.extend()
		var head [5]byte
		if _, err := io.ReadFull(x.r, head[:]); err != nil {
			return 0, nil, fmt.Errorf("the milter is silent: %w", err)
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n < 1 || n > milterAnswerOctets {
			return 0, nil, fmt.Errorf("the milter sends a packet of %d octets", n)
		}
		data = make([]byte, n-1)
		if _, err := io.ReadFull(x.r, data); err != nil {
			return 0, nil, fmt.Errorf("the milter breaks off: %w", err)
		}
		if head[4] != 'p' {
			return head[4], data, nil
		}
	}
	return 0, nil, errors.New("the milter never comes to an end")
}

// decided takes a response, and reports whether it is the last word.
func (x *milter) decided(kind byte, data []byte) bool {
	switch kind {
	case 'a':
		return true
	case 's': // enough of the body was seen
		x.skip = true
	case 'r', 'd': // discarding in silence is not ours: the sender is told
		x.f.say(&x.o, pointsReject, "rejects it")
		return true
	case 't', '4':
		x.o.Defer = true
		x.o.Reasons = append(x.o.Reasons, x.f.c.Name+": puts it off")
		return true
	case 'y':
		code, words := replyText(text(data))
		if x.o.Text = words; words == "" {
			words = "rejects it"
		}
		if code == '4' {
			x.o.Defer = true
			x.o.Reasons = append(x.o.Reasons, x.f.c.Name+": "+words)
		} else {
			x.f.say(&x.o, pointsReject, "%s", words)
		}
		return true
	case 'q':
		x.f.say(&x.o, pointsQuarantine, "quarantine: %s", text(data))
	case 'h':
		x.field(data)
	case 'i', 'm':
		if len(data) > 4 {
			x.field(data[4:])
		}
	}
	return false // 'c', and what we do not do: recipients, sender, body
}

// replyText parts a reply such as "550 5.7.1 no viruses please" into the kind of its code and its words.
func replyText(s string) (kind byte, words string) {
	code, words, _ := strings.Cut(s, " ")
	if enhanced, rest, _ := strings.Cut(words, " "); strings.Count(enhanced, ".") == 2 && strings.Trim(enhanced, "0123456789.") == "" {
		words = rest
	}
	return (code + "5")[0], told(words)
}

func text(data []byte) string {
	s, _, _ := strings.Cut(string(data), "\x00")
	return s
}

// field adds a header field; a change of one is added too, and the removal of one is not done.
func (x *milter) field(data []byte) {
	name, rest, _ := strings.Cut(string(data), "\x00")
	value := strings.TrimSpace(text([]byte(rest)))
	if name == "" || value == "" || len(x.o.Fields) >= guard.MaxFields || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return
	}
	if strings.EqualFold(name, "X-Spam-Flag") && strings.EqualFold(value, "yes") && !x.marked { // SpamAssassin's word, which has no other
		x.marked = true
		x.f.say(&x.o, pointsQuarantine, "marks it as spam")
	}
	x.o.Fields = append(x.o.Fields, mail.Field{Name: clean(name, 64), Value: strings.Join(strings.Fields(clean(value, 500)), " ")})
}

// write sends the header when it is complete, and the body as it comes.
func (x *milter) write(p []byte) error {
	if x.over {
		return nil
	}
	if !x.inBody {
		x.header = append(x.header, p...)
		end, skip := headerEnd(x.header)
		if end < 0 {
			if len(x.header) > milterHeaderOctets {
				return errors.New("the header is too long for a milter")
			}
			return nil
		}
		p = x.header[end+skip:]
		if err := x.sendHeader(x.header[:end]); err != nil {
			return ended(err)
		}
	}
	return ended(x.body(p))
}

// ended: a milter that has decided is no fault.
func ended(err error) error {
	if errors.Is(err, errMilterEnd) {
		return nil
	}
	return err
}

// headerEnd finds the empty line: where it stands, and its length; -1 if it has not come.
func headerEnd(b []byte) (at, skip int) {
	for i := 0; i < len(b); {
		n := bytes.IndexByte(b[i:], '\n')
		switch {
		case b[i] == '\n':
			return i, 1
		case b[i] == '\r' && n == 1:
			return i, 2
		case n < 0:
			return -1, 0
		}
		i += n + 1
	}
	return -1, 0
}

func (x *milter) sendHeader(raw []byte) error {
	x.inBody = true
	h := message.ParseHeader(raw)
	for f := range h.Fields() {
		if len(f.Name) == 0 {
			continue
		}
		value := strings.ReplaceAll(string(f.Value), "\r\n", "\n")
		if err := x.step(noHeader, nrHeader, 'L', append(zero(string(f.Name)), zero(value)...)); err != nil {
			return err
		}
	}
	return x.step(noEOH, nrEOH, 'N', nil)
}

func (x *milter) body(p []byte) error {
	for len(p) > 0 && !x.skip && x.steps&noBody == 0 {
		n := min(len(p), milterChunkOctets)
		if err := x.step(noBody, nrBody, 'B', p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// end is of asking.
func (x *milter) end(ctx context.Context) (guard.Opinion, error) {
	stop := context.AfterFunc(ctx, func() { x.conn.Close() }) // whatever it sends meanwhile
	defer stop()
	if !x.inBody && !x.over { // a message without a body
		if err := ended(x.sendHeader(x.header)); err != nil {
			return guard.Opinion{}, err
		}
	}
	if x.over {
		return x.o, nil
	}
	x.macros('E', "i", x.m.Session.ID)
	x.send('E', nil)
	for range milterProgress {
		kind, data, err := x.receive()
		if err != nil {
			return guard.Opinion{}, err
		}
		if kind == 'c' || x.decided(kind, data) {
			return x.o, nil
		}
	}
	return guard.Opinion{}, errors.New("the milter never comes to an end")
}

// close says goodbye.
func (x *milter) close() {
	x.send('Q', nil)
	x.w.Flush() //nolint:errcheck // it is over
	x.conn.Close()
}
