package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// farRooms are those whose doors other machines may reach.
var farRooms = []string{"accounts", "events", "evidence", "guard", "junk", "mailbox", "qm", "rules"}

// far reads how rooms of other machines are reached and reach us. Both ends show a certificate of one authority, which is named for
// this alone: whoever holds such a certificate is a room of the house.
func (l *loader) far(c *Config) Far {
	r := &l.raw.Links
	f := Far{CA: l.path(text(r.CA)), Cert: l.path(text(r.Cert)), Key: l.path(text(r.Key))}
	for _, room := range slices.Sorted(maps.Keys(value(r.Listen))) {
		const key = "links.listen"
		at, err := netip.ParseAddrPort(strings.TrimPrefix(value(r.Listen)[room], TLSLink))
		switch {
		case !slices.Contains(farRooms, room):
			l.fault(key, "the rooms with doors are "+strings.Join(farRooms, ", "), "%q has no door for other machines", room)
		case err != nil || at.Port() == 0:
			l.fault(key, "write "+room+" = \"10.0.0.1:7001\"", "%q is not an address with a port", value(r.Listen)[room])
		default:
			if f.Listen == nil {
				f.Listen = map[string]netip.AddrPort{}
			}
			f.Listen[room] = at
		}
	}
	used := len(f.Listen) > 0
	for _, to := range c.Links {
		used = used || strings.HasPrefix(to, TLSLink)
	}
	for _, of := range [...]struct{ key, file string }{{"links.ca", f.CA}, {"links.cert", f.Cert}, {"links.key", f.Key}} {
		if used && of.file == "" {
			l.fault(of.key, "name ca, cert and key in [links]: an authority of your own, and a certificate of it for this machine that is good for servers and clients",
				"is missing: links between machines need it")
		}
	}
	if !used {
		return Far{}
	}
	return f
}
