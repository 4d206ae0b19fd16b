package imap

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// messageURL is an IMAP URL of a message or a part of one (RFC 5092).
type messageURL struct {
	mailbox  string // "": the selected one
	validity uint32 // 0: any
	uid      UID
	item     fetchItem // section and partial
}

// parseURL reads a URL that stands for a message of the account: an absolute path (RFC 5092 section 7.2), an absolute
// URL with the account as its user, or a path relative to the selected mailbox.
func parseURL(s, account string) (u messageURL, ok bool) {
	if len(s) > 7 && strings.EqualFold(s[:7], "imap://") {
		owner, path, is := splitServer(s)
		if !is || !owner.isOf(account) { // section 3.2: of another user, or of nobody
			return u, false
		}
		s = path
	}
	return parsePath(s)
}

// parsePath reads the path of a URL: a mailbox if it is absolute, and the message.
func parsePath(s string) (u messageURL, ok bool) {
	u.item.from = -1
	rest := s
	if strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "/;") {
		at := strings.Index(s, "/;")
		if at < 0 {
			return u, false
		}
		name, validity, has := cutFold(s[1:at], ";UIDVALIDITY=")
		if has {
			n, err := strconv.ParseUint(validity, 10, 32)
			if err != nil || n == 0 {
				return u, false
			}
			u.validity = uint32(n)
		}
		decoded, err := url.PathUnescape(name)
		if err != nil || decoded == "" {
			return u, false
		}
		u.mailbox, rest = CanonicalName(strings.TrimSuffix(decoded, "/")), s[at:]
	}
	return u, u.message(strings.TrimPrefix(rest, "/"))
}

// cutFold is strings.Cut with sep, upper case, matching in any case.
func cutFold(s, sep string) (before, after string, found bool) {
	if i := strings.Index(upper([]byte(s)), sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// message reads iuid, isection and ipartial (RFC 5092 section 11).
func (u *messageURL) message(s string) bool {
	last := 0
	for field := range strings.SplitSeq(s, "/;") {
		name, value, _ := strings.Cut(strings.TrimPrefix(field, ";"), "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return false
		}
		at := 0
		switch name = strings.ToUpper(name); name {
		case "UID":
			n, err := strconv.ParseUint(value, 10, 32)
			if at = 1; err != nil || n == 0 {
				return false
			}
			u.uid = UID(n)
		case "SECTION":
			at = 2
			p := &parser{b: []byte(value + "]"), l: &Limits{ListItems: 10000}}
			if p.section(&u.item) != nil || !p.atEnd() {
				return false
			}
		case "PARTIAL":
			from, n, has := strings.Cut(value, ".")
			f, err := strconv.ParseInt(from, 10, 62)
			if at = 3; err != nil || f < 0 {
				return false
			}
			u.item.from, u.item.octets = f, 1<<62
			if has {
				if u.item.octets, err = strconv.ParseInt(n, 10, 62); err != nil || u.item.octets < 1 {
					return false
				}
			}
		}
		if at <= last {
			return false
		}
		last = at
	}
	return u.uid != 0
}

// copy writes what the URL names of the message; false: there is no such thing. Fields are looked for in the first headerOctets
// of a header.
func (u *messageURL) copy(ctx context.Context, w io.Writer, m *Message, headerOctets int64) (bool, error) {
	sp := span{0, m.Content.Size()}
	if len(u.item.path) > 0 || u.item.text != textAll {
		var ok bool
		if sp, ok = u.item.spanOf(m.Parts); !ok {
			return false, nil
		}
	}
	if u.item.text == textFields || u.item.text == textNot {
		head, err := m.Content.Append(ctx, nil, sp.from, min(sp.to-sp.from, headerOctets))
		if err != nil {
			return true, err
		}
		b := appendFields(nil, head, u.item.fields, u.item.text == textNot)
		if u.item.from >= 0 {
			b = b[min(u.item.from, int64(len(b))):]
			b = b[:min(u.item.octets, int64(len(b)))]
		}
		_, err = io.Copy(w, bytes.NewReader(b))
		return true, err
	}
	if u.item.from >= 0 {
		sp.from = min(sp.from+min(u.item.from, sp.to), sp.to)
		sp.to = min(sp.to, sp.from+min(u.item.octets, sp.to))
	}
	return true, copySpan(ctx, w, m.Content, sp)
}

// copySpan writes a range of a message, in pieces.
func copySpan(ctx context.Context, w io.Writer, content Content, sp span) error {
	buf := make([]byte, 0, min(copyOctets, max(sp.to-sp.from, 0)))
	for off := sp.from; off < sp.to; {
		b, err := content.Append(ctx, buf[:0], off, min(copyOctets, sp.to-off))
		if err == nil && len(b) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}
