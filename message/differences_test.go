package message

// Where we differ from the vectors of other parsers on purpose, and why. Keys are the input, or the file and what
// is compared.

const (
	onlyComment   = "a comment is the display name only where there is no other: RFC 5322 has no comments in names"
	unfoldedFirst = "a field is unfolded before it is read (RFC 5322 section 2.2.3), so a backslash before a line end quotes the space after it"
	noInvention   = "nothing is added to what was written, here a space"
)

var addressDifferences = map[string]string{
	"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\n":                               onlyComment,
	"Pete(A nice \n \\\n ) chap) <pete(his\n account)@silly\n .test(his host)>\n":                    unfoldedFirst,
	"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;\n":                              onlyComment,
	"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example\n":                             "the route and the white space of obsolete syntax are no part of the address (RFC 5322 section 4.4)",
	"John Doe <jdoe@machine(comment).  example>\n":                                                   onlyComment,
	"Name (comment) =?utf-8?q?Doe?= <a@b.com>\n":                                                     onlyComment,
	"Nathaniel Borenstein <nsb@thumper.bellcore.com>\n    (=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=)\n": onlyComment,
	"A Group(Some people)\n        :Chris Jones <c@(Chris's host.)public.example>,\n            joe@example.org,\n     John <jdoe@one.test> (my dear friend); (the end of the group)\n": onlyComment,
}

var dateDifferences = map[string]string{
	"20 11 (some \n 44 comments(more comments\n )) 79 05:34:27 -0300": "a month is a name: numbers for it are ambiguous",
	" 4 8 15 16 23 42, 4 8 15 16 23 42, 4 8 15 16 23 42, ":            "not a date",
	"Tue, 1 Jul 2003 ((invalid)\ncomment) 10:52:37 +0200":             "the day can be told even if a comment is not closed",
}

var textDifferences = map[string]string{
	"[SUSPECTED SPAM]=?utf-8?B?VGhpcyBpcyB0aGUgb3JpZ2luYWwgc3ViamVjdA==?=\n":        noInvention,
	"[SUSPECTED SPAM]=?utf-8?B?VGhpcyBpcyB0aGUgb\n 3JpZ2luYWwgc3ViamVjdA==?=\n":     noInvention,
	"[SUSPECTED SPAM]=?utf-8?B?VGhpcyBpcyB0aGUgb\r\n 3JpZ2luYWwgc3ViamVjdA==?=\r\n": noInvention,
}

var idDifferences = map[string]string{
	"<1234   @   local(blah)  .machine .example>\n": "white space in an id does not count (RFC 5322 section 4.5.4)",
	"   m \n": "a word is taken for an id without brackets only if it has an @: In-Reply-To used to hold prose",
}

const (
	sectionSyntax = "a section is name*N or name*N*, N from 0 without gaps below 1000 (RFC 2231 section 3); anything else is a plain name"
	wordsJoin     = "white space between adjacent encoded words is dropped (RFC 2047 section 6.2)"
	endSpace      = "white space at the end of the field is not part of it, also if a quote is not closed"
	thirdType     = "a media type has two tokens; what follows the second counts as white space"
)

var contentTypeDifferences = map[string]string{
	"application/pdf\n   filename*0*=iso-8859-1'es'%D1and%FA\n   filename*1*=iso-8859-1'%20r%E1pido\n   filename*2*=\"iso-8859-1' (versi%F3n \\'99 \\\"oficial\\\").pdf\"\n": "only the first section names a charset (RFC 2231 section 4.1)",
	"image/jpeg;\n   name=\"=?iso-8859-1?B?4Q==?= =?utf-8?B?w6k=?= =?iso-8859-1?q?=ED?=.jpeg\"\n":                                                                            wordsJoin,
	"text/plain; name=  \n":                 "an empty parameter is a parameter",
	"inva/lid; name=\"   \n":                endSpace,
	"inva/lid; name=\"   \n    \n":          endSpace,
	"text/plain/format\n":                   thirdType,
	"text/plain/format;charset=us-ascii\n":  thirdType,
	"text/plain/format ;charset=us-ascii\n": thirdType,
	"test/encoded; key4*=us-ascii''foo; key*9999=ba%; key2*0=a; key3*0*=us-ascii'en'xyz; key*0=\"f\x00oo\"; key2*1*=b%25; key3*1=plop%; key*1=baz; *=test; =test2;\n": sectionSyntax,
	"malicious/attempt; 1*2*=a; 3**=b; 4***=c; *5**6*=d;*****7*8*=e; 9*10*11*12*13*14=f; 15*x***fff*===g;1 * 999999999999999999 *= h; 18 *=*=*=*=*==i;\n":             sectionSyntax,
}

