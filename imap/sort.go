package imap

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// SortEntry is what SORT (RFC 5256 section 3, RFC 5957) compares of one message. Only what the keys ask for needs to
// be filled; strings are folded (Fold).
type SortEntry struct {
	UID                    UID
	Arrival                time.Time // INTERNALDATE
	Sent                   time.Time // RFC 5256 section 2.2
	Size                   int64
	Subject                string // base subject
	From, To, Cc           string // local part of the first address
	DisplayFrom, DisplayTo string // RFC 5957 section 3
}

// SortNeeds returns what SortEntryOf must find in a Message for these keys.
func SortNeeds(keys []SortKey) Need {
	var n Need
	for _, k := range keys {
		switch k.Key {
		case "ARRIVAL":
			n |= NeedDates
		case "SIZE":
			n |= NeedSize
		case "DATE":
			n |= NeedDates | NeedHeader | NeedContent
		default:
			n |= NeedHeader | NeedContent
		}
	}
	return n
}

var sortFields = []string{"date", "subject", "from", "to", "cc"}

// SortEntryOf reads an entry out of a message.
func SortEntryOf(ctx context.Context, m *Message, keys []SortKey) (SortEntry, error) {
	e := SortEntry{UID: m.UID, Arrival: m.InternalDate, Size: m.Size}
	if SortNeeds(keys)&NeedHeader == 0 {
		return e, nil
	}
	h, err := (&candidate{Message: m}).header(ctx, sortFields)
	if err != nil {
		return e, err
	}
	e.Fill(h, keys)
	return e, nil
}

// Fill fills in what the keys ask for out of a header; INTERNALDATE must be there for a sent date.
func (e *SortEntry) Fill(h *message.Header, keys []SortKey) {
	for _, k := range keys {
		switch k.Key {
		case "DATE":
			e.Sent = SentDate(h.Get("Date"), e.Arrival)
		case "SUBJECT":
			base, _ := message.BaseSubject(h.Text("Subject"))
			e.Subject = Fold(base)
		case "FROM":
			e.From, _ = sortAddress(h.Get("From"))
		case "TO":
			e.To, _ = sortAddress(h.Get("To"))
		case "CC":
			e.Cc, _ = sortAddress(h.Get("Cc"))
		case "DISPLAYFROM":
			_, e.DisplayFrom = sortAddress(h.Get("From"))
		case "DISPLAYTO":
			_, e.DisplayTo = sortAddress(h.Get("To"))
		}
	}
}

// SentDate is the sent date of RFC 5256 section 2.2: the Date field, else INTERNALDATE.
func SentDate(field []byte, internal time.Time) time.Time {
	if t, ok := message.ParseDate(field); ok {
		return t.UTC()
	}
	return internal.UTC()
}

// sortAddress gives the folded local part and display name of the first address of a field.
func sortAddress(field []byte) (local, display string) {
	for _, a := range message.ParseAddressList(field) {
		if a.Group {
			// RFC 5256 section 3 sorts by the mailbox of the first address structure: of a group that is its name
			return Fold(a.RawName), Fold(a.Name)
		}
		return Fold(a.Address.Local), displayName(a.Name, a.Address)
	}
	return "", ""
}

// displayName: RFC 5957 section 3.
func displayName(name string, a mail.Address) string {
	if name != "" {
		return Fold(name)
	}
	if a.Domain == "" {
		return Fold(a.Local)
	}
	return Fold(a.Local + "@" + a.Domain)
}

// SortUIDs orders entries, which it reorders, by the keys; equal ones by UID, also under REVERSE (RFC 5256 section 3).
func SortUIDs(entries []SortEntry, keys []SortKey) []UID {
	slices.SortFunc(entries, func(a, b SortEntry) int {
		for _, k := range keys {
			d := compareBy(&a, &b, k.Key)
			if k.Reverse {
				d = -d
			}
			if d != 0 {
				return d
			}
		}
		return cmp.Compare(a.UID, b.UID)
	})
	out := make([]UID, len(entries))
	for i := range entries {
		out[i] = entries[i].UID
	}
	return out
}

func compareBy(a, b *SortEntry, key string) int {
	switch key {
	case "ARRIVAL":
		return a.Arrival.Compare(b.Arrival)
	case "DATE":
		return a.Sent.Compare(b.Sent)
	case "SIZE":
		return cmp.Compare(a.Size, b.Size)
	case "SUBJECT":
		return strings.Compare(a.Subject, b.Subject)
	case "FROM":
		return strings.Compare(a.From, b.From)
	case "TO":
		return strings.Compare(a.To, b.To)
	case "CC":
		return strings.Compare(a.Cc, b.Cc)
	case "DISPLAYFROM":
		return strings.Compare(a.DisplayFrom, b.DisplayFrom)
	case "DISPLAYTO":
		return strings.Compare(a.DisplayTo, b.DisplayTo)
	}
	return 0
}
