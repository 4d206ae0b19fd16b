package house

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/samotop/samotop/mailauth/keyring"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
)

// far is the room of another process, asked by its control socket for what only the verbs of another room need.
type far struct{ c management.Client }

var (
	_ mailKeeper     = far{}
	_ keyMaker       = far{}
	_ evidencePurger = far{}
)

// farTime is how long another room may take for that.
const farTime = 30 * time.Second

func (h *House) far(room string) far {
	return far{management.Client{HTTP: management.Over(h.roomControl(room))}}
}

func (f far) Usage(ctx context.Context, owner uint64) (u mailbox.Usage, err error) {
	err = f.c.Call(ctx, "mailbox/usage", management.OwnerArgs{Owner: owner}, &u)
	return u, err
}

func (f far) Purge(ctx context.Context, owner uint64) error {
	return f.c.Call(ctx, "mailbox/purge", management.OwnerArgs{Owner: owner}, nil)
}

func (f far) PurgeEvidence(ctx context.Context, owner uint64, address string) error {
	return f.c.Call(ctx, "reputation/purge", management.PurgeArgs{Owner: owner, Address: address}, nil)
}

// Make makes first keys only: a domain that has some keeps them, as with keyring.Ring.
func (f far) Make(domain string) ([]keyring.Key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), farTime)
	defer cancel()
	have := errors.New("there are some")
	_, err := f.c.Each(ctx, "dkim/list", management.NameArgs{Name: domain}, func(json.RawMessage) error { return have })
	if errors.Is(err, have) {
		return nil, nil
	}
	if err == nil {
		err = f.c.Call(ctx, "dkim/rotate", management.RotateArgs{Domain: domain}, nil)
	}
	return nil, err
}

// mailOf answers the other side of that.
type mailOf struct{ m *mailbox.Mailbox }

func (o mailOf) Usage(ctx context.Context, owner uint64) (any, error) { return o.m.Usage(ctx, owner) }

func (o mailOf) Purge(ctx context.Context, owner uint64) error { return o.m.Purge(ctx, owner) }
