package imap

import "time"

// Criteria is a tree of search keys (RFC 3501 section 6.4.4) with sequence numbers already turned into UIDs. All fields that are
// set must hold; the zero Criteria matches everything. Strings are UTF-8.
type Criteria struct {
	UIDs    []UIDSet // the message is in each of them
	Flags   Flags    // all set
	NotFlag Flags    // none set
	Recent  *bool    // the server fills UIDs instead where it can

	Since, Before         time.Time // INTERNALDATE, whole days, zone disregarded; zero: no bound (ON is both)
	SentSince, SentBefore time.Time // Date field, likewise
	SavedSince            time.Time // RFC 8514
	SavedBefore           time.Time
	Younger, Older        time.Duration // RFC 5032; zero: no bound
	Larger, Smaller       *int64
	ModSeq                ModSeq // at least (RFC 7162)
	EmailID, ThreadID     string // RFC 8474

	Header []HeaderKey
	Body   []string // each is a substring of the decoded text
	Text   []string // likewise, of header or text

	Not []Criteria    // none matches
	Or  [][2]Criteria // of each pair at least one matches
}

// HeaderKey matches a field whose decoded value contains Value; an empty Value matches any field of that name.
type HeaderKey struct{ Name, Value string }

// SortKey is one key of SORT (RFC 5256, RFC 5957).
type SortKey struct {
	Key     string // ARRIVAL CC DATE FROM SIZE SUBJECT TO DISPLAYFROM DISPLAYTO, upper case
	Reverse bool
}
