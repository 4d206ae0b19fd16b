package arc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/internal/core"
)

// Names of the fields, as core.SplitHeader gives them.
const (
	aarName  = "arc-authentication-results"
	amsName  = "arc-message-signature"
	sealName = "arc-seal"
)

// Set is what one sealer added (RFC 8617 section 4.2).
type Set struct {
	Instance int
	Domain   string          // d= of the seal
	Selector string          // s= of the seal
	CV       Status          // what the sealer found of the chain before it
	Results  authres.Results // what the sealer found, and says
	Message  error           // why the ARC-Message-Signature does not verify; nil: it does
	Seal     error           // why the ARC-Seal does not verify; nil: it does
}

// set is a Set while it is checked.
type set struct {
	aar, ams, seal core.Field
	as             sealTags
	sig            signature
	body           *core.BodyHash
}

var (
	errInstance  = errors.New("an ARC field has no valid i= (RFC 8617 section 4.2.1)")
	errTooMany   = fmt.Errorf("more than %d instances (RFC 8617 section 4.2.1)", MaxInstances)
	errTwice     = errors.New("an ARC field comes twice in one instance (RFC 8617 section 5.2)")
	errMissing   = errors.New("an ARC set is not complete (RFC 8617 section 5.2)")
	errNotTried  = errors.New("not checked")
	errHeaderBig = fmt.Errorf("header is longer than %d octets", MaxHeaderOctets)
)

// collect finds the sets of a header, in order of their instances (RFC 8617 section 5.2, steps 1 and 3a). The highest
// instance is returned with an error too, as far as it can be told.
func collect(fields []core.Field) (sets []set, highest int, err error) {
	found := map[int]*set{}
	for _, f := range fields {
		if f.Name != aarName && f.Name != amsName && f.Name != sealName {
			continue
		}
		i, e := instance(f)
		if e != nil {
			err = e
			continue
		}
		highest = max(highest, i)
		s := found[i]
		if s == nil {
			s = &set{}
			found[i] = s
		}
		to := &s.aar
		switch f.Name {
		case amsName:
			to = &s.ams
		case sealName:
			to = &s.seal
		}
		if to.Raw != nil {
			err = errTwice
			continue
		}
		*to = f
	}
	if err != nil {
		return nil, highest, err
	}
	for i := 1; i <= highest; i++ {
		s := found[i]
		if s == nil || s.aar.Raw == nil || s.ams.Raw == nil || s.seal.Raw == nil {
			return nil, highest, errMissing
		}
		sets = append(sets, *s)
	}
	return sets, highest, nil
}

// instance reads i= of any of the fields.
func instance(f core.Field) (int, error) {
	if len(f.Raw) > MaxFieldOctets && f.Name != aarName || len(f.Raw) > authres.MaxOctets {
		return 0, errors.New("an ARC field is too long")
	}
	v := string(f.Value())
	if f.Name == aarName { // i= comes first, and what follows is no tag-list (section 4.1.1)
		first, _, ok := strings.Cut(v, ";")
		name, value, eq := strings.Cut(first, "=")
		if !ok || !eq || !strings.EqualFold(strings.Trim(name, core.WSP), "i") {
			return 0, errInstance
		}
		return number(value)
	}
	tags, err := core.ParseTagList(v)
	if err != nil {
		return 0, err
	}
	i, _ := core.Get(tags, "i")
	return number(i)
}

func number(s string) (int, error) {
	s = strings.Trim(s, core.WSP)
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || n < 1 || s[0] == '+' || len(s) > 4:
		return 0, errInstance
	case n > MaxInstances:
		return n, errTooMany
	}
	return n, nil
}

// sealTags is an ARC-Seal (RFC 8617 section 4.1.3).
type sealTags struct {
	algorithm, domain, selector string
	sig                         []byte
	cv                          Status
}

func parseSeal(f core.Field) (s sealTags, err error) {
	tags, err := core.ParseTagList(string(f.Value()))
	if err != nil {
		return s, err
	}
	s.domain, _ = core.Get(tags, "d")
	s.domain = strings.ToLower(s.domain)
	s.selector, _ = core.Get(tags, "s")
	cv, _ := core.Get(tags, "cv")
	s.cv = Status(strings.ToLower(cv))
	if _, ok := core.Get(tags, "h"); ok {
		return s, errors.New("the seal has an h= (RFC 8617 section 4.1.3)")
	}
	switch s.cv {
	case None, Pass, Fail:
	default:
		return s, errors.New("the seal has no valid cv=")
	}
	s.algorithm, s.sig, err = common(tags, s.domain, s.selector)
	return s, err
}

// common checks what both kinds of signature have.
func common(tags []core.Tag, domain, selector string) (algorithm string, sig []byte, err error) {
	switch algorithm, _ = core.Get(tags, "a"); algorithm {
	case "rsa-sha256", "ed25519-sha256":
	default:
		return "", nil, errors.New("a= is missing or unknown")
	}
	if !core.IsHost(domain) || !core.IsHost(selector) {
		return "", nil, errors.New("d= or s= is not a domain name")
	}
	b, _ := core.Get(tags, "b")
	if sig, err = core.DecodeBase64(b); err != nil || len(sig) == 0 {
		return "", nil, errors.New("b= is missing or not base64")
	}
	if t, ok := core.Get(tags, "t"); ok {
		if n, err := strconv.ParseInt(t, 10, 64); err != nil || n < 0 || n > 1<<40 {
			return "", nil, errors.New("t= is not a time")
		}
	}
	return algorithm, sig, nil
}

// signature is an ARC-Message-Signature (RFC 8617 section 4.1.2): a DKIM-Signature with i= an instance, without v=.
type signature struct {
	algorithm, domain, selector string
	sig, bodyHash               []byte
	header, body                core.Canonicalization
	names                       []string
	length                      int64
}

func parseSignature(f core.Field) (s signature, err error) {
	s.length = -1
	tags, err := core.ParseTagList(string(f.Value()))
	if err != nil {
		return s, err
	}
	s.domain, _ = core.Get(tags, "d")
	s.domain = strings.ToLower(s.domain)
	s.selector, _ = core.Get(tags, "s")
	if s.algorithm, s.sig, err = common(tags, s.domain, s.selector); err != nil {
		return s, err
	}
	bh, _ := core.Get(tags, "bh")
	if s.bodyHash, err = core.DecodeBase64(bh); err != nil || len(s.bodyHash) != 32 {
		return s, errors.New("bh= is not the base64 of a SHA-256 hash")
	}
	// Section 4.1.2 takes c= from DKIM, whose default is simple; sealers that leave it out mean relaxed, as the public
	// validation suite has it.
	s.header, s.body = core.Relaxed, core.Relaxed
	if c, ok := core.Get(tags, "c"); ok {
		if s.header, s.body, ok = core.ParseCanonicalizations(c); !ok || c == "" {
			return s, errors.New("c= is unknown")
		}
	}
	if l, ok := core.Get(tags, "l"); ok {
		if s.length, err = strconv.ParseInt(l, 10, 64); err != nil || s.length < 0 {
			return s, errors.New("l= is not a length")
		}
	}
	h, ok := core.Get(tags, "h")
	if !ok {
		return s, errors.New("there is no h=")
	}
	s.names = core.ColonList(strings.ToLower(h))
	if len(s.names) > core.MaxHeaderNames {
		return s, errors.New("h= names too many fields")
	}
	if core.Contains(s.names, sealName) { // section 4.1.2
		return s, errors.New("h= names ARC-Seal")
	}
	return s, nil
}
