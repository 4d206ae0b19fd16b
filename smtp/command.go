package smtp

import "strings"

// verb is a command of RFC 5321 section 4.1.1, of an extension, or of our own rooms.
type verb uint8

const (
	verbUnknown verb = iota
	verbEHLO
	verbLHLO
	verbHELO
	verbMAIL
	verbRCPT
	verbDATA
	verbBDAT
	verbRSET
	verbNOOP
	verbVRFY
	verbEXPN
	verbHELP
	verbQUIT
	verbSTARTTLS
	verbAUTH
	verbXCLIENT
	verbXFORWARD
	verbXTRACE
	verbXAMEND
	verbXPREPARE
	verbXFOUND
)

var verbs = map[string]verb{
	"EHLO": verbEHLO, "LHLO": verbLHLO, "HELO": verbHELO, "MAIL": verbMAIL, "RCPT": verbRCPT, "DATA": verbDATA,
	"BDAT": verbBDAT, "RSET": verbRSET, "NOOP": verbNOOP, "VRFY": verbVRFY, "EXPN": verbEXPN, "HELP": verbHELP,
	"QUIT": verbQUIT, "STARTTLS": verbSTARTTLS, "AUTH": verbAUTH, "XCLIENT": verbXCLIENT,
	"XFORWARD": verbXFORWARD, "XTRACE": verbXTRACE, "XAMEND": verbXAMEND, "XPREPARE": verbXPREPARE,
	"XFOUND": verbXFOUND,
}

// command is one line, taken apart as far as every command is alike: verb, SP, argument.
type command struct {
	verb verb
	name string // the verb in upper case
	arg  string // without white space at its ends
}

// maxVerbOctets is longer than any verb we know or a program would add.
const maxVerbOctets = 32

// parseCommand never fails: what is not a command has verbUnknown.
func parseCommand(line string) command {
	name, arg := line, ""
	if i := strings.IndexByte(line, ' '); i >= 0 {
		name, arg = line[:i], strings.Trim(line[i+1:], " \t")
	} else {
		name = strings.TrimRight(line, "\t")
	}
	if len(name) > maxVerbOctets {
		return command{}
	}
	name = strings.ToUpper(name)
	return command{verb: verbs[name], name: name, arg: arg}
}

// pathArg reads the "FROM:" of MAIL or the "TO:" of RCPT. White space after the colon is an error by RFC 5321 section
// 3.3, and so widespread that it is let pass.
func pathArg(arg, prefix string) (string, bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", false
	}
	return strings.TrimLeft(arg[len(prefix):], " "), true
}
