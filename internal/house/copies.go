package house

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store"
)

// cutDir is where the copy of a database is, in the database's own directory: a room that is confined can write there,
// and files that never change are shared.
const cutDir = "cut"

// roomsOf tells whose each database is.
var roomsOf = map[string]string{accountsDB: "accounts", mailsDB: "mailbox", queueDB: "qm", journalDB: "management", evidenceDB: "guard"}

// copies makes the copies for backups.
type copies struct{ h *House }

var _ management.Copies = copies{}

func (c copies) Cut(ctx context.Context, name string) (string, error) {
	e, ok := c.h.engines[name]
	if !ok {
		var there management.CopyOf
		err := c.ask(ctx, "store/cut", name, &there)
		return there.Dir, err
	}
	m, ok := e.(store.Maintainer)
	if !ok {
		return "", &management.Error{Kind: management.Invalid, Thing: "database " + name, Cause: "its engine makes no copies"}
	}
	dir := filepath.Join(c.h.conf.Dir, name, cutDir)
	if err := m.Checkpoint(ctx, dir); err != nil {
		return "", fmt.Errorf("copy database %s: %w", name, err)
	}
	return dir, nil
}

func (c copies) Uncut(ctx context.Context, name string) error {
	if _, ok := c.h.engines[name]; !ok {
		return c.ask(ctx, "store/uncut", name, nil)
	}
	if err := os.RemoveAll(filepath.Join(c.h.conf.Dir, name, cutDir)); err != nil {
		return fmt.Errorf("remove the copy of database %s: %w", name, err)
	}
	return nil
}

// ask asks the process of the room that owns the database.
func (c copies) ask(ctx context.Context, verb, name string, result any) error {
	room := roomsOf[name]
	if room == "" || !c.h.o.Linked || !c.h.has(Management) {
		return &management.Error{Kind: management.NotFound, Thing: "database " + name, Cause: "is not known here"}
	}
	client := management.Over(c.h.roomControl(room))
	defer client.CloseIdleConnections()
	return management.Client{HTTP: client}.Call(ctx, verb, management.NameArgs{Name: name}, result)
}
