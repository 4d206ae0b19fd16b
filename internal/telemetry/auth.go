package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
)

// readTime is how long reading one number may take.
const readTime = 5 * time.Second

// Authenticator counts the logins of another one.
func (m *Metrics) Authenticator(a mail.Authenticator) mail.Authenticator { return authenticator{a, m} }

type authenticator struct {
	mail.Authenticator
	m *Metrics
}

func (a authenticator) Start(ctx context.Context, s *mail.Session, mechanism string) (mail.Exchange, error) {
	x, err := a.Authenticator.Start(ctx, s, mechanism)
	if err != nil {
		if !errors.Is(err, mail.ErrMechanism) { // the mechanism may be any word that a stranger likes
			a.m.logins.WithLabelValues(s.Service, "", "trouble").Inc()
		}
		return nil, err
	}
	return &exchange{Exchange: x, m: a.m, service: s.Service, mechanism: mechanism}, nil
}

type exchange struct {
	mail.Exchange
	m                  *Metrics
	service, mechanism string
}

func (x *exchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	challenge, done, err := x.Exchange.Next(ctx, response)
	result := ""
	switch {
	case errors.Is(err, mail.ErrCredentials), errors.Is(err, mail.ErrExchange):
		result = "wrong"
	case err != nil:
		result = "trouble"
	case done:
		result = "ok"
	default:
		return challenge, done, err
	}
	x.m.logins.WithLabelValues(x.service, x.mechanism, result).Inc()
	return challenge, done, err
}
