package smtp

import "strings"

// Extension is a set of service extensions (RFC 5321 section 2.2) that a Server offers.
type Extension uint32

const (
	ExtPipelining          Extension = 1 << iota // PIPELINING, RFC 2920
	ExtSize                                      // SIZE, RFC 1870
	Ext8BitMIME                                  // 8BITMIME, RFC 6152
	ExtBinaryMIME                                // BINARYMIME, RFC 3030; offered only with CHUNKING
	ExtChunking                                  // CHUNKING, RFC 3030
	ExtSMTPUTF8                                  // SMTPUTF8, RFC 6531; offered only with 8BITMIME
	ExtEnhancedStatusCodes                       // ENHANCEDSTATUSCODES, RFC 2034
	ExtDSN                                       // DSN, RFC 3461
	ExtRequireTLS                                // REQUIRETLS, RFC 8689; offered only under TLS
	ExtLimits                                    // LIMITS, RFC 9422
	ExtPriority                                  // MT-PRIORITY, RFC 6710
	ExtDeliverBy                                 // DELIVERBY, RFC 2852
	ExtFutureRelease                             // FUTURERELEASE, RFC 4865
	ExtRRVS                                      // RRVS, RFC 7293
	ExtNoSoliciting                              // NO-SOLICITING, RFC 3865
)

// DefaultExtensions are offered by a Server that does not say: those that ask nothing of the Door behind it.
// BINARYMIME, DSN, REQUIRETLS, MT-PRIORITY, DELIVERBY, FUTURERELEASE and RRVS are promises that a queue or a
// mailbox has to keep. STARTTLS and AUTH are offered whenever TLSConfig and Auth are set.
const DefaultExtensions = ExtPipelining | ExtSize | Ext8BitMIME | ExtChunking | ExtSMTPUTF8 |
	ExtEnhancedStatusCodes | ExtLimits

// LinkExtensions are what a link between rooms of one house has to carry: all that an envelope may hold. On a trusted
// connection REQUIRETLS is offered without TLS, too: a socket of this machine is no network.
const LinkExtensions = DefaultExtensions | ExtBinaryMIME | ExtDSN | ExtRequireTLS | ExtPriority | ExtDeliverBy |
	ExtFutureRelease | ExtRRVS | ExtNoSoliciting

// Extensions are what a server said in its reply to EHLO: keyword in upper case to its parameters.
type Extensions map[string]string

// Has reports whether the keyword was offered; in any case of letters.
func (e Extensions) Has(keyword string) bool {
	_, ok := e[strings.ToUpper(keyword)]
	return ok
}

// HasParam reports whether the keyword was offered with that parameter, as in "AUTH PLAIN LOGIN".
func (e Extensions) HasParam(keyword, param string) bool {
	for _, p := range strings.Fields(e[strings.ToUpper(keyword)]) {
		if strings.EqualFold(p, param) {
			return true
		}
	}
	return false
}
