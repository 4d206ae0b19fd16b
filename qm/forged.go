package qm

// untold reports whether nobody is told what becomes of a message: the null sender never is (RFC 5321 section 6.1).
func (m *messageRow) untold() bool { return m.sender.Address.IsNull() || m.origin.forged() }

// forged reports whether the sender's address is somebody else's as far as was known when the message came: the domain says by SPF
// that the machine may not use it, and no signature was good. A report would go to somebody who has sent nothing (backscatter).
// Who logged in is not asked. A mere "softfail" is no such statement (RFC 7208 section 8.5).
func (o *origin) forged() bool {
	spf, dkim := "", ""
	for _, f := range o.facts {
		switch f.Name {
		case "spf":
			spf = f.Value
		case "dkim":
			dkim = f.Value
		}
	}
	return o.account == "" && spf == "fail" && dkim != "pass"
}
