package house

import (
	"context"
	"os/user"
	"strconv"
	"strings"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
)

// machine is this machine as a domain, where it is none of the house: the name by which we greet others, and the one that users of
// the machine have as senders. Other servers must be able to answer them: to postmaster and abuse (RFC 5321 section 4.5.1), and with
// what could not be delivered to who has sent it. All of that is the postmaster's, as mail to root is.
type machine struct {
	hostname string
	local    string            // of users; "": they cannot send
	user     func(string) bool // is there such a user; nil: the system's own
}

func machineOf(c *config.Config) machine {
	m := machine{hostname: c.Hostname}
	if c.MSA.Local {
		m.local = c.MSA.LocalDomain
	}
	return m
}

// named reports whether a domain is the machine's.
func (m *machine) named(domain string) bool {
	return m.hostname != "" && strings.EqualFold(domain, m.hostname) || m.local != "" && strings.EqualFold(domain, m.local)
}

// takes reports whether mail to an address in the machine's domain comes to somebody.
func (m *machine) takes(a mail.Address) bool {
	switch {
	case strings.EqualFold(a.Local, "postmaster"), strings.EqualFold(a.Local, "abuse"):
		return true
	case m.local == "" || !strings.EqualFold(a.Domain, m.local):
		return false
	}
	exists := m.user
	if exists == nil {
		exists = systemUser
	}
	return exists(a.Local) || nameless(a.Local)
}

func systemUser(name string) bool {
	_, err := user.Lookup(name)
	if err != nil {
		_, err = user.Lookup(strings.ToLower(name))
	}
	return err == nil
}

// nameless tells what localUser calls a user who has no name.
func nameless(local string) bool {
	id, ok := strings.CutPrefix(local, "uid")
	_, err := strconv.ParseUint(id, 10, 32)
	return ok && err == nil
}

// resolve leads what others write to the machine to the postmaster.
func (m *machine) resolve(ctx context.Context, rules accountsRoom, to mail.Address) (guard.Resolution, error) {
	if !m.takes(to) {
		return guard.Resolution{OurDomain: true}, nil
	}
	r, err := rules.Resolve(ctx, mail.Address{Local: "postmaster"})
	return guard.Resolution{OurDomain: true, Disabled: r.Disabled, Targets: r.Targets, Since: r.Since}, err
}
