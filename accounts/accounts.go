// Package accounts is the room that knows who exists: domains, accounts with their passwords, aliases. It alone
// owns the database it is given.
//
//	acc, err := accounts.Open(ctx, accounts.Config{Engine: engine})
//	err = acc.AddDomain(ctx, "example.test")
//	a, err := acc.AddAccount(ctx, "alice@example.test", accounts.Options{Password: pw, Admin: true})
//	res, err := acc.Resolve(ctx, mail.Address{Local: "Alice+lists", Domain: "Example.test"})
//
// Promises. Accounts is safe for concurrent use. A change that returned nil is on disk and is seen by every call
// that begins afterwards. IDs are never given twice. Addresses of our domains are compared without case, in
// Unicode NFC; a domain is kept as A-labels (RFC 5890). Where an address goes is answered from memory in the
// common case, in memory bounded by Config. Passwords are kept as argon2id, with SCRAM keys beside.
package accounts

import (
	"io"
	"log/slog"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Limits of what is kept.
const (
	MaxDomains         = 100_000         // the list of domains is held in memory
	MaxTargets         = mail.MaxTargets // of one alias, and of all it leads to
	MaxAliasDepth      = 32              // aliases of aliases that a new one may lead through
	MaxPasswordOctets  = 1024
	maxCanonicalOctets = 4 * mail.MaxLocalOctets // of a local part, after folding
)

// Config says what Open needs.
type Config struct {
	Engine store.Engine     // of this room alone; the caller closes it, after the last call
	Clock  func() time.Time // nil: time.Now
	Rand   io.Reader        // nil: crypto/rand
	Log    *slog.Logger     // nil: none

	CacheOctets     int64         // of resolved names and accounts in memory; 0: 32 MiB
	ContactOctets   int64         // of contacts in memory; 0: 16 MiB
	MaxContacts     int           // of one account that its owner may make; 0: MaxContacts
	Networks        mail.Networks // what counts as one sender's network, where he is known by nothing else
	Separators      string        // octets that part a local part from its detail; "": "+"
	Hash            HashParams    // zero fields: the defaults
	LoginTTL        time.Duration // how long a verified password is remembered; 0: 1 hour, < 0: not at all
	MaxLogins       int           // verified passwords remembered; 0: 100,000
	MaxHashes       int           // argon2id computed at once; 0: as many as there are CPUs
	MaxHashesQueued int           // logins waiting for that; 0: 256; above: 454 4.7.0
}

// HashParams says how new passwords are hashed. Older ones are hashed anew at the next login.
type HashParams struct {
	MemoryKiB       uint32 // argon2id; 0: 19456 (19 MiB)
	Passes          uint32 // argon2id; 0: 2
	Threads         uint8  // argon2id; 0: 1
	ScramIterations int    // SCRAM; 0: sasl.DefaultIterations
}

// Domain is a domain of ours.
type Domain struct {
	Name    string // A-labels, lower case
	Unicode string // U-labels, to show
	Created time.Time

	// Separators are the octets that part a local part from its detail (alice+lists); "": those of Config; NoSeparators:
	// none.
	Separators string
	// AliasOf is the domain of ours whose addresses this one has too, and no others; "": it has addresses of its own.
	AliasOf string
	// Rules turn addresses that nobody has into others; the first that matches decides.
	Rules []MapRule

	compiled []compiledRule
}

// Account is a person or a thing that receives mail and may log in.
type Account struct {
	ID      uint64       // never given twice; 1 is the first
	Address mail.Address // canonical: the domain as A-labels, all in lower case
	Admin   bool
	Enabled bool  // false: no login, no mail
	Quota   int64 // octets; 0: no limit
	Created time.Time

	QuotaMessages int64 // 0: no limit
	// PlusFolders delivers to alice+work@ into the folder "work", which is made if it is not there.
	PlusFolders bool
}

// Alias is an address that leads to others. The local part CatchAll stands for every address of its domain that nobody has.
type Alias struct {
	Address mail.Address   // canonical
	Targets []mail.Address // canonical, ours or elsewhere, in the order given
	Created time.Time
}

// Options is what AddAccount takes besides the address.
type Options struct {
	Password string // "": nobody can log in until SetPassword
	Admin    bool
	Quota    int64 // octets; 0: no limit

	QuotaMessages int64 // 0: no limit
	PlusFolders   bool
}

// Change is what SetAccount changes; nil stays.
type Change struct {
	Admin   *bool
	Enabled *bool
	Quota   *int64 // octets; 0: no limit

	QuotaMessages *int64 // 0: no limit
	PlusFolders   *bool
}

// Resolution is where the mail to an address goes.
type Resolution struct {
	OurDomain bool
	Disabled  bool          // leads only to accounts that are disabled
	Alias     bool          // the address is an alias, or postmaster or abuse without one
	Targets   []mail.Target // none: there is no such user, or Disabled
	Accounts  []uint64      // IDs of the local targets, 0 for a remote one; as long as Targets
	Gated     []bool        // those whose owners decide who may write to them: see Decide; nil: none
	Lists     []bool        // those that are lists, which are Remote; nil: none
	Rewritten []Rewrite     // what rules of domains made of it, in order; nil: nothing
	Since     time.Time     // when the newest account, alias or list on the way was made; zero for a role

	shared bool // disabled accounts were left out
}

// Owner is whose mail a local address is.
type Owner struct {
	ID      uint64
	Address mail.Address // canonical, without detail
	Detail  string       // what followed the separator, as written
	Enabled bool
	Quota   int64 // octets; 0: no limit

	QuotaMessages int64 // 0: no limit
	PlusFolders   bool  // make the folder that Detail names
}
