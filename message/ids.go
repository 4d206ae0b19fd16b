package message

import "bytes"

// MaxMessageIDs is the most ids that MessageIDs returns.
const MaxMessageIDs = 1000

// MessageIDs returns the ids of a Message-ID, In-Reply-To or References field (RFC 5322 section 3.6.4), without the
// angle brackets, quoting removed, so that two ids are the same if their strings are. Words between them are passed
// over. A field without any brackets is read as bare ids, as some programs write them: words with an "@".
func MessageIDs(raw []byte) []string {
	s := scanner{b: Unfold(raw)}
	var ids []string
	for s.i < len(s.b) && len(ids) < MaxMessageIDs {
		switch s.b[s.i] {
		case '(':
			s.comment()
		case '"': // the phrase of an obsolete In-Reply-To
			s.quoted()
		case '<':
			s.i++
			if id := s.messageID(); id != "" {
				ids = append(ids, id)
			}
		default:
			s.i++
		}
	}
	if ids == nil && bytes.IndexByte(s.b, '<') < 0 {
		return bareIDs(s.b)
	}
	return ids
}

// messageID reads up to ">", or to "<" of the next if that is missing.
func (s *scanner) messageID() string {
	var id []byte
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '>':
			s.i++
			return string(id)
		case c == '<':
			return string(id)
		case c == '"':
			id = append(id, s.quoted()...)
		case isSpace(c):
			s.i++
		default:
			id = append(id, c)
			s.i++
		}
	}
	return string(id)
}

func bareIDs(b []byte) []string {
	var ids []string
	for w := range bytes.FieldsFuncSeq(b, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		if bytes.IndexByte(w, '@') > 0 && len(ids) < MaxMessageIDs {
			ids = append(ids, string(w))
		}
	}
	return ids
}
