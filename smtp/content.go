package smtp

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

var replySmuggle = mail.Reply{Code: 554, Enhanced: mail.Enhanced{5, 6, 0}, Text: "Bare CR or LF in the content"}

// data takes the content of DATA (RFC 5321 section 4.1.1.4).
func (ses *session) data() {
	ses.reply(&replyGoOn)
	ses.contents = time.Now().Add(ses.set.content)
	ses.w.grow()
	var dec dotDecoder
	for !ses.closing {
		if ses.w.buffered() == 0 && !ses.more() {
			return
		}
		used, out, done, err := dec.next(ses.w.buf[ses.w.r:ses.w.w])
		if err != nil {
			ses.smuggled()
			return
		}
		ses.take(out)
		ses.w.r += used
		if done {
			ses.commit()
			return
		}
	}
}

// more reads content, within its time.
func (ses *session) more() bool {
	ses.w.readTimeout, ses.w.until = ses.set.data, ses.contents
	err := ses.w.fill()
	if err == nil {
		return true
	}
	ses.lost(err)
	return false
}

// smuggled ends transaction and session: where the content ends can no longer be known, so nothing that follows may
// be taken for commands.
func (ses *session) smuggled() {
	ses.abort()
	ses.reply(&replySmuggle)
	ses.err = errSmuggle
	ses.closing, ses.rude = true, true
}

// take hands content to the transaction. After a failure the rest is read and dropped, up to a bound.
func (ses *session) take(p []byte) {
	if ses.trace > 0 && len(p) > 0 {
		p = ses.takeTrace(p)
	}
	if len(p) == 0 {
		return
	}
	ses.got += int64(len(p))
	switch {
	case ses.failure == nil && ses.got > ses.set.maxMessage:
		ses.spoil(tooBig(ses.set.maxMessage))
	case ses.failure == nil:
		if _, err := ses.tx.Write(p); err != nil {
			ses.spoil(refusal(err))
		}
	case ses.got > 2*ses.set.maxMessage+largeOctets:
		ses.reply(ses.failure)
		ses.closing, ses.rude = true, true
		ses.err = ses.failure
	}
}

// refusal is AsReply for a place where nothing but a refusal can be meant.
func refusal(err error) *mail.Reply {
	r := mail.AsReply(err)
	if r.Code < 400 {
		r = mail.NewReply(451, mail.Enhanced{4, 3, 0}, "Temporary local problem").Because(err)
	}
	return r
}

// spoil gives the transaction up at once, while its content still comes.
func (ses *session) spoil(r *mail.Reply) {
	ses.failure = r
	tx := ses.tx
	ses.tx = nil
	if err := tx.Abort(); err != nil && ses.srv.Log != nil {
		ses.srv.Log.Warn("smtp: abort", "id", ses.s.ID, "error", err)
	}
}

// takeTrace collects the octets that MAIL announced by XTRACE and returns what follows them.
func (ses *session) takeTrace(p []byte) []byte {
	n := min(ses.trace, len(p))
	ses.prefix = append(ses.prefix, p[:n]...)
	if ses.trace -= n; ses.trace == 0 {
		ses.traced()
	}
	return p[n:]
}

