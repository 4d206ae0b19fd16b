package config

import (
	"strconv"
	"strings"
)

// place is where something stands.
type place struct {
	file string
	line int
}

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	File   string // as it was read
	Line   int    // 0: the whole file
	Key    string // "mta.listen"; "" if it is not about one key
	What   string // what is wrong
	Remedy string // what to do about it
}

// Error returns FILE:LINE: KEY: WHAT; REMEDY.
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		b.WriteString(":" + strconv.Itoa(f.Line))
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.What)
	if f.Remedy != "" {
		b.WriteString("; " + f.Remedy)
	}
	return b.String()
}

// Faults is everything that is wrong, in the order of the files. It is what Load returns as its error.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

func utoa(n uint16) string { return strconv.Itoa(int(n)) }
