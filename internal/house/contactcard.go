package house

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"math/bits"
	"mime"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// contactFolders are the folders in which a contact is a message, by the state of the contact.
var contactFolders = []string{accounts.Pending: "Contacts/Pending", accounts.Approved: "Contacts/Approved", accounts.Rejected: "Contacts/Rejected"}

// markOf changes when a message about a contact is to be written anew: when more is known, or he has tried twice as often.
func markOf(c *accounts.Contact) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %t %s %d %d", c.Subject, c.Signed, c.Proven, c.Network, bits.Len32(c.Tries), c.FirstSeen.UnixMilli())
	return h.Sum64()
}

// contactField tells which contact a message is about, with a token that only the house can make: so a copy that a mail program
// sends anew is known.
const contactField = "X-Samotop-Contact"

// contactCard is the message about a contact. What is in it of the stranger is cut, and no control character of his stays.
func contactCard(account, token string, c *accounts.Contact) []byte {
	who := printable(c.Sender)
	_, domain, _ := strings.Cut(account, "@")
	subject := "Contact " + who
	if c.Subject != "" {
		subject += ": " + printable(c.Subject)
	}
	var b bytes.Buffer
	field := func(name, value string) { b.Write(mail.Field{Name: name, Value: value}.Append(nil)) }
	field("From", phrase(who)+" <"+mail.Address{Local: "postmaster", Domain: domain}.String()+">")
	field("To", "<"+account+">")
	field("Subject", fold(mime.BEncoding.Encode("utf-8", subject)))
	field("Date", message.FormatDate(c.FirstSeen))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", account, c.Sender, markOf(c)))
	field("Message-ID", fmt.Sprintf("<contact.%x@%s>", sum[:12], domain))
	field(contactField, token+" "+base64.RawURLEncoding.EncodeToString([]byte(c.Sender)))
	field("Auto-Submitted", "auto-generated")
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "8bit")
	b.WriteString("\r\n")
	for _, line := range cardLines(account, who, c) {
		b.WriteString(line + "\r\n")
	}
	return b.Bytes()
}

func cardLines(account, who string, c *accounts.Contact) []string {
	const stamp = "2006-01-02 15:04 UTC"
	lines := []string{"", "Who            " + who, "First seen     " + c.FirstSeen.UTC().Format(stamp)}
	switch {
	case c.LastSeen.IsZero():
		lines[0] = fmt.Sprintf("%s is a contact of %s.", who, account)
	default:
		lines[0] = fmt.Sprintf("%s wrote to %s.", who, account)
		if n := bits.Len32(c.Tries); n > 1 {
			lines = append(lines, fmt.Sprintf("Tried          %d times or more, in different hours", 1<<(n-1)))
		} else {
			lines = append(lines, "Tried          once")
		}
	}
	lines = append(lines, "Authenticated  "+authenticated(c))
	if c.Subject != "" {
		lines = append(lines, "Subject        "+printable(c.Subject))
	}
	command := func(verb string) string {
		return "  samotop contact " + verb + " " + shellWord(account) + " " + shellWord(c.Sender)
	}
	return append(lines, "", "To decide, move this message:",
		"  to "+contactFolders[accounts.Approved]+": mail from there arrives; what was put off comes with the next attempt",
		"  to "+contactFolders[accounts.Rejected]+": it is refused",
		"To delete it in "+contactFolders[accounts.Pending]+" rejects; to delete it in one of the others takes the decision back.", "",
		"Or by command:", command("approve"), command("reject"), command("remove"))
}

// authenticated says how a contact is recognized.
func authenticated(c *accounts.Contact) string {
	switch {
	case strings.HasPrefix(c.Sender, "list:") && c.Signed != "":
		return "it is a mailing list, whose mail is signed by " + printable(c.Signed)
	case c.Proven && c.Signed != "":
		return "yes, by SPF; signed by " + printable(c.Signed)
	case c.Proven:
		return "yes, by SPF"
	case c.Signed != "":
		return "signed by " + printable(c.Signed)
	case c.Network.IsValid():
		return "no: an approval holds for mail from the network " + c.Network.String() + " only, or once it is signed"
	}
	return "not yet known"
}

// maxShownOctets of anything that a stranger wrote.
const maxShownOctets = 300

// printable replaces what could change how the rest of a line looks.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxShownOctets {
		s = strings.ToValidUTF8(s[:maxShownOctets], "") + "..."
	}
	return s
}

// phrase is a display name (RFC 5322 section 3.2.5).
func phrase(s string) string {
	if e := mime.BEncoding.Encode("utf-8", s); e != s {
		return fold(e)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// fold breaks a field between the words of RFC 2047, and elsewhere after about 70 octets.
func fold(s string) string {
	var b strings.Builder
	n := 0
	for i, w := range strings.Split(s, " ") {
		if i > 0 {
			if n+len(w) > 65 {
				b.WriteString("\r\n")
				n = 0
			}
			b.WriteByte(' ')
		}
		b.WriteString(w)
		n += len(w) + 1
	}
	return b.String()
}

// shellWord quotes a word for a POSIX shell: a stranger's address may hold anything.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@.+-_=:/", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(printable(s), "'", `'\''`) + "'"
}
