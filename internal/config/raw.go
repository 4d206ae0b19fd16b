package config

// raw is one file as it stands: nil means "not said here".
type raw struct {
	Hostname *string    `toml:"hostname"`
	TLS      rawTLS     `toml:"tls"`
	DNS      rawDNS     `toml:"dns"`
	MTA      rawMTA     `toml:"mta"`
	MSA      rawMSA     `toml:"msa"`
	Mailbox  rawMailbox `toml:"mailbox"`
	Journal  rawJournal `toml:"journal"`
	OAuth    rawOAuth   `toml:"oauth"`
	Reports  rawReports `toml:"reports"`
	QM       rawQM      `toml:"qm"`
	HTTPS    rawHTTPS   `toml:"https"`
	Links    rawLinks   `toml:"links"`
	Metrics  rawMetrics `toml:"metrics"`
	Guard    rawGuard   `toml:"guard"`
}

type rawMetrics struct {
	Listen *[]string `toml:"listen"`
}

type rawTLS struct {
	Cert *string `toml:"cert"`
	Key  *string `toml:"key"`
	CA   *string `toml:"ca"`

	ClientCA *string  `toml:"client_ca"`
	ACME     *rawACME `toml:"acme"`
}

type rawACME struct {
	Agree        *bool   `toml:"agree"`
	Directory    *string `toml:"directory"`
	Email        *string `toml:"email"`
	CA           *string `toml:"ca"`
	HTTP         *string `toml:"http"`
	TLSALPN      *string `toml:"tls_alpn"`
	DNSServer    *string `toml:"dns_server"`
	DNSKey       *string `toml:"dns_key"`
	DNSKeyFile   *string `toml:"dns_key_file"`
	DNSAlgorithm *string `toml:"dns_algorithm"`
	DNSWait      *string `toml:"dns_wait"`
}

type rawDNS struct {
	Resolver *[]string `toml:"resolver"`
	TrustAD  *bool     `toml:"trust_ad"`
	TLS      *string   `toml:"tls"`
}

type rawMTA struct {
	Listen                   *[]string `toml:"listen"`
	MaxMessageBytes          *int64    `toml:"max_message_bytes"`
	MaxRecipients            *int      `toml:"max_recipients"`
	MaxConnections           *int      `toml:"max_connections"`
	MaxConnectionsPerAddress *int      `toml:"max_connections_per_address"`
	Trusted                  *[]string `toml:"trusted"`
	Proxy                    *bool     `toml:"proxy"`
	Checks                   any       `toml:"checks"`
	Sealers                  *[]string `toml:"sealers"`
}

type rawMSA struct {
	Listen *[]string `toml:"listen"`
	Proxy  *bool     `toml:"proxy"`
	DKIM   *bool     `toml:"dkim"`

	Local        *bool     `toml:"local"`
	LocalDomain  *string   `toml:"local_domain"`
	TrustedUsers *[]string `toml:"trusted_users"`
}

type rawMailbox struct {
	Listen            *[]string `toml:"listen"`
	Proxy             *bool     `toml:"proxy"`
	PlaintextLoopback *bool     `toml:"plaintext_loopback"`
}

type rawReports struct {
	DMARC     *bool     `toml:"dmarc"`
	Failures  *bool     `toml:"failures"`
	Addresses *[]string `toml:"addresses"`
}

type rawJournal struct {
	Days     *int64 `toml:"days"`
	MaxBytes *int64 `toml:"max_bytes"`
}

type rawRoute struct {
	Domain *string `toml:"domain"`
	To     *string `toml:"to"`

	Sender         *string `toml:"sender"`
	Account        *string `toml:"account"`
	Fallback       *string `toml:"fallback"`
	FallbackAfter  *int    `toml:"fallback_after"`
	User           *string `toml:"user"`
	PasswordFile   *string `toml:"password_file"`
	TLS            *string `toml:"tls"`
	Hello          *string `toml:"hello"`
	Source         *string `toml:"source"`
	MaxConnections *int    `toml:"max_connections"`
	Interval       *string `toml:"interval"`

	at place
}

