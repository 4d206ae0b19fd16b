package sendmail

import (
	"fmt"
	"strings"
)

// Mode is what the command is asked to do.
type Mode uint8

const (
	Deliver Mode = iota // read a message and send it (-bm)
	Session             // speak SMTP on standard input and output (-bs)
	Verify              // ask whether the recipients would be taken (-bv)
	List                // show the queue (-bp, mailq)
	Aliases             // make the table of aliases anew (-bi, newaliases)
	Flush               // try everything in the queue now (-q)
)

// Options are those of sendmail's command line that mean something here.
type Options struct {
	Mode       Mode
	Recipients []string
	Extract    bool   // -t: recipients stand in the header, too
	IgnoreDots bool   // -i: a line with a dot alone does not end the message
	From       string // -f, -r; "": the user's own address; "<>": none
	FullName   string // -F
	Body       string // -B: 7BIT or 8BITMIME
	Notify     string // -N
	Ret        string // -R: full or hdrs
	EnvelopeID string // -V
	Verbose    bool   // -v
	Filter     string // -qR, -qI, -qS with what follows; other forms of -q: ""
}

// UsageError is about a command line that cannot be obeyed.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// withValue are the flags that take one. What is in neither list is refused.
const (
	withValue    = "ABCDFLNORVXbdfhoprq"
	withoutValue = "GIQTUcEeilmMnstvx"
)

// Parse reads the arguments without the name of the program, as getopt does: flags may stand together, values apart; "--" ends
// them. Flags that only mean something to other systems are passed over, as every other one does.
func Parse(args []string) (*Options, error) {
	o := &Options{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			o.Recipients = append(o.Recipients, arg) // flags may follow
			continue
		}
		rest, err := o.cluster(arg[1:], args)
		if err != nil {
			return nil, err
		}
		args = rest
	}
	o.Recipients = append(o.Recipients, args...)
	if o.Extract && o.Mode != Deliver {
		return nil, &UsageError{"-t only goes with a message to send"}
	}
	return o, nil
}

// cluster reads flags that stand together, and the argument after them if the last needs one.
func (o *Options) cluster(s string, args []string) ([]string, error) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		value := s[i+1:]
		switch {
		case strings.IndexByte(withValue, c) < 0 && strings.IndexByte(withoutValue, c) < 0:
			return nil, &UsageError{fmt.Sprintf("-%c is not known", c)}
		case strings.IndexByte(withValue, c) < 0:
			o.flag(c)
			continue
		case value == "" && c != 'q' && c != 'd':
			if len(args) == 0 {
				return nil, &UsageError{fmt.Sprintf("-%c needs a value", c)}
			}
			value, args = args[0], args[1:]
		}
		return args, o.set(c, value)
	}
	return args, nil
}

func (o *Options) flag(c byte) {
	switch c {
	case 't':
		o.Extract = true
	case 'i':
		o.IgnoreDots = true
	case 'I':
		o.Mode = Aliases
	case 'v':
		o.Verbose = true
	}
}

func (o *Options) set(c byte, value string) error {
	bad := func(remedy string) error { return &UsageError{fmt.Sprintf("-%c %s: %s", c, value, remedy)} }
	switch c {
	case 'b':
		return o.mode(value)
	case 'f', 'r':
		o.From = value
		if value == "" {
			o.From = "<>"
		}
	case 'F':
		o.FullName = value
	case 'B':
		if o.Body = strings.ToUpper(value); o.Body != "7BIT" && o.Body != "8BITMIME" {
			return bad("write 7BIT or 8BITMIME")
		}
	case 'N':
		return o.notify(value)
	case 'R':
		if o.Ret = strings.ToLower(value); o.Ret != "full" && o.Ret != "hdrs" {
			return bad("write full or hdrs")
		}
	case 'V':
		if o.EnvelopeID = value; len(value) > 60 {
			return bad("is longer than 60 octets")
		}
	case 'o':
		switch {
		case value == "i":
			o.IgnoreDots = true
		case value == "t":
			o.Extract = true
		case value == "":
			return bad("needs the name of an option")
		}
	case 'O':
		if name, v, _ := strings.Cut(value, "="); strings.EqualFold(name, "IgnoreDots") && !strings.HasPrefix(strings.ToLower(v), "f") {
			o.IgnoreDots = true
		}
	case 'q':
		o.Mode = Flush
		if value != "" && strings.ContainsRune("RIS", rune(value[0])) {
			o.Filter = value
		}
	}
	return nil // the others mean nothing here
}

func (o *Options) mode(value string) error {
	modes := map[string]Mode{"m": Deliver, "s": Session, "v": Verify, "p": List, "i": Aliases}
	m, ok := modes[value]
	switch {
	case ok:
		o.Mode = m
		return nil
	case value == "d" || value == "D" || value == "l":
		return &UsageError{"-b" + value + ": this command is no server; run \"samotop serve\""}
	}
	return &UsageError{"-b" + value + " is not known; there are -bm, -bs, -bv, -bp and -bi"}
}

// notify checks the value of NOTIFY (RFC 3461 section 4.1).
func (o *Options) notify(value string) error {
	words := strings.Split(strings.ToLower(value), ",")
	for _, w := range words {
		switch w {
		case "never":
			if len(words) > 1 {
				return &UsageError{"-N " + value + ": never stands alone"}
			}
		case "success", "failure", "delay":
		default:
			return &UsageError{"-N " + value + ": write never, or some of success,failure,delay"}
		}
	}
	o.Notify = strings.Join(words, ",")
	return nil
}
