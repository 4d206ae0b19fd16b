package imap

import "time"

// Limits bounds what a client may ask for. A field that is zero stands for its default.
type Limits struct {
	CommandOctets         int   // one command with its literals, but not the messages of APPEND; 0: 1 MiB
	LoginOctets           int   // one command before login; 0: 48 KiB (the largest legal ID, RFC 2971 section 3.3, and SASL responses fit)
	MessageOctets         int64 // one message of APPEND; 0: 50 MiB; announced as APPENDLIMIT
	AppendMessages        int   // messages of one APPEND (RFC 3502); 0: 1000
	SkipOctets            int64 // octets of a non-synchronizing literal (a message: MessageOctets, if that is more), or of a line that is too long, that are read and thrown away to keep the connection; beyond it is closed (RFC 7888 section 4); 0: 1 MiB
	Depth                 int   // parentheses, NOT and OR within each other; 0: 50
	ListItems             int   // items of one list: flags, fetch items, search keys, patterns, ranges of a set; 0: 10000
	HeaderOctets          int   // of a header that is not kept beside the message, looked through for HEADER.FIELDS; fields beyond are not found; 0: 1 MiB
	NameOctets            int   // one mailbox name; 0: 1000
	KeywordOctets         int   // one keyword; 0: 255
	Keywords              int   // keywords in one command; 0: 1000
	Contexts              int   // searches of a selected mailbox whose results are kept up to date (RFC 5267 section 4.3.1); 0: 8
	NotifyGroups          int   // groups of events in one NOTIFY (RFC 5465); 0: 100
	CommandMessages       int   // messages of one FETCH, STORE, SEARCH, SORT, THREAD, MOVE, COPY, UID EXPUNGE or APPEND (RFC 9738); 0: 10 million, negative: no limit
	Errors                int   // BAD answers in a row before the connection is closed; 0: 20
	LoginFailures         int   // before the connection is closed; 0: 3
	Connections           int   // at the same time; 0: 20000
	ConnectionsPerAddress int   // an IPv6 /64 counts as one address; loopback is not counted; 0: 100

	LoginTimeout time.Duration // from connection to login, however slowly commands drip in; 0: 2 minutes
	IdleTimeout  time.Duration // between commands, and in IDLE; 0: 31 minutes (RFC 9051 section 5.4 wants 30 at least)
	ReadTimeout  time.Duration // between octets within a command; 0: 2 minutes
	WriteTimeout time.Duration // each write of at most some ten KiB; 0: 2 minutes
	LoginDelay   time.Duration // before a failed login is answered; 0: 1 second, negative: none
}

func (l Limits) withDefaults() Limits {
	def(&l.CommandOctets, 1<<20)
	def(&l.LoginOctets, 48<<10)
	def(&l.MessageOctets, 50<<20)
	def(&l.AppendMessages, 1000)
	def(&l.SkipOctets, 1<<20)
	def(&l.Depth, 50)
	def(&l.ListItems, 10000)
	def(&l.HeaderOctets, 1<<20)
	def(&l.NameOctets, 1000)
	def(&l.KeywordOctets, 255)
	def(&l.Keywords, 1000)
	def(&l.Contexts, 8)
	def(&l.NotifyGroups, 100)
	if l.CommandMessages == 0 {
		l.CommandMessages = 10_000_000
	}
	def(&l.Errors, 20)
	def(&l.LoginFailures, 3)
	def(&l.Connections, 20000)
	def(&l.ConnectionsPerAddress, 100)
	def(&l.LoginTimeout, 2*time.Minute)
	def(&l.IdleTimeout, 31*time.Minute)
	def(&l.ReadTimeout, 2*time.Minute)
	def(&l.WriteTimeout, 2*time.Minute)
	if l.LoginDelay == 0 {
		l.LoginDelay = time.Second
	}
	return l
}

func def[T int | int64 | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}
