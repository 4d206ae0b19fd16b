package accounts

import (
	"context"
	"slices"
	"time"

	"github.com/samotop/samotop/mail"
)

// expansion follows aliases and rules. With strict set it judges a new name: circles, unknown targets and lists of lists are
// refused; otherwise they are passed over, as damage that must not keep mail from the others.
type expansion struct {
	a      *Accounts
	strict *name        // stands for what is kept under its address
	what   string       // what it is and its address, for people
	home   mail.Address // its address

	targets   []mail.Target
	ids       []uint64
	lists     []mail.Address // lists among the targets
	rewritten []Rewrite
	disabled  int
	since     time.Time // when the newest of what was met was made
	visits    int
	most      int                   // targets, and a quarter of the visits; 0: MaxTargets
	members   bool                  // of a list: no lists
	nested    int                   // lists that were left out because of it
	circle    bool                  // one was met, and passed over
	seen      map[mail.Address]bool // aliases: true while being followed

	// What is among the targets, once there are many.
	haveID     map[uint64]bool
	haveRemote map[mail.Address]bool
}

var (
	replyExpansion = mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 3, 5}, Text: "The alias leads to too many addresses"}
	replyCircle    = mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 4, 6}, Text: "The address is rewritten in a circle"}
)

// room reports whether more may be followed. The work of one expansion is bounded as its result is.
func (x *expansion) room() bool {
	if x.most == 0 {
		x.most = MaxTargets
	}
	x.visits++
	return x.visits <= 4*x.most && len(x.targets) < x.most
}

// visit follows one address; detail is what stood behind the alias that led here. It reports whether there is one.
func (x *expansion) visit(ctx context.Context, addr mail.Address, detail string, depth int) (bool, error) {
	if !x.room() {
		if x.strict != nil {
			return false, refuse(ErrInvalid, "%s would lead to more than %d addresses: spread them over several", x.what, x.most)
		}
		return false, &replyExpansion
	}
	domain, ok := CanonicalDomain(addr.Domain)
	if !ok {
		return false, nil
	}
	d, ours := x.a.held.real(domain)
	if !ours {
		x.remote(mail.Address{Local: addr.Local, Domain: domain})
		return true, nil
	}
	f, err := x.a.match(ctx, &d, addr.Local, x)
	if err != nil {
		return false, err
	}
	if f.detail != "" {
		detail = f.detail
	}
	switch {
	case f.rewrite != nil:
		return x.follow(ctx, f.rewrite, depth)
	case f.n == nil:
		return false, nil
	case f.n.account != nil:
		x.made(f.n.account.Created)
		x.account(f.n.account, detail)
		return true, nil
	case f.n.list != nil:
		x.made(f.n.list.Created)
		return true, x.list(f.n.list)
	}
	x.made(f.n.alias.Created)
	return true, x.alias(ctx, f.n.alias, detail, depth)
}

// follow goes where a rule leads.
func (x *expansion) follow(ctx context.Context, r *Rewrite, depth int) (bool, error) {
	if depth >= MaxAliasDepth+MaxMapDepth || len(x.rewritten) >= x.most {
		if x.strict != nil {
			return false, refuse(ErrInvalid, "%s would lead to %s, which rules rewrite again and again: mend them, see `samotop domain rule list %s`", x.what, r.From, r.From.Domain)
		}
		return false, &replyCircle
	}
	x.rewritten = append(x.rewritten, *r)
	return x.visit(ctx, r.To, "", depth+1)
}

func (x *expansion) alias(ctx context.Context, al *Alias, detail string, depth int) error {
	following, seen := x.seen[al.Address]
	switch {
	case following && x.strict != nil:
		return refuse(ErrInvalid, "%s would lead back to itself by way of %s: leave that target out", x.what, al.Address)
	case seen:
		x.circle = x.circle || following
		return nil
	case depth >= MaxAliasDepth && x.strict != nil:
		return refuse(ErrInvalid, "%s would lead through more than %d aliases: name the final addresses", x.what, MaxAliasDepth)
	}
	if x.seen == nil {
		x.seen = make(map[mail.Address]bool)
	}
	x.seen[al.Address] = true
	if al.Address.Local == CatchAll { // what stood before the @ was no detail
		detail = ""
	}
	for _, t := range al.Targets {
		if err := x.target(ctx, t, detail, depth+1); err != nil {
			return err
		}
	}
	x.seen[al.Address] = false
	return nil
}

