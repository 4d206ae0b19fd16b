package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

var b64 = base64.StdEncoding.Strict()

// nonceOctets is how much randomness each side adds.
const nonceOctets = 18

// clientFirst is the client-first-message (RFC 5802 section 7).
type clientFirst struct {
	flag    byte   // gs2-cbind-flag: n, y or p
	binding string // cb-name, with p
	authzid string
	header  string // gs2-header, as it came
	bare    string // client-first-message-bare, as it came
	user    string
	nonce   string
}

func parseClientFirst(s string) (m clientFirst, ok bool) {
	flag, rest, ok1 := strings.Cut(s, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return m, false
	}
	m.header, m.bare = s[:len(s)-len(bare)], bare
	switch name, bound := strings.CutPrefix(flag, "p="); {
	case bound && isBindingName(name):
		m.flag, m.binding = 'p', name
	case flag == "n" || flag == "y":
		m.flag = flag[0]
	default:
		return m, false
	}
	if authzid != "" {
		z, has := strings.CutPrefix(authzid, "a=")
		if m.authzid, ok = parseName(z); !has || !ok {
			return m, false
		}
	}
	// A first attribute "m" is an extension that must be understood (RFC 5802 section 5.1): nobody has one.
	name, rest, ok1 := strings.Cut(bare, ",")
	name, ok2 = strings.CutPrefix(name, "n=")
	if m.user, ok = parseName(name); !ok || !ok1 || !ok2 {
		return m, false
	}
	nonce, extensions, more := strings.Cut(rest, ",")
	if m.nonce, ok = strings.CutPrefix(nonce, "r="); !ok || !isNonce(m.nonce) || more && !areExtensions(extensions) {
		return m, false
	}
	return m, true
}

// isBindingName is cb-name of RFC 5802 section 7.
func isBindingName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// parseName decodes a saslname: =2C is a comma, =3D an equals sign.
func parseName(s string) (string, bool) {
	if s == "" || len(s) > 3*MaxUserOctets {
		return "", false
	}
	out := strings.ReplaceAll(strings.ReplaceAll(s, "=2C", ","), "=3D", "=")
	n := strings.Count(s, "=")
	return out, n == strings.Count(s, "=2C")+strings.Count(s, "=3D") && len(out) <= MaxUserOctets
}

func formatName(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "=", "=3D"), ",", "=2C")
}

// isNonce: printable ASCII but the comma.
func isNonce(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return s != "" && len(s) <= MaxNonceOctets
}

// areExtensions: attributes to be passed over, each a letter, an equals sign and a value.
func areExtensions(s string) bool {
	for _, e := range strings.Split(s, ",") {
		if len(e) < 3 || e[1] != '=' || !(e[0] >= 'a' && e[0] <= 'z' || e[0] >= 'A' && e[0] <= 'Z') || e[0] == 'm' {
			return false
		}
	}
	return true
}

// clientFinal is the client-final-message (RFC 5802 section 7).
type clientFinal struct {
	binding, proof []byte
	nonce          string
	withoutProof   string // as it came
}

func parseClientFinal(s string) (m clientFinal, ok bool) {
	at := strings.LastIndex(s, ",p=")
	if at < 0 || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return m, false
	}
	m.withoutProof = s[:at]
	var err1, err2 error
	m.proof, err1 = decode64(s[at+3:])
	binding, rest, ok1 := strings.Cut(m.withoutProof, ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	binding, ok2 := strings.CutPrefix(binding, "c=")
	m.binding, err2 = decode64(binding)
	m.nonce, ok = strings.CutPrefix(nonce, "r=")
	ok = ok && ok1 && ok2 && err1 == nil && err2 == nil && m.nonce != "" && (!more || areExtensions(extensions))
	return m, ok
}

func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder passes over these
		return nil, mail.ErrExchange
	}
	return b64.DecodeString(s)
}

// scramServer is the server's side of one SCRAM exchange (RFC 5802, 7677).
type scramServer struct {
	x       *exchange
	hash    Hash
	plus    bool
	msg     clientFirst
	channel []byte
	keys    ScramKeys
	account string // "" if the keys are invented
	nonce   string
	server  string // server-first-message
}

