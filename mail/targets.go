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
// NAME and TEXT are xtext (RFC 3461 section 4) with the semicolon and "<" encoded too; it may be several lines; of a longer TEXT MaxNoteOctets are written.
func FormatTargets(ts []Target) string {
	var b strings.Builder
	line := 0 // where the present one began
	for i, t := range ts {
		path := t.Address.Path()
		switch {
		case i > 0 && b.Len()-line+len(path) > targetLineOctets:
			b.WriteByte('\n')
			line = b.Len()
		case i > 0:
			b.WriteByte(' ')
		}
		b.WriteString(path)
		if t.Folder != "" {
			b.WriteString(";folder=")
			line = writeXtext(&b, line, t.Folder)
		}
		if t.Remote {
			b.WriteString(";remote")
		}
		if t.Note != "" {
			b.WriteString(";note=")
			line = writeXtext(&b, line, cutNote(t.Note))
		}
	}
	return b.String()
}

// targetLineOctets keeps a line of the reply within RFC 5321 section 4.5.3.1.5, so that nobody breaks it where it must not.
const targetLineOctets = 400

var targetEscape = strings.NewReplacer(";", "+3B", "<", "+3C")

// writeXtext writes a value, and a line break where the line has become too long: a line that does not begin with "<" goes on
// with the value before. It returns where the present line begins.
func writeXtext(b *strings.Builder, line int, s string) int {
	s = targetEscape.Replace(EncodeXtext(s))
	for s != "" {
		n := min(len(s), max(1, targetLineOctets+50-(b.Len()-line)))
		b.WriteString(s[:n])
		if s = s[n:]; s != "" {
			b.WriteByte('\n')
			line = b.Len()
		}
	}
	return line
}

// MaxNoteOctets is the longest Note on the wire.
const MaxNoteOctets = 1500

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
	if strings.Contains(s, "\n") {
		s = strings.NewReplacer("\n<", " <", "\n", "").Replace(s)
	}
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