// target follows one target of a name.
func (x *expansion) target(ctx context.Context, t mail.Address, detail string, depth int) error {
	known, err := x.visit(ctx, t, detail, depth)
	if err != nil || known {
		return err
	}
	d, _ := x.a.held.real(t.Domain)
	base, _ := x.a.split(&d, t.Local)
	if isRole(base) {
		return x.keeper(ctx, d.Name)
	}
	if x.strict != nil {
		return refuse(ErrUnknown, "target %s of %s is not known: add it first with `samotop account add %s`", t, x.what, t)
	}
	return nil
}

func (x *expansion) keeper(ctx context.Context, domain string) error {
	acc, err := x.a.keeper(ctx, domain)
	if err == nil && acc.ID != 0 {
		x.account(&acc, "")
	}
	return err
}

// account adds a local target once, whichever way led to it.
func (x *expansion) account(acc *Account, detail string) {
	if !acc.Enabled {
		x.disabled++
		return
	}
	if x.has(acc.ID, mail.Address{}) {
		return
	}
	to := acc.Address
	if len(to.Local)+len(detail) <= mail.MaxLocalOctets {
		to.Local += detail
	}
	x.targets = append(x.targets, mail.Target{Address: to})
	x.ids = append(x.ids, acc.ID)
}

func (x *expansion) remote(addr mail.Address) {
	if !x.has(0, addr) {
		x.targets = append(x.targets, mail.Target{Address: addr, Remote: true})
		x.ids = append(x.ids, 0)
	}
}

// few targets are looked through one by one.
const few = 16

// has tells whether an account, or with 0 a remote address, is among the targets. What is not will be the next.
func (x *expansion) has(id uint64, addr mail.Address) bool {
	if len(x.targets) < few {
		if id != 0 {
			return slices.Contains(x.ids, id)
		}
		return slices.Contains(x.targets, mail.Target{Address: addr, Remote: true})
	}
	if x.haveID == nil {
		x.haveID, x.haveRemote = map[uint64]bool{}, map[mail.Address]bool{}
		for i, t := range x.targets {
			x.haveID[x.ids[i]] = true
			if t.Remote {
				x.haveRemote[t.Address] = true
			}
		}
	}
	if id != 0 {
		before := x.haveID[id]
		x.haveID[id] = true
		return before
	}
	before := x.haveRemote[addr]
	x.haveRemote[addr] = true
	return before
}

// list adds a list as a target of its own: its post is another message. A list of lists could go round in circles and grow
// without end, so there is none.
func (x *expansion) list(l *List) error {
	switch {
	case x.members && x.strict != nil:
		return refuse(ErrInvalid, "%s would lead to list %s: a list cannot be part of another, name its members", x.what, l.Address)
	case x.members:
		x.nested++
		return nil
	}
	if !slices.Contains(x.lists, l.Address) {
		x.lists = append(x.lists, l.Address)
		x.remote(l.Address)
	}
	return nil
}

// made tells when something on the way was made.
func (x *expansion) made(at time.Time) {
	if at.After(x.since) {
		x.since = at
	}
}

func (x *expansion) resolution(alias bool) Resolution {
	res := Resolution{
		OurDomain: true, Alias: alias, Targets: x.targets, Accounts: x.ids, Rewritten: x.rewritten, Since: x.since,
		Disabled: len(x.targets) == 0 && x.disabled > 0,
		shared:   x.disabled > 0,
	}
	if len(x.lists) > 0 {
		res.Lists = make([]bool, len(x.targets))
		for i, t := range x.targets {
			res.Lists[i] = t.Remote && slices.Contains(x.lists, t.Address)
		}
	}
	return res
}
