package house

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/sandbox"
)

// system is what any program needs of the machine: names, certificates, time zones, and programs for routes of that kind.
var system = []string{"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/run/systemd/resolve", "/proc", "/sys"}

// confine leaves to the process of a room its own files alone, so that whoever takes it over cannot read another room's
// database nor the keys. Of a house in one process there is nothing to keep apart.
func (h *House) confine() error {
	if !h.o.Linked {
		return nil
	}
	f := sandbox.Files{Read: append([]string{filepath.Join(h.conf.Dir, config.FileName), filepath.Join(h.conf.Dir, config.DropInDir)}, system...),
		Write: []string{h.conf.RunPath(""), os.DevNull}}
	if h.conf.TLS.CA != "" {
		f.Read = append(f.Read, h.conf.TLS.CA)
	}
	if h.conf.TLS.ClientCA != "" {
		f.Read = append(f.Read, h.conf.TLS.ClientCA)
	}
	if h.has(MTA | MSA | Mails) {
		f.Read = append(f.Read, filepath.Dir(h.conf.TLS.Cert), filepath.Dir(h.conf.TLS.Key)) // renewed files are new ones
	}
	if h.conf.Far.Key != "" {
		f.Read = append(f.Read, h.conf.Far.CA, filepath.Dir(h.conf.Far.Cert), filepath.Dir(h.conf.Far.Key))
	}
	if h.acme != nil {
		f.Read = append(f.Read, filepath.Dir(h.conf.TLS.Key))
		f.Write = append(f.Write, filepath.Join(h.conf.Dir, config.ACMEDir), filepath.Dir(h.conf.TLS.Cert))
	}
	if h.drops != nil {
		f.Write = append(f.Write, h.conf.SpoolPath(""))
	}
	if h.has(Queue) {
		f.Write = append(f.Write, filepath.Join(h.conf.Dir, config.DKIMDir))
	}
	for name := range h.engines {
		f.Write = append(f.Write, filepath.Join(h.conf.Dir, name))
	}
	err := sandbox.Restrict(f)
	if errors.Is(err, sandbox.ErrUnsupported) {
		h.log.Warn("rooms are kept apart by their users only", "err", err)
		return nil
	}
	return err
}
