package mail

import (
	"errors"
	"strings"
)

// MaxTargets is the most targets one recipient may have on the wire.
const MaxTargets = 1000

var errTargets = errors.New("mail: targets are not of the form <path>[;folder=NAME][;remote] ...")

// FormatTargets writes targets as the text of a 251 reply between our rooms:
//
//	<path>[;folder=NAME][;remote][;note=TEXT][ <path>...]
//
// NAME and TEXT are xtext (RFC 3461 section 4) with the semicolon encoded too; of a longer TEXT MaxNoteOctets are written.
func FormatTargets(ts []Target) string {
	var b strings.Builder
	for i, t := range ts {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.Address.Path())
		if t.Folder != "" {
			b.WriteString(";folder=")
			b.WriteString(strings.ReplaceAll(EncodeXtext(t.Folder), ";", "+3B"))
		}
		if t.Remote {
			b.WriteString(";remote")
		}
		if t.Note != "" {
			b.WriteString(";note=")
			b.WriteString(strings.ReplaceAll(EncodeXtext(cutNote(t.Note)), ";", "+3B"))
		}
	}
	return b.String()
}

// MaxNoteOctets is the longest Note on the wire.
const MaxNoteOctets = 600

// cutNote keeps whole characters.
func cutNote(s string) string {
	if len(s) <= MaxNoteOctets {
		return s
	}
	return strings.ToValidUTF8(s[:MaxNoteOctets], "")
}

// ParseTargets reads what FormatTargets wrote.
func ParseTargets(s string) ([]Target, error) {
	var ts []Target
	for s != "" {
		a, rest, err := ParsePath(s)
		if err != nil {
			return nil, err
		}
		if len(ts) == MaxTargets || a.IsNull() {
			return nil, errTargets
		}
		t := Target{Address: a}
		words, next, _ := strings.Cut(rest, " ")
		if words != "" && words[0] != ';' {
			return nil, errTargets
		}
		for _, w := range strings.Split(words, ";") {
			switch name, value, _ := strings.Cut(w, "="); {
			case w == "":
			case w == "remote":
				t.Remote = true
			case name == "note":
				if t.Note, err = DecodeXtext(value); err != nil {
					return nil, err
				}
			case name == "folder":
				if t.Folder, err = DecodeXtext(value); err != nil {
					return nil, err
				}
			default:
				return nil, errTargets
			}
		}
		ts = append(ts, t)
		s = next
	}
	return ts, nil
}
