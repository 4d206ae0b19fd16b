package house

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/qm"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
)

// openLog opens the embedded engine.
func (h *House) openLog(ctx context.Context, name string) (store.Engine, error) {
	o := log.Options{Dir: filepath.Join(h.conf.Dir, name), Logger: h.log.With("database", name)}
	switch name {
	case mailsDB:
		o.SieveKinds = []byte(mailbox.SieveKinds)
	case accountsDB: // small, and changed by hand
		o.MemtableOctets, o.CacheOctets = 4<<20, 8<<20
	case journalDB: // written all the time, hardly read
		o = log.Small(o.Dir)
		o.Logger, o.MemtableOctets = h.log.With("database", name), 16<<20 // fewer, larger tables to merge
	}
	if name == evidenceDB { // small, and mostly in memory
		o = log.Small(o.Dir)
		o.Logger = h.log.With("database", name)
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, cutDir)); err != nil { // of a backup that was cut off
		return nil, err
	}
	return log.Open(ctx, o)
}

// openRooms opens the databases, at the same time, and then the rooms on them.
func (h *House) openRooms(ctx context.Context) error {
	if err := h.openEngines(ctx); err != nil {
		return err
	}
	h.openJournal(ctx)
	h.events = h.metrics.Journal(h.events)
	var err error
	if h.o.Rooms&Accounts != 0 {
		if h.accounts, err = accounts.Open(ctx, accounts.Config{Engine: h.engines[accountsDB], Hash: h.o.Hash, Networks: h.conf.Guard.Networks,
			Log: h.log.With("room", "accounts")}); err != nil {
			return fmt.Errorf("open accounts: %w", err)
		}
		h.rules = h.accounts
	}
	if h.o.Rooms&Mails != 0 {
		limits := mailbox.Limits{}
		if h.conf.MTA.MaxMessageBytes > 256<<20 { // its default
			limits.MessageOctets = h.conf.MTA.MaxMessageBytes
		}
		if h.mailbox, err = mailbox.Open(ctx, mailbox.Config{Engine: h.engines[mailsDB], Directory: directory{h.rules},
			Limits: limits, Observer: &h.observers, Journal: h.events, Log: h.log.With("room", "mailbox")}); err != nil {
			return fmt.Errorf("open mailbox: %w", err)
		}
	}
	if h.mailbox != nil {
		if h.rules != nil {
			h.desk = newContactDesk(h.rules, h.mailbox, h.log.With("part", "contacts"))
			h.observers.add(h.desk)
		}
		h.mailboxDoor = h.readable(h.mailbox.Door())
	}
	if h.o.Rooms&Queue != 0 {
		if err := h.openQueue(ctx); err != nil {
			return fmt.Errorf("open queue: %w", err)
		}
		h.queueDoor = h.listed(h.signedQueue())
	}
	if err := h.openAbuse(ctx); err != nil {
		return err
	}
	if h.o.Rooms&Guard != 0 {
		if err := h.openGuard(ctx); err != nil {
			return err
		}
	}
	if t := h.teacher(); t != nil && h.mailbox != nil {
		if h.history != nil {
			t = reputing{t, h.history.Reputation, h.conf.Hostname}
		}
		h.train = newTrainer(h.mailbox, t, h.log.With("room", "mailbox"))
		h.observers.add(h.train)
	}
	return nil
}

func (h *House) openEngines(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for room, name := range map[Rooms]string{Accounts: accountsDB, Mails: mailsDB, Queue: queueDB, Guard: evidenceDB, Management: journalDB} {
		if h.o.Rooms&room == 0 {
			continue
		}
		wg.Go(func() {
			e, err := h.o.OpenEngine(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && room == Management { // explanations are not worth the mail
				h.log.Error("the journal does not open; \"samotop why\" will know nothing", "err", engineError(filepath.Join(h.conf.Dir, name), err))
				return
			}
			if err != nil {
				errs = append(errs, engineError(filepath.Join(h.conf.Dir, name), err))
				return
			}
			h.engines[name] = e
			if room != Management {
				h.watch(name, e)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// watch lets the house stop when an engine has stopped, if the engine tells.
func (h *House) watch(name string, e store.Engine) {
	f, ok := e.(interface{ Fenced() <-chan struct{} })
	if !ok {
		return
	}
	go func() {
		select {
		case <-f.Fenced():
			h.fail(name, fenceCause(e))
		case <-h.closed:
		}
	}()
}

func fenceCause(e store.Engine) error {
	if m, ok := e.(store.Maintainer); ok {
		if s, err := m.Status(context.Background()); err == nil && s.Fenced != nil {
			return s.Fenced
		}
	}
	return store.ErrFenced
}

// engineError says what to do about a database that does not open.
func engineError(dir string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, store.ErrFormat):
		remedy = "; use the version of samotop that wrote it, or a newer one"
	case errors.Is(err, store.ErrLocked):
		remedy = "; stop that process first"
	case errors.Is(err, store.ErrCorrupt):
		remedy = "; copy the directory away before anything else, then restore a backup, or see \"samotop store rescue " + filepath.Base(dir) + " --help\""
	}
	return fmt.Errorf("open database %s: %w%s", dir, err, remedy)
}

func (h *House) openQueue(ctx context.Context) error {
	res, err := h.resolver()
	if err != nil {
		return err
	}
	conf, err := h.clientTLS()
	if err != nil {
		return err
	}
	local := h.mailboxDoor
	if local == nil {
		local = mail.Unassigned // the queue is only looked at
	}
	routes, err := h.routes()
	if err != nil {
		return err
	}
	h.queue, err = qm.Open(ctx, qm.Config{Engine: h.engines[queueDB], Local: local, Rules: h.queueRules(),
		Resolver: res, Routes: routes, Hostname: h.conf.Hostname, TLS: conf, Dial: h.o.Dial, Schedule: h.o.Schedule, TLSReports: qm.TLSReports{Collect: true}, Sign: h.signReport(), ReversePath: h.reversePath(), Limits: h.queueLimits(), ReportCopy: h.reportCopy(), SuppressAfter: h.conf.QM.SuppressAfter, Journal: h.events,
		Log: h.log.With("room", "qm")})
	return err
}

// resolver asks whom the configuration names. On a machine without any name server a house can still be run, with
// routes: then every question fails for now.
func (h *House) resolver() (resolver.Resolver, error) {
	if h.dns != nil {
		return h.dns, nil
	}
	rc := resolver.Config{TrustAD: h.conf.DNS.TrustAD, Log: h.log.With("part", "resolver")}
	if h.conf.DNS.TLS != "" {
		conf, err := h.clientTLS()
		if err != nil {
			return nil, err
		}
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		rc.TLS = conf.Clone()
		rc.TLS.ServerName = h.conf.DNS.TLS
	}
	for _, a := range h.conf.DNS.Resolvers {
		rc.Servers = append(rc.Servers, a.String())
	}
	r, err := resolver.New(rc)
	if err != nil && len(rc.Servers) == 0 {
		h.log.Warn("no name server is known; set [dns] resolver", "err", err)
		rc.Servers = []string{"127.0.0.1:53"}
		r, err = resolver.New(rc)
	}
	if err != nil {
		return nil, err
	}
	h.dns = r
	return r, nil
}

// clientTLS is for connections to other servers: the system's authorities, and the one of [tls] ca.
func (h *House) clientTLS() (*tls.Config, error) {
	pool, err := roots("tls.ca", h.conf.TLS.CA)
	if err != nil || pool == nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool}, nil
}
