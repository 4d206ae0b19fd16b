package message

import "strings"

// BaseSubject returns the base subject of a decoded subject (RFC 5256 section 2.1) and whether it was a reply or a
// forward. Runs of white space become one space; case is kept, compare without it.
func BaseSubject(subject string) (base string, reply bool) {
	s := strings.Join(strings.Fields(subject), " ") // step 1
	for {
		for { // step 2
			trimmed := strings.TrimRight(s, " ")
			if n := len(trimmed) - len("(fwd)"); n >= 0 && strings.EqualFold(trimmed[n:], "(fwd)") {
				s, reply = trimmed[:n], true
				continue
			}
			s = trimmed
			break
		}
		for { // steps 3 to 5
			rest, ok := cutLeader(s)
			if !ok {
				s = rest
				break
			}
			s, reply = rest, true
		}
		inner, ok := cutForward(s) // step 6
		if !ok {
			return s, reply
		}
		s, reply = strings.TrimLeft(inner, " "), true
	}
}

// cutLeader removes subj-leader: *subj-blob subj-refwd. If there is none, the blobs are removed all the same, but not
// if nothing would be left; that is what removing them one after the other comes to.
func cutLeader(s string) (rest string, ok bool) {
	rest = s
	for {
		after, ok := cutBlob(rest)
		if !ok {
			break
		}
		s, rest = rest, after
	}
	if after, ok := cutRefwd(rest); ok {
		return after, true
	}
	if rest == "" {
		return s, false
	}
	return rest, false
}

// cutRefwd removes subj-refwd: ("re" / "fw" / "fwd") *WSP [subj-blob] ":", and white space after it.
func cutRefwd(s string) (string, bool) {
	rest := s
	switch {
	case len(s) >= 3 && strings.EqualFold(s[:3], "fwd"):
		rest = s[3:]
	case len(s) >= 2 && (strings.EqualFold(s[:2], "re") || strings.EqualFold(s[:2], "fw")):
		rest = s[2:]
	default:
		return s, false
	}
	rest, _ = cutBlob(strings.TrimLeft(rest, " "))
	if !strings.HasPrefix(rest, ":") {
		return s, false
	}
	return strings.TrimLeft(rest[1:], " "), true
}

// cutBlob removes subj-blob: "[" *BLOBCHAR "]" *WSP.
func cutBlob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[end+2:], " "), true
}

// cutForward removes subj-fwd-hdr and subj-fwd-trl: "[fwd:" ... "]".
func cutForward(s string) (string, bool) {
	if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || s[len(s)-1] != ']' {
		return s, false
	}
	return s[5 : len(s)-1], true
}
