// Package certs keeps the certificate of the house: it loads it, takes it up anew when its files change, and makes a
// self-signed one for a house that is just being built.
//
//	k, err := certs.Open(certs.Config{CertFile: cert, KeyFile: key, Log: log})
//	conf := k.ServerConfig() // every handshake from here on uses what the files hold then
//
// Promises. A Keeper is safe for concurrent use. Files are looked at during a handshake, at most once in
// Config.CheckEvery. No session is dropped for a new certificate, and files that are broken or half written are
// passed over: the old certificate stays, the log says why.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MaxFileOctets is the longest certificate or key file that is read.
const MaxFileOctets = 1 << 20

// Config of Open. CertFile and KeyFile are required.
type Config struct {
	CertFile, KeyFile string
	CheckEvery        time.Duration    // 0: 1 s
	Clock             func() time.Time // nil: time.Now
	Log               *slog.Logger     // nil: none
}

// Keeper holds a certificate.
type Keeper struct {
	cfg  Config
	cert atomic.Pointer[tls.Certificate]
	used atomic.Int64 // since when it is used, Unix nanoseconds
	next atomic.Int64 // when the files may be looked at again, Unix nanoseconds

	mu   sync.Mutex
	seen stamp // of the files that were last read, good or not
}

// Open loads the certificate. A certificate that is expired is served all the same, with a warning: most mail
// servers do not look, and no mail at all would be worse.
func Open(cfg Config) (*Keeper, error) {
	if cfg.CheckEvery <= 0 {
		cfg.CheckEvery = time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: cfg}
	k.seen = cfg.stamp()
	c, err := Load(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	if w := Worry(c, cfg.KeyFile, cfg.Clock()); w != "" {
		cfg.Log.Warn("certificate", "file", cfg.CertFile, "problem", w)
	}
	k.cert.Store(c)
	k.used.Store(cfg.Clock().UnixNano())
	k.next.Store(cfg.Clock().Add(cfg.CheckEvery).UnixNano())
	return k, nil
}

// ServerConfig returns a configuration for servers: TLS 1.2 and later, the newest certificate at each handshake.
func (k *Keeper) ServerConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.GetCertificate}
}

// GetCertificate is for tls.Config. It never fails: there is always a certificate.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := k.cfg.Clock()
	next := k.next.Load()
	if now.UnixNano() >= next && k.next.CompareAndSwap(next, now.Add(k.cfg.CheckEvery).UnixNano()) {
		k.Refresh()
	}
	return k.cert.Load(), nil
}

// Certificate returns the certificate in use.
func (k *Keeper) Certificate() *tls.Certificate { return k.cert.Load() }

// Shown returns the certificate that a session saw which began at a time; nil if it may have seen an earlier one.
func (k *Keeper) Shown(began time.Time) *x509.Certificate {
	c := k.cert.Load()
	if began.UnixNano() < k.used.Load() {
		return nil
	}
	return c.Leaf
}

// Refresh looks at the files now and takes them up if they changed.
func (k *Keeper) Refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.cfg.stamp()
	if s == k.seen {
		return
	}
	k.seen = s
	c, err := Load(k.cfg.CertFile, k.cfg.KeyFile)
	if err == nil && k.cfg.Clock().After(c.Leaf.NotAfter) && k.cfg.Clock().Before(k.cert.Load().Leaf.NotAfter) {
		err = fmt.Errorf("certificate %s: expired on %s", k.cfg.CertFile, day(c.Leaf.NotAfter))
	}
	if err != nil {
		k.cfg.Log.Error("the new certificate is not used, the old one stays", "err", err)
		return
	}
	if w := Worry(c, k.cfg.KeyFile, k.cfg.Clock()); w != "" {
		k.cfg.Log.Warn("certificate", "file", k.cfg.CertFile, "problem", w)
	}
	k.used.Store(k.cfg.Clock().UnixNano())
	k.cert.Store(c)
	k.cfg.Log.Info("new certificate taken up", "file", k.cfg.CertFile, "names", c.Leaf.DNSNames, "until", day(c.Leaf.NotAfter))
}

// stamp tells one state of the two files from another. A file renamed over another differs in its identity.
type stamp struct{ cert, key fileStamp }

type fileStamp struct {
	mtime, size int64
	inode       uint64
}

func (c Config) stamp() stamp { return stamp{stat(c.CertFile), stat(c.KeyFile)} }

func stat(name string) fileStamp {
	fi, err := os.Stat(name) // follows links: certificate tools switch a link
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{fi.ModTime().UnixNano(), fi.Size(), inode(fi)}
}

// Load reads a certificate with its chain and its key. Errors name the file, the cause and the remedy.
func Load(certFile, keyFile string) (*tls.Certificate, error) {
	certPEM, err := read("certificate", certFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := read("key", keyFile)
	if err != nil {
		return nil, err
	}
	if err := blocks("certificate", certFile, certPEM, "CERTIFICATE"); err != nil {
		return nil, err
	}
	if err := blocks("key", keyFile, keyPEM, "PRIVATE KEY"); err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		if strings.Contains(err.Error(), "does not match") {
			return nil, fmt.Errorf("key %s does not belong to certificate %s: name the key that the certificate was made for; the server's own certificate comes first in its file", keyFile, certFile)
		}
		return nil, fmt.Errorf("certificate %s with key %s: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &c, nil
}

func read(what, name string) ([]byte, error) {
	fi, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %s: there is no such file; correct [tls] in samotop.toml or put the file there", what, name)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case fi.Size() > MaxFileOctets || !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%s %s: not a PEM file", what, name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; the user that samotop runs as must be able to read it", what, err)
	}
	return b, nil
}

// blocks checks that a file holds a PEM block of a kind, and says what it holds instead.
func blocks(what, name string, text []byte, kind string) error {
	var found []string
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if strings.HasSuffix(b.Type, "ENCRYPTED PRIVATE KEY") || b.Headers["DEK-Info"] != "" {
			return fmt.Errorf("key %s is protected by a passphrase, which nobody could type at a start: store it without, readable by samotop alone", name)
		}
		if strings.HasSuffix(b.Type, kind) {
			return nil
		}
		found = append(found, b.Type)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s %s: holds %s, not %s; are cert and key exchanged?", what, name, strings.Join(found, ", "), kind)
	}
	return fmt.Errorf("%s %s: not a PEM file; convert it with openssl", what, name)
}

// Worry says what is not right with a certificate that loads, or "".
func Worry(c *tls.Certificate, keyFile string, now time.Time) string {
	switch {
	case now.After(c.Leaf.NotAfter):
		return "expired on " + day(c.Leaf.NotAfter) + ": renew it, the new files are taken up without a restart"
	case now.Before(c.Leaf.NotBefore):
		return "not valid before " + day(c.Leaf.NotBefore) + ": is the clock right?"
	}
	if fi, err := os.Stat(keyFile); err == nil && fi.Mode().Perm()&0o004 != 0 {
		return "everybody on this machine can read the key: chmod 600 " + keyFile
	}
	return ""
}

// Covers reports whether the certificate is good for a host name.
func Covers(c *tls.Certificate, hostname string) error {
	return c.Leaf.VerifyHostname(hostname)
}

// SelfSigned reports whether the certificate was signed by its own key: no client trusts it unasked.
func SelfSigned(c *tls.Certificate) bool {
	return bytes.Equal(c.Leaf.RawIssuer, c.Leaf.RawSubject) && c.Leaf.CheckSignatureFrom(c.Leaf) == nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