type rawLinks struct {
	Accounts   *string `toml:"accounts"`
	Rules      *string `toml:"rules"`
	Guard      *string `toml:"guard"`
	Mailbox    *string `toml:"mailbox"`
	MTA        *string `toml:"mta"`
	MSA        *string `toml:"msa"`
	QM         *string `toml:"qm"`
	Management *string `toml:"management"`
	Events     *string `toml:"events"`
	Evidence   *string `toml:"evidence"`
	Junk       *string `toml:"junk"`

	CA     *string            `toml:"ca"`
	Cert   *string            `toml:"cert"`
	Key    *string            `toml:"key"`
	Listen *map[string]string `toml:"listen"`
}

// merge lays a later file over an earlier one. Its routes come first.
func (r *raw) merge(later *raw) {
	over(&r.Hostname, later.Hostname)
	over(&r.TLS.Cert, later.TLS.Cert)
	over(&r.TLS.Key, later.TLS.Key)
	over(&r.TLS.CA, later.TLS.CA)
	over(&r.TLS.ClientCA, later.TLS.ClientCA)
	r.TLS.mergeACME(later.TLS.ACME)
	r.OAuth.merge(&later.OAuth)
	over(&r.DNS.Resolver, later.DNS.Resolver)
	over(&r.DNS.TrustAD, later.DNS.TrustAD)
	over(&r.DNS.TLS, later.DNS.TLS)
	over(&r.MTA.Listen, later.MTA.Listen)
	over(&r.MTA.MaxMessageBytes, later.MTA.MaxMessageBytes)
	over(&r.MTA.MaxRecipients, later.MTA.MaxRecipients)
	over(&r.MTA.MaxConnections, later.MTA.MaxConnections)
	over(&r.MTA.MaxConnectionsPerAddress, later.MTA.MaxConnectionsPerAddress)
	over(&r.MTA.Trusted, later.MTA.Trusted)
	over(&r.MTA.Proxy, later.MTA.Proxy)
	if later.MTA.Checks != nil {
		r.MTA.Checks = later.MTA.Checks
	}
	over(&r.MTA.Sealers, later.MTA.Sealers)
	over(&r.MSA.Listen, later.MSA.Listen)
	over(&r.MSA.Proxy, later.MSA.Proxy)
	over(&r.MSA.DKIM, later.MSA.DKIM)
	over(&r.MSA.Local, later.MSA.Local)
	over(&r.MSA.LocalDomain, later.MSA.LocalDomain)
	over(&r.MSA.TrustedUsers, later.MSA.TrustedUsers)
	over(&r.Mailbox.Listen, later.Mailbox.Listen)
	over(&r.Mailbox.Proxy, later.Mailbox.Proxy)
	over(&r.Mailbox.PlaintextLoopback, later.Mailbox.PlaintextLoopback)
	over(&r.Metrics.Listen, later.Metrics.Listen)
	over(&r.Reports.DMARC, later.Reports.DMARC)
	over(&r.Reports.Failures, later.Reports.Failures)
	over(&r.Reports.Addresses, later.Reports.Addresses)
	r.Guard.merge(&later.Guard)
	over(&r.Journal.Days, later.Journal.Days)
	over(&r.Journal.MaxBytes, later.Journal.MaxBytes)
	r.QM.merge(&later.QM)
	r.HTTPS.merge(&later.HTTPS)
	over(&r.Links.Listen, later.Links.Listen)
	l, m := &r.Links, &later.Links
	for _, p := range [][2]**string{
		{&l.Accounts, &m.Accounts}, {&l.Rules, &m.Rules}, {&l.Guard, &m.Guard}, {&l.Mailbox, &m.Mailbox}, {&l.MTA, &m.MTA},
		{&l.MSA, &m.MSA}, {&l.QM, &m.QM}, {&l.Management, &m.Management},
		{&l.Events, &m.Events}, {&l.Evidence, &m.Evidence}, {&l.Junk, &m.Junk}, {&l.CA, &m.CA}, {&l.Cert, &m.Cert}, {&l.Key, &m.Key},
	} {
		over(p[0], *p[1])
	}
}

func over[T any](dst **T, later *T) {
	if later != nil {
		*dst = later
	}
}