func (sc *scramServer) first(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	msg, ok := parseClientFirst(string(response))
	if !ok {
		return nil, false, mail.ErrExchange
	}
	sc.msg = msg
	if err := sc.bind(); err != nil {
		return nil, false, err
	}
	if err := sc.lookUp(ctx); err != nil {
		return nil, false, err
	}
	random, err := sc.x.random(nonceOctets)
	if err != nil {
		return nil, false, err
	}
	sc.nonce = msg.nonce + base64.StdEncoding.EncodeToString(random)
	sc.server = "r=" + sc.nonce + ",s=" + base64.StdEncoding.EncodeToString(sc.keys.Salt) + ",i=" + strconv.Itoa(sc.keys.Iterations)
	sc.x.step = sc.final
	return []byte(sc.server), false, nil
}

var (
	errDowngrade = errors.New("the client can bind the channel and was not offered a -PLUS mechanism, but we do offer them: somebody may sit in between")
	errUnbound   = errors.New("the client asks for a channel binding that this session does not have")
)

// bind judges the gs2-cbind-flag (RFC 5802 section 6).
func (sc *scramServer) bind() error {
	switch {
	case sc.plus != (sc.msg.flag == 'p'):
		return mail.ErrExchange
	case sc.plus:
		data, ok := sc.x.a.channel(sc.x.s, sc.msg.binding)
		if !ok {
			return errors.Join(mail.ErrExchange, errUnbound)
		}
		sc.channel = data
	case sc.msg.flag == 'y' && sc.x.a.canBind(sc.x.s):
		return errors.Join(mail.ErrCredentials, errDowngrade)
	}
	return nil
}

// lookUp finds the keys of the user, or invents some that are the same each time.
func (sc *scramServer) lookUp(ctx context.Context) error {
	user, err := Prepare(sc.msg.user)
	if err != nil {
		user = sc.msg.user
	}
	keys, account, err := sc.x.a.c.Credentials.Scram(ctx, sc.x.s, user, sc.hash)
	if err == nil && account != "" {
		sc.keys, sc.account = keys, account
		return nil
	}
	if err != nil && !errors.Is(err, mail.ErrCredentials) {
		return err
	}
	if account == "" {
		account = limiterKey(user)
	}
	secret := sc.x.a.c.Secret
	invent := func(what string, n int) []byte { return SHA256.hmac(secret, what, sc.hash.String(), account)[:n] }
	sc.keys = ScramKeys{Salt: invent("scram salt ", saltOctets), Iterations: sc.x.a.c.ScramIterations,
		StoredKey: invent("scram stored key ", sc.hash.Size()), ServerKey: invent("scram server key ", sc.hash.Size())}
	return nil
}

// saltOctets is the length of invented salts; keys should have such a salt too.
const saltOctets = 16

func (sc *scramServer) final(ctx context.Context, response []byte) ([]byte, bool, error) {
	msg, ok := parseClientFinal(string(response))
	if !ok {
		return nil, false, mail.ErrExchange
	}
	var signature []byte
	err := sc.x.attempt(ctx, sc.msg.user, sc.msg.authzid, func() (string, error) {
		auth := sc.msg.bare + "," + sc.server + "," + msg.withoutProof
		want := append([]byte(sc.msg.header), sc.channel...)
		right := hmac.Equal(msg.binding, want) && hmac.Equal([]byte(msg.nonce), []byte(sc.nonce))
		if !right || !sc.proves(msg.proof, auth) || sc.account == "" {
			return "", mail.ErrCredentials
		}
		signature = sc.hash.hmac(sc.keys.ServerKey, auth)
		return sc.account, nil
	})
	if err != nil {
		return nil, false, err
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), true, nil
}

// proves checks a ClientProof (RFC 5802 section 3).
func (sc *scramServer) proves(proof []byte, auth string) bool {
	clientKey := sc.hash.hmac(sc.keys.StoredKey, auth)
	if len(proof) != len(clientKey) {
		return false
	}
	subtle.XORBytes(clientKey, clientKey, proof)
	return hmac.Equal(sc.hash.sum(clientKey), sc.keys.StoredKey)
}
