package qm

import (
	"time"

	"github.com/samotop/samotop/mail"
)

// Filter chooses messages. Zero fields match all; what is set must match all together.
type Filter struct {
	Sender      string        // address, or @domain, of the reverse-path, without case; "<>" for null
	Recipient   string        // address, or @domain, of any recipient, without case
	Destination string        // domain or next hop
	State       State         // any recipient in this state
	OlderThan   time.Duration // in the queue for longer
	After       string        // id of the last message of the page before
	Limit       int           // messages in a page; default 100, at most 1000
}

// State of a recipient.
type State string

const (
	StateQueued   State = "queued"   // due, or about to be
	StateDeferred State = "deferred" // tried, waits for its time
	StateHeld     State = "held"     // by an admin, or until a time the sender chose
	StateActive   State = "active"   // being delivered now
)

// Entry describes one message in the queue.
type Entry struct {
	ID         string
	Arrival    time.Time
	Size       int64 // octets of the body
	Sender     mail.Sender
	Account    string // who submitted it, "" if nobody logged in
	MessageID  string // of its header, with brackets; "" if unknown
	Open       int    // recipients still to be served
	Recipients []EntryRecipient
}

// EntryRecipient is one recipient of an Entry.
type EntryRecipient struct {
	Number      int
	Address     mail.Address // as it was given
	Target      mail.Target  // where it goes
	Destination string
	State       State
	Attempts    int
	Next        time.Time // zero if held without end
	Last        Attempt   // zero if never tried
}

// Attempt is what came of trying.
type Attempt struct {
	Time  time.Time
	Host  string     // who answered: name and address; "" if it was us
	TLS   string     // version and cipher, and by what the certificate was believed; "" in clear
	Reply mail.Reply // without its cause
}

// Page is a part of the queue in the order of arrival.
type Page struct {
	Entries []Entry
	Next    string // Filter.After of the next page; "" at the end. A page may be short, even empty, and not be the last
}

// Stats are numbers about the queue; those of the whole queue are counted up to a million rows.
type Stats struct {
	Messages     int
	Recipients   int
	Deferred     int
	Held         int
	Oldest       time.Time
	Truncated    bool // there are more than a million rows, which were not counted
	Active       int  // transactions under way
	Connections  int
	Destinations []DestinationStats // most recipients first, at most 50
	Paused       []string           // destinations that are paused, also those without mail
}

// DestinationStats are numbers about one destination.
type DestinationStats struct {
	Destination string
	Recipients  int
	Connections int
	Window      int       // connections allowed now
	Until       time.Time // not tried before; zero if it is
	LastError   string
	Paused      bool
}
