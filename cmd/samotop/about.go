package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type versionCmd struct{ jsonFlag }

func (versionCmd) Help() string {
	return `Example:
  samotop version`
}

func (c *versionCmd) Run(e *env) error {
	if c.JSON {
		return printJSON(e.stdout, map[string]string{"version": buildVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	_, err := fmt.Fprintf(e.stdout, "samotop %s (%s %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

type checkConfigCmd struct{}

func (checkConfigCmd) Help() string {
	return `Every fault is told with file, line, what is wrong and what to do. Exit status 1 if there is one.

Example:
  samotop check-config --dir /var/lib/samotop`
}

func (c *checkConfigCmd) Run(e *env) error {
	dir, err := e.house()
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	cert, err := certs.Load(conf.TLS.Cert, conf.TLS.Key)
	if err != nil {
		return err
	}
	for _, f := range conf.Files {
		fmt.Fprintf(e.stdout, "%s: good\n", f)
	}
	if w := certs.Worry(cert, conf.TLS.Key, time.Now()); w != "" {
		fmt.Fprintf(e.stdout, "%s: %s\n", conf.TLS.Cert, w)
	}
	if err := certs.Covers(cert, conf.Hostname); err != nil {
		fmt.Fprintf(e.stdout, "%s: not made for %s: mail programs will warn\n", conf.TLS.Cert, conf.Hostname)
	}
	return nil
}

type statusCmd struct {
	Check bool   `help:"Say nothing; the exit status is 0 only if the house serves and can keep mail."`
	Room  string `help:"With --check: ask this room, of a house that is split." placeholder:"ROOM"`
	jsonFlag
}

func (statusCmd) Help() string {
	return `With --check it is a health check, as containers and monitors want it: exit status 0 if the house, or the process of a room,
serves all its listeners and its databases work; else 1, with the reason on standard error.

Example:
  samotop status
  samotop status --check --room mta`
}

func (c *statusCmd) Run(e *env) error {
	if c.Check {
		return e.check(c.Room)
	}
	var s management.Status
	if err := e.call(house.Accounts, "house/status", nil, &s); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, s)
	}
	state := "not running"
	switch {
	case s.Stopping:
		state = fmt.Sprintf("stopping, process %d", s.PID)
	case s.Running:
		state = fmt.Sprintf("running since %s, process %d", stamp(s.Since), s.PID)
	}
	fmt.Fprintf(e.stdout, "House       %s\nDirectory   %s\nVersion     %s\nState       %s\n", s.Hostname, s.Dir, s.Version, state)
	if s.Fenced != "" {
		fmt.Fprintf(e.stdout, "Trouble     %s\n", s.Fenced)
	}
	if s.FreeOctets > 0 {
		fmt.Fprintf(e.stdout, "Disk        %s free\n", octets(s.FreeOctets))
	}
	if s.Certificate != "" {
		fmt.Fprintf(e.stdout, "Certificate %s\n", s.Certificate)
	}
	if q := s.Queue; q != nil {
		fmt.Fprintf(e.stdout, "Queue       %d messages, %d recipients, %d put off, %d held\n", q.Messages, q.Recipients, q.Deferred, q.Held)
	}
	for _, r := range s.Rooms {
		e.showRoom(&r)
	}
	for _, l := range s.Listeners {
		fmt.Fprintf(e.stdout, "Listens     %s\n", l)
	}
	shown := map[int]bool{s.PID: true} // a process may serve several rooms
	for _, r := range s.Rooms {
		for _, l := range r.Listeners {
			if !shown[r.PID] {
				fmt.Fprintf(e.stdout, "Listens     %s\n", l)
			}
		}
		shown[r.PID] = true
	}
	return nil
}

// showRoom tells of a room in another process.
func (e *env) showRoom(r *management.Room) {
	switch {
	case !r.Up:
		fmt.Fprintf(e.stdout, "Room        %s is away; start it with \"samotop serve %s\"\n", r.Name, r.Name)
	case r.Here:
	case r.PID == 0:
		fmt.Fprintf(e.stdout, "Room        %s runs in another process, which does not say how it is\n", r.Name)
	default:
		fmt.Fprintf(e.stdout, "Room        %s runs in process %d since %s\n", r.Name, r.PID, stamp(r.Since))
	}
	if r.Fenced != "" {
		fmt.Fprintf(e.stdout, "Trouble     %s: %s\n", r.Name, r.Fenced)
	}
	if r.Certificate != "" {
		fmt.Fprintf(e.stdout, "Certificate %s: %s\n", r.Name, r.Certificate)
	}
}

type storeCmd struct {
	Status storeStatusCmd `cmd:"" help:"Space and health of the databases."`
	Rescue storeRescueCmd `cmd:"" help:"Make a damaged database one that opens."`
}

type storeStatusCmd struct{ jsonFlag }

func (storeStatusCmd) Help() string {
	return `Example:
  samotop store status --json`
}

func (c *storeStatusCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "database\tlive\tdead\tindex\tlog\tfree\thealth", func(s management.Store) string {
		health := "good"
		switch {
		case s.Fenced != "":
			health = "stopped: " + s.Fenced
		case s.Full:
			health = "disk full: only deleting is possible"
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s", s.Name, octets(s.LiveOctets), octets(s.DeadOctets), octets(s.IndexOctets), octets(s.LogOctets), octets(s.FreeOctets), health)
	})
	return t.end(each(e, house.All, "store/status", nil, t.add))
}
