package pop3

import "time"

// Limits bounds what a client may do. A field that is zero stands for its default.
type Limits struct {
	LineOctets            int // of a command with its CRLF; 0: 1024 (RFC 2449 section 4 asks for 255)
	AuthOctets            int // of AUTH and of a SASL response; 0: 12288 (RFC 5034 section 4)
	Commands              int // of one session; 0: 2,000,000
	Errors                int // unknown or senseless commands in a row before the connection is closed; 0: 20
	LoginFailures         int // before the connection is closed; 0: 3
	Messages              int // listed, the oldest; the next ones come once these are deleted; 0: 500,000
	HeaderOctets          int // of a header that is looked through for UTF-8; 0: 256 KiB
	Connections           int // at the same time; 0: 10000
	ConnectionsPerAddress int // an IPv6 /64 counts as one address; loopback is not counted; 0: 50
	Accounts              int // whose last login is remembered for LoginInterval; 0: 100,000

	LoginTimeout  time.Duration // from connection to login, however slowly commands drip in; 0: 2 minutes
	IdleTimeout   time.Duration // from the end of one command to the end of the next, however slowly it drips in; 0: 10 minutes, the least that RFC 1939 section 3 allows
	WriteTimeout  time.Duration // each write of at most some ten KiB; 0: 2 minutes
	FailureDelay  time.Duration // before a failed login is answered; 0: 1 second, negative: none
	LoginInterval time.Duration // between two logins to one account, announced as LOGIN-DELAY (RFC 2449 section 6.5); 0: any
	DrainTime     time.Duration // for QUIT in sessions with marked messages when the server stops; 0: 5 seconds, negative: none
}

func (l Limits) withDefaults() Limits {
	def(&l.LineOctets, 1024)
	def(&l.AuthOctets, 12288)
	def(&l.Commands, 2_000_000)
	def(&l.Errors, 20)
	def(&l.LoginFailures, 3)
	def(&l.Messages, 500_000)
	def(&l.HeaderOctets, 256<<10)
	def(&l.Connections, 10_000)
	def(&l.ConnectionsPerAddress, 50)
	def(&l.Accounts, 100_000)
	def(&l.LoginTimeout, 2*time.Minute)
	def(&l.IdleTimeout, 10*time.Minute)
	def(&l.WriteTimeout, 2*time.Minute)
	if l.FailureDelay == 0 {
		l.FailureDelay = time.Second
	}
	if l.DrainTime == 0 {
		l.DrainTime = 5 * time.Second
	}
	return l
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}
