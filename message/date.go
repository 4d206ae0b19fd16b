package message

import (
	"bytes"
	"time"
)

// FormatDate writes t as a Date field has it (RFC 5322 section 3.3).
func FormatDate(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// ParseDate reads a date of RFC 5322 section 3.3 with its obsolete forms (section 4.3), and the forms the world
// writes: no day name or a wrong one, no comma, two- and three-digit years, month before day, names in full, no
// seconds, dots for colons, AM and PM, zones by name or with a colon or missing (UTC), asctime and ISO 8601. It is
// false for what has no day, month and year. Of a Received field it reads what follows the last semicolon.
func ParseDate(raw []byte) (time.Time, bool) {
	raw = raw[bytes.LastIndexByte(raw, ';')+1:]
	d := dateParser{scanner: scanner{b: raw[:min(len(raw), maxDateOctets)]}, day: -1, month: -1, year: -1, hour: -1}
	for d.skip(); d.i < len(d.b); d.skip() {
		d.element()
	}
	return d.time()
}

// maxDateOctets is the most octets of a date that are read.
const maxDateOctets = 256

// dateParser collects what can be told from each word on its own.
type dateParser struct {
	scanner
	day, month, year  int
	hour, minute, sec int
	pm, am            bool
	zone              int // seconds east of UTC
	hasZone           bool
}

// element takes one number, name or separator.
func (d *dateParser) element() {
	c := d.b[d.i]
	switch {
	case c >= '0' && c <= '9':
		d.number()
	case lower(c) >= 'a' && lower(c) <= 'z':
		d.name()
	case (c == '+' || c == '-') && d.hour >= 0 && d.i+1 < len(d.b) && isDigit(d.b[d.i+1]):
		d.offset()
	default:
		d.i++
	}
}

// digits reads at most max digits.
func (d *dateParser) digits(max int) (value, n int) {
	for d.i < len(d.b) && n < max && isDigit(d.b[d.i]) {
		value = value*10 + int(d.b[d.i]-'0')
		d.i++
		n++
	}
	return value, n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads a time of day, a year or a day.
func (d *dateParser) number() {
	v, n := d.digits(9)
	next := byte(0)
	if d.i < len(d.b) {
		next = d.b[d.i]
	}
	switch {
	case n == 4 && next == '-' && d.year < 0 && d.isoDate(v):
	case (next == ':' || next == '.' && d.hour < 0 && d.month >= 0) && n <= 2 && d.hour < 0 && d.i+1 < len(d.b) && isDigit(d.b[d.i+1]):
		d.clock(v, next)
	case d.day < 0 && n <= 2 && v >= 1 && v <= 31:
		d.day = v
	case n >= 2 && d.year < 0:
		d.year = fullYear(v, n)
	case n == 4 && d.hour >= 0 && !d.hasZone: // an offset that lost its sign
		if v/100 < 15 { // no zone is further from UTC; anything else is not one
			d.zone, d.hasZone = (v/100*60+v%100)*60, true
		}
	}
}

// fullYear applies RFC 5322 section 4.3 to short years.
func fullYear(v, n int) int {
	switch {
	case n == 2 && v < 50:
		return v + 2000
	case n <= 3:
		return v + 1900
	}
	return v
}

// isoDate reads "-MM-DD" after a year.
func (d *dateParser) isoDate(year int) bool {
	s := d.b[d.i:]
	if len(s) < 6 || !isDigit(s[1]) || !isDigit(s[2]) || s[3] != '-' || !isDigit(s[4]) || !isDigit(s[5]) {
		return false
	}
	d.year, d.month, d.day = year, int(s[1]-'0')*10+int(s[2]-'0'), int(s[4]-'0')*10+int(s[5]-'0')
	d.i += 6
	if d.i < len(d.b) && (d.b[d.i] == 'T' || d.b[d.i] == 't') {
		d.i++
	}
	return true
}

// clock reads what follows the hour.
func (d *dateParser) clock(hour int, sep byte) {
	d.i++
	d.hour = hour
	d.minute, _ = d.digits(2)
	if d.i+1 < len(d.b) && (d.b[d.i] == sep || d.b[d.i] == ':') && isDigit(d.b[d.i+1]) {
		d.i++
		d.sec, _ = d.digits(2)
	}
	if d.i+1 < len(d.b) && (d.b[d.i] == '.' || d.b[d.i] == ',') && isDigit(d.b[d.i+1]) { // a fraction
		d.i++
		d.digits(len(d.b))
	}
}

// offset reads "+HHMM", "+HH:MM", "+HMM" or "+HH".
func (d *dateParser) offset() {
	sign := 1
	if d.b[d.i] == '-' {
		sign = -1
	}
	d.i++
	v, n := d.digits(4)
	hours, minutes := v/100, v%100
	if n <= 2 {
		hours, minutes = v, 0
		if d.i+2 < len(d.b) && d.b[d.i] == ':' && isDigit(d.b[d.i+1]) && isDigit(d.b[d.i+2]) {
			d.i++
			minutes, _ = d.digits(2)
		}
	}
	if !d.hasZone && hours < 24 && minutes < 60 {
		d.zone, d.hasZone = sign*(hours*60+minutes)*60, true
	}
}

// name reads a month, a zone, AM or PM; the rest, day names among them, means nothing.
func (d *dateParser) name() {
	start := d.i
	for d.i < len(d.b) && lower(d.b[d.i]) >= 'a' && lower(d.b[d.i]) <= 'z' {
		d.i++
	}
	w := d.b[start:d.i]
	if m := monthOf(w); m > 0 && d.month < 0 {
		d.month = m
		return
	}
	if d.hour < 0 {
		return
	}
	switch s := lowerString(w); s {
	case "am":
		d.am = true
	case "pm":
		d.pm = true
	default:
		if z, ok := zoneOf(s); ok && !d.hasZone {
			d.zone, d.hasZone = z, true
			if d.i < len(d.b) && (d.b[d.i] == '+' || d.b[d.i] == '-') && z == 0 { // "GMT+0200"
				d.hasZone = false
			}
		}
	}
}

func monthOf(w []byte) int {
	if len(w) < 3 {
		return 0
	}
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	for m := 0; m < 12; m++ {
		if equalFold(w[:3], names[m*3:m*3+3]) {
			return m + 1
		}
	}
	return 0
}

// zoneOf knows the names of RFC 5322 section 4.3 and a few more that are not ambiguous in mail. Military zones were
// used with either sign, so they count as UTC, as that section says; any other name too.
func zoneOf(s string) (seconds int, ok bool) {
	const h = 3600
	switch s {
	case "ut", "utc", "gmt", "z", "wet":
		return 0, true
	case "est":
		return -5 * h, true
	case "edt":
		return -4 * h, true
	case "cst":
		return -6 * h, true
	case "cdt":
		return -5 * h, true
	case "mst":
		return -7 * h, true
	case "mdt":
		return -6 * h, true
	case "pst":
		return -8 * h, true
	case "pdt":
		return -7 * h, true
	case "cet", "met", "mez", "bst", "west":
		return h, true
	case "cest", "mest", "mesz", "eet":
		return 2 * h, true
	case "eest", "msk":
		return 3 * h, true
	case "msd":
		return 4 * h, true
	case "ist":
		return 5*h + h/2, true
	case "hkt", "sgt":
		return 8 * h, true
	case "jst", "kst":
		return 9 * h, true
	case "aest":
		return 10 * h, true
	case "aedt":
		return 11 * h, true
	case "nzst":
		return 12 * h, true
	case "nzdt":
		return 13 * h, true
	}
	return 0, false
}

// time puts the pieces together; numbers out of range other than the day of a month that is shorter are refused.
func (d *dateParser) time() (time.Time, bool) {
	if d.day < 1 || d.day > 31 || d.month < 1 || d.month > 12 || d.year < 0 || d.year > 9999 {
		return time.Time{}, false
	}
	h := max(d.hour, 0)
	switch {
	case d.pm && h < 12:
		h += 12
	case d.am && h == 12:
		h = 0
	}
	if h > 24 || d.minute > 59 || d.sec > 60 {
		return time.Time{}, false
	}
	loc := time.UTC
	if d.zone != 0 {
		loc = time.FixedZone("", d.zone)
	}
	return time.Date(d.year, time.Month(d.month), d.day, h, d.minute, d.sec, 0, loc), true
}