const (
	headerAtBoundary = "a part whose header runs into a boundary is a part without a body, as for Dovecot; there it is none"
	outerEnds        = "a boundary of an outer multipart ends the inner one (RFC 2046 section 5.1.2); the longest that fits wins, the innermost of equal ones, as for Dovecot"
	closedIsClosed   = "after its closing delimiter a boundary means nothing; before it each delimiter begins a part, empty ones and the last of a cut message included"
	firstField       = "of two Content-Type fields the first counts"
	opened           = "a message/rfc822 part is opened whatever is in it"
	encodedMessage   = "RFC 2046 section 5.2.1 allows no encoding for message/rfc822, so byte ranges of what is in there do not exist"
	uuencoded        = "uuencode is decoded"
	lineEndAtEnd     = "a lone CR before the end is content"
	lineOfBoundary   = "the line of a delimiter ends at its line end; a boundary that begins another is no part of the header"
	lineStart        = "a boundary stands at the beginning of a line"
	falseBase64      = "base64 that is not is decoded as far as it goes"
	charsetGuess     = "octets above 127 in text without a charset are windows-1252"
	oddOctet         = "half a UTF-16 character at the end is shown as U+FFFD"
)

var mailParserDifferences = map[string]string{
	"malformed/000 structure":  headerAtBoundary,
	"malformed/001 structure":  outerEnds,
	"malformed/002 structure":  "a multipart stays one without any delimiter",
	"malformed/007 structure":  headerAtBoundary,
	"malformed/008 structure":  outerEnds,
	"malformed/009 structure":  outerEnds,
	"malformed/011 structure":  outerEnds,
	"malformed/012 structure":  outerEnds,
	"malformed/013 structure":  closedIsClosed,
	"malformed/014 structure":  closedIsClosed,
	"malformed/016 structure":  outerEnds,
	"malformed/020 structure":  firstField,
	"malformed/021 structure":  firstField,
	"malformed/022 structure":  opened,
	"rfc/008 structure":        encodedMessage,
	"thirdparty/015 structure": outerEnds,
	"malformed/004 offsets 0":  lineOfBoundary,
	"thirdparty/005 offsets 4": lineStart,
	"thirdparty/005 text 4":    lineStart,
	"thirdparty/005 text 0":    oddOctet,
	"thirdparty/002 text 1":    falseBase64,
	"thirdparty/002 text 2":    falseBase64,
	"rfc/000 text 2":           falseBase64,
	"rfc/000 text 3":           falseBase64,
	"legacy/052 text 0":        charsetGuess,
	"legacy/049 offsets 0":     lineEndAtEnd,
	"legacy/049 text 0":        lineEndAtEnd,
	"legacy/017 text 1":        uuencoded,
	"legacy/017 text 2":        uuencoded,
	"legacy/026 text 1":        uuencoded,
	"legacy/048 text 1":        uuencoded,
	"legacy/048 text 2":        uuencoded,
	"legacy/048 text 3":        uuencoded,
}

const malformedStays = "a line that is no field does not end the header: only the empty line does, as for Dovecot (mime4j can be set to either)"

var mime4jDifferences = map[string]string{
	"bad-newlines-multiple-parts-base64 structure": encodedMessage,
	"base64encoded-rfc822message-nested structure": encodedMessage,
	"base64encoded-rfc822message structure":        encodedMessage,
	"malformedHeaderStartsBody-nocrlfcrlf body 0":  malformedStays,
	"malformedHeaderStartsBody-noheader body 0":    malformedStays,
	"very-very-long-boundary structure":            "longer than Limits.BoundaryBytes; RFC 2046 section 5.1.1 allows 70 octets",
}
var goMessageDifferences = map[string]string{
	"legacy/017.eml body":                      uuencoded,
	"legacy/026.eml body":                      uuencoded,
	"legacy/048.eml body":                      uuencoded,
	"testmsgs/ending-boundaries.msg structure": "what follows the boundary in its line does not matter (RFC 2046 section 5.1.1)",
}

var enmimeDifferences = map[string]string{
	"testmsgs/malformedHeaderStartsBody-nocrlfcrlf.msg subject": malformedStays,
	"testmsgs/malformedHeader-nocrlfcrlf.msg subject":           malformedStays,
}
