package imap

import (
	"fmt"
	"strconv"
)

// cut leaves the highest messages that one command may work on, and notes how far down it came (RFC 9738 section 3.1).
func (c *conn) cut(uids UIDSet) UIDSet {
	most, n := c.limits.CommandMessages, uids.Len()
	if most <= 0 || n <= most || !c.offers("MESSAGELIMIT") {
		return uids
	}
	uids = newRanks(uids).add(nil, n-most+1, n)
	c.limited = "MESSAGELIMIT " + strconv.Itoa(most) + " " + strconv.FormatUint(uint64(uids.Min()), 10)
	return uids
}

// tooMuch refuses what is done whole or not at all (RFC 9738 section 3.1: COPY, APPEND).
func (c *conn) tooMuch(n int) error {
	most := c.limits.CommandMessages
	if most <= 0 || n <= most || !c.offers("MESSAGELIMIT") {
		return nil
	}
	return no("MESSAGELIMIT "+strconv.Itoa(most), fmt.Sprintf("more than %d messages at once", most))
}

// tellLimited puts the note of cut into the tagged OK, or in front of it if that has a code already.
func (c *conn) tellLimited() {
	switch {
	case c.limited == "":
	case c.code == "":
		c.code = c.limited
		c.text += ", the highest only"
	default:
		c.say("* OK [", c.limited, "] the highest only")
	}
}
