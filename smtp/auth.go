package smtp

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/samotop/samotop/mail"
)

// maxExchange bounds the challenges of one AUTH.
const maxExchange = 16

var (
	errCancelled = errors.New("peer cancelled the exchange")
	errBase64    = errors.New("response is not base64")
)

// auth is the AUTH command of RFC 4954 section 4.
func (ses *session) auth(arg string) {
	mech, initial, has := strings.Cut(arg, " ")
	if mech == "" {
		ses.refuse(mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say AUTH and a mechanism"))
		return
	}
	var response []byte
	if has {
		var err error
		if response, err = decodeResponse(strings.TrimSpace(initial)); err != nil {
			ses.refuse(mail.NewReply(501, mail.Enhanced{5, 5, 2}, "Initial response is not base64"))
			return
		}
	}
	ex, err := ses.srv.Auth.Start(ses.ctx, &ses.s, strings.ToUpper(mech))
	if err != nil {
		ses.authRefused(err)
		return
	}
	id, err := ses.exchange(ex, response)
	switch {
	case ses.closing:
	case err != nil:
		ses.authRefused(err)
	default:
		ses.login(id)
	}
}

// decodeResponse reads an initial response; "=" is the empty one.
func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

func (ses *session) exchange(ex mail.Exchange, response []byte) (mail.Identity, error) {
	for range maxExchange {
		challenge, done, err := ex.Next(ses.ctx, response)
		if err != nil {
			return mail.Identity{}, err
		}
		if done && len(challenge) == 0 {
			return ex.Identity(), nil
		}
		if response, err = ses.challenge(challenge); err != nil {
			return mail.Identity{}, err
		}
		if done { // the server's last word in SCRAM: the client has nothing to add
			if len(response) > 0 {
				return mail.Identity{}, mail.ErrExchange
			}
			return ex.Identity(), nil
		}
	}
	return mail.Identity{}, mail.ErrExchange
}

// challenge sends a challenge and reads the response.
func (ses *session) challenge(p []byte) ([]byte, error) {
	ses.w.out = append(ses.w.out, "334 "...)
	ses.w.out = base64.StdEncoding.AppendEncode(ses.w.out, p)
	ses.w.out = append(ses.w.out, '\r', '\n')
	line, err := ses.readLine(MaxAuthLineOctets)
	switch {
	case errors.Is(err, errLineTooLong), errors.Is(err, errBareEnd):
		return nil, mail.NewReply(500, mail.Enhanced{5, 5, 6}, "Response is too long or has no proper end")
	case err != nil:
		ses.lost(err)
		return nil, err
	case string(line) == "*":
		return nil, errCancelled
	}
	b, err := base64.StdEncoding.AppendDecode([]byte{}, line)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}

// authRefused gives the reply of RFC 4954 section 6 and counts what may be guessing.
func (ses *session) authRefused(err error) {
	switch {
	case errors.Is(err, mail.ErrMechanism):
		if ses.s.TLS == nil && ses.st.offerTLS {
			ses.refuse(mail.NewReply(538, mail.Enhanced{5, 7, 11}, "Encryption required for this mechanism"))
			return
		}
		ses.refuse(mail.NewReply(504, mail.Enhanced{5, 5, 4}, "Mechanism not available"))
		return
	case errors.Is(err, errCancelled):
		ses.refuse(mail.NewReply(501, mail.Enhanced{5, 7, 0}, "Authentication cancelled"))
		return
	case errors.Is(err, errBase64), errors.Is(err, mail.ErrExchange):
		ses.refuse(mail.NewReply(501, mail.Enhanced{5, 5, 2}, "Malformed response"))
	case errors.Is(err, mail.ErrCredentials):
		ses.refuse(mail.NewReply(535, mail.Enhanced{5, 7, 8}, "Authentication credentials invalid").Because(err))
	default:
		r := refusal(err)
		if r.Code == 451 { // RFC 4954 section 6
			r.Code, r.Enhanced, r.Text = 454, mail.Enhanced{4, 7, 0}, "Temporary authentication failure"
		}
		ses.refuse(r)
		if r.Temporary() {
			return
		}
	}
	if ses.authFail++; ses.authFail >= ses.set.maxAuthFail && !ses.closing {
		ses.reply(mail.NewReply(421, mail.Enhanced{4, 7, 0}, "Too many failed authentications"))
	}
}

func (ses *session) login(id mail.Identity) {
	ses.s.Login = id
	if r := ses.ask(mail.StageAuth); r != nil {
		ses.s.Login = mail.Identity{}
		ses.refuse(r)
		return
	}
	ses.st.authenticated()
	ses.reply(mail.NewReply(235, mail.Enhanced{2, 7, 0}, "Authentication successful"))
}