// traced gives the trace fields to the transaction: the last one first, because Trace adds on top.
func (ses *session) traced() {
	if ses.failure != nil {
		return
	}
	fields, err := parseTrace(ses.prefix)
	if err != nil {
		ses.spoil(mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Trace fields are malformed").Because(err))
		return
	}
	for i := len(fields) - 1; i >= 0; i-- {
		ses.tx.Trace(fields[i])
	}
	ses.prefix = nil
}

var errTrace = errors.New("trace is not a sequence of header fields")

// parseTrace reads header fields as mail.Field.Append writes them, the topmost first.
func parseTrace(b []byte) ([]mail.Field, error) {
	var fields []mail.Field
	for len(b) > 0 {
		end := bytes.Index(b, []byte("\r\n"))
		for end >= 0 && end+2 < len(b) && (b[end+2] == ' ' || b[end+2] == '\t') {
			next := bytes.Index(b[end+2:], []byte("\r\n"))
			if next < 0 {
				return nil, errTrace
			}
			end += 2 + next
		}
		if end < 0 {
			return nil, errTrace
		}
		name, value, ok := strings.Cut(string(b[:end]), ":")
		if !ok || name == "" || !isFieldName(name) {
			return nil, errTrace
		}
		fields = append(fields, mail.Field{Name: name, Value: strings.TrimPrefix(value, " ")})
		b = b[end+2:]
	}
	return fields, nil
}

func isFieldName(s string) bool { // RFC 5322 section 2.2
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return true
}

// chunk takes the octets of one BDAT (RFC 3030 section 2).
func (ses *session) chunk(size int64, last bool) {
	if ses.contents.IsZero() {
		ses.contents = time.Now().Add(ses.set.content)
	}
	ses.w.grow()
	for left := size; left > 0 && !ses.closing; {
		if ses.w.buffered() == 0 && !ses.more() {
			return
		}
		p := ses.w.buf[ses.w.r:ses.w.w]
		p = p[:min(int64(len(p)), left)]
		if ses.failure == nil && !ses.st.binary {
			if ses.lines.check(p) != nil || ses.nuls.check(p) != nil {
				ses.spoil(&replySmuggle)
			}
		}
		ses.take(p)
		ses.w.r += len(p)
		left -= int64(len(p))
	}
	switch {
	case ses.closing:
	case last:
		ses.endLines()
		ses.commit()
	case ses.failure != nil:
		ses.failChunk()
	default:
		ses.reply(mail.NewReply(250, mail.Enhanced{2, 0, 0}, "%d octets received", size))
	}
}

// endLines refuses what may not stand at the end of content that came by BDAT.
func (ses *session) endLines() {
	if ses.failure == nil && !ses.st.binary && (ses.lines.end() != nil || ses.nuls.end() != nil) {
		ses.spoil(&replySmuggle)
	}
}

// failChunk answers a chunk that failed before the last one: with one reply, also in LMTP. What is still under way finds
// no transaction (RFC 3030 section 2).
func (ses *session) failChunk() {
	r := ses.failure
	ses.finish()
	ses.refuse(r)
}

// discard reads octets that belong to a refused command.
func (ses *session) discard(size int64, r *mail.Reply) {
	if size > 2*ses.set.maxMessage {
		ses.reply(r)
		ses.closing, ses.rude = true, true
		return
	}
	ses.contents = time.Now().Add(ses.set.content)
	for left := size; left > 0; {
		if ses.w.buffered() == 0 && !ses.more() {
			return
		}
		n := min(int64(ses.w.buffered()), left)
		ses.w.r += int(n)
		left -= n
	}
	ses.contents = time.Time{}
	ses.refuse(r)
}

// traceCommand takes the octets of XTRACE.
func (ses *session) traceCommand(size int64) {
	if ses.contents.IsZero() {
		ses.contents = time.Now().Add(ses.set.content)
	}
	ses.trace = int(size)
	for ses.trace > 0 {
		if ses.w.buffered() == 0 && !ses.more() {
			return
		}
		n := len(ses.takeTrace(ses.w.buf[ses.w.r:ses.w.w]))
		ses.w.r = ses.w.w - n
	}
	if ses.failure != nil {
		ses.failChunk()
		return
	}
	ses.reply(&replyOK)
}

// commit ends the content and answers for it: LMTP with a reply for each accepted recipient (RFC 2033 section 4.2),
// ESMTP with the one on which they agree.
func (ses *session) commit() {
	accepted, tx := ses.st.accepted, ses.tx
	if ses.failure == nil && ses.trace > 0 {
		ses.spoil(mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Content is shorter than its trace"))
	}
	var replies []mail.Reply
	fail := ses.failure
	if fail == nil {
		var err error
		if replies, err = tx.Commit(ses.ctx); err != nil {
			fail = refusal(err)
		}
	}
	octets := ses.got
	ses.tx = nil
	utf8 := ses.st.rules.utf8
	ses.finish()
	ses.st.rules.utf8 = utf8
	took := ses.answer(replies, fail, accepted)
	ses.st.rules.utf8 = false
	if took > 0 {
		ses.commands = 0
		ses.stats.Messages++
		ses.stats.Recipients += took
		ses.stats.Octets += octets
	}
}

// answer gives the replies of a transaction: in LMTP one for each accepted recipient, in ESMTP the one on which they
// agree; fail, if it is not nil, for all of them. It returns how many were positive.
func (ses *session) answer(replies []mail.Reply, fail *mail.Reply, accepted int) (took int) {
	switch {
	case fail != nil:
		replies = replies[:0]
		n := accepted
		if !ses.st.lmtp {
			n = 1
		}
		for range n {
			replies = append(replies, *fail)
		}
	case !ses.st.lmtp:
		ses.one[0] = mail.Agree(replies)
		replies = ses.one[:]
	default:
		for len(replies) < accepted { // a fault of the Door; nobody may believe that he was answered
			replies = append(replies, mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 3, 0}, Text: "No answer for this recipient"})
		}
		replies = replies[:accepted]
	}
	for i := range replies {
		r := &replies[i]
		if r.Positive() {
			took++
		} else if r.Code/100 != 4 && r.Code/100 != 5 {
			*r = mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 3, 0}, Text: "Temporary local problem"}
		}
		ses.reply(r)
	}
	return took
}
