package qm

// Route sends mail for the domains that match to a fixed place, past MX.
type Route struct {
	Domain string // "example.org"; "*.example.org" for what is below it; "*" for all; "." prefix is the same as "*."
	To     string // smtp://host[:25], smtps://host[:465], lmtp://host[:24], unix:/path (LMTP); "mx" for MX after all
}
