package management

import "time"

// Domain is a domain of the house.
type Domain struct {
	Name     string    `json:"name"`
	Unicode  string    `json:"unicode,omitempty"` // if it differs
	Created  time.Time `json:"created"`
	Accounts int       `json:"accounts,omitempty"` // told by domain/show
	Aliases  int       `json:"aliases,omitempty"`
	Lists    int       `json:"lists,omitempty"`

	Separators string    `json:"separators,omitempty"` // between a local part and its detail; "": the default, "none"
	AliasOf    string    `json:"alias_of,omitempty"`   // the domain that it is another name of
	Rules      []MapRule `json:"rules,omitempty"`
}

// Account is a person or thing with a mailbox.
type Account struct {
	ID      uint64    `json:"id"`
	Address string    `json:"address"`
	Admin   bool      `json:"admin"`
	Enabled bool      `json:"enabled"`
	Quota   int64     `json:"quota"` // octets; 0: no limit
	Created time.Time `json:"created"`
	Usage   *Usage    `json:"usage,omitempty"` // told by account/show

	QuotaMessages int64    `json:"quota_messages,omitempty"` // 0: no limit
	PlusFolders   bool     `json:"plus_folders,omitempty"`   // mail to alice+work goes to the folder work
	SendAs        []string `json:"send_as,omitempty"`        // told by account/show: granted beside its own addresses
}

// Usage is what an account holds.
type Usage struct {
	Octets    int64 `json:"octets"`
	Messages  int64 `json:"messages"`
	Mailboxes int   `json:"mailboxes"`
}

// Alias is an address that leads to others.
type Alias struct {
	Address string    `json:"address"`
	Targets []string  `json:"targets"`
	Created time.Time `json:"created"`
}

// Entry is a message in the queue.
type Entry struct {
	ID         string      `json:"id"`
	Arrival    time.Time   `json:"arrival"`
	Size       int64       `json:"size"`
	Sender     string      `json:"sender"` // "" is the null reverse-path
	Account    string      `json:"account,omitempty"`
	MessageID  string      `json:"message_id,omitempty"`
	Open       int         `json:"open"` // recipients still to be served
	Recipients []Recipient `json:"recipients"`
}

// Recipient is one recipient of an Entry.
type Recipient struct {
	Number      int        `json:"number"`
	Address     string     `json:"address"`
	Target      string     `json:"target,omitempty"` // if it is not the address
	Destination string     `json:"destination"`
	State       string     `json:"state"` // queued, deferred, held, active
	Attempts    int        `json:"attempts"`
	Next        *time.Time `json:"next,omitempty"` // absent: held without end
	Last        *Attempt   `json:"last,omitempty"`
}

// Attempt is what came of trying.
type Attempt struct {
	Time  time.Time `json:"time"`
	Host  string    `json:"host,omitempty"`
	TLS   string    `json:"tls,omitempty"`
	Reply string    `json:"reply"`
}

// QueueStats are numbers about the queue.
type QueueStats struct {
	Messages     int           `json:"messages"`
	Recipients   int           `json:"recipients"`
	Deferred     int           `json:"deferred"`
	Held         int           `json:"held"`
	Active       int           `json:"active"`
	Connections  int           `json:"connections"`
	Truncated    bool          `json:"truncated,omitempty"` // there are more than were counted
	Oldest       *time.Time    `json:"oldest,omitempty"`
	Destinations []Destination `json:"destinations"`
	Paused       []string      `json:"paused"`   // destinations, also those without mail
	Attempts     []Count       `json:"attempts"` // since this process began: taken, put-off, refused, unanswered
	TLS          []Count       `json:"tls"`      // since this process began: policy and result
}

// Count is how often something happened.
type Count struct {
	What  string `json:"what"`
	Count int64  `json:"count"`
}

// Destination is one place that mail waits for.
type Destination struct {
	Name        string     `json:"destination"`
	Recipients  int        `json:"recipients"`
	Connections int        `json:"connections"`
	Window      int        `json:"window"`
	Paused      bool       `json:"paused,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
	LastError   string     `json:"last_error,omitempty"`
}

// Store describes one database.
type Store struct {
	Name        string `json:"name"` // accounts, mails, queue
	Dir         string `json:"dir"`
	Format      int    `json:"format"`
	Position    uint64 `json:"position"`
	LiveOctets  int64  `json:"live_octets"`
	DeadOctets  int64  `json:"dead_octets"`
	IndexOctets int64  `json:"index_octets"`
	LogOctets   int64  `json:"log_octets"`
	FreeOctets  int64  `json:"free_octets"`
	Segments    int    `json:"segments"`
	Full        bool   `json:"full,omitempty"`
	Fenced      string `json:"fenced,omitempty"` // why it takes nothing any more
}

// Fault is damage that verify found.
type Fault struct {
	Store  string `json:"store"`
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	What   string `json:"what"`
}

// Room is a room of the house, as status shows it.
type Room struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
	Here bool   `json:"here"` // in the process that answers

	// Of a room in another process that is up: what that process says of itself.
	PID         int       `json:"pid,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Stopping    bool      `json:"stopping,omitempty"`
	Listeners   []string  `json:"listeners,omitempty"`
	Certificate string    `json:"certificate,omitempty"`
	Fenced      string    `json:"fenced,omitempty"`
}

// Status is the state of the house.
type Status struct {
	Version     string    `json:"version"`
	Running     bool      `json:"running"` // false: nobody serves, this was read from the disk
	PID         int       `json:"pid,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Hostname    string    `json:"hostname"`
	Dir         string    `json:"dir"`
	Listeners   []string  `json:"listeners,omitempty"`
	Certificate string    `json:"certificate,omitempty"` // names and end of validity
	Stopping    bool      `json:"stopping,omitempty"`
	Fenced      string    `json:"fenced,omitempty"`
	Rooms       []Room    `json:"rooms,omitempty"`

	Queue *QueueStats `json:"queue,omitempty"` // of a house that serves, if its queue answers

	FreeOctets int64 `json:"free_octets,omitempty"` // of the file system with the directory of the house
}

// Record is a DNS record to publish.
type Record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	Why   string `json:"why,omitempty"`
	Need  string `json:"need,omitempty"` // "required", "recommended", "optional"

	// Of dns/check: "live", "missing", "different", "unknown" (DNS did not answer), "" (nothing can be checked); and what was
	// found instead, or why.
	State string `json:"state,omitempty"`
	Found string `json:"found,omitempty"`
}

// CheckArgs is dns/check.
type CheckArgs struct {
	Name     string `json:"name"`
	Resolver string `json:"resolver,omitempty"` // asked in place of the configured one: address or address:port
}
