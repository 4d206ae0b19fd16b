package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// SelfSignedValid is how long a self-signed certificate is valid. Nobody renews it, so it is long.
const SelfSignedValid = 10 * 365 * 24 * time.Hour

// Request says what certificate to make.
type Request struct {
	Hosts []string  // names and addresses; the first is the subject
	Now   time.Time // zero: time.Now()
	Rand  io.Reader // nil: crypto/rand
}

// Make creates an ECDSA P-256 key and a self-signed certificate for it, as PEM. The certificate is its own
// authority, so that a client can be told to trust just it.
func Make(r Request) (certPEM, keyPEM []byte, err error) {
	if len(r.Hosts) == 0 {
		return nil, nil, fmt.Errorf("make certificate: no host name")
	}
	if r.Rand == nil {
		r.Rand = rand.Reader
	}
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), r.Rand)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(r.Rand, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: r.Hosts[0]},
		NotBefore: r.Now.Add(-time.Hour), NotAfter: r.Now.Add(SelfSignedValid), // an hour for clocks that are slow
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(r.Rand, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// Write puts a new self-signed certificate into two files, the key readable by its owner alone. It refuses to
// replace a file.
func Write(certFile, keyFile string, r Request) error {
	cert, key, err := Make(r)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{keyFile, key, 0o600}, {certFile, cert, 0o644}} {
		if err := create(f.name, f.text, f.mode); err != nil {
			return fmt.Errorf("make certificate: %w", err)
		}
	}
	return nil
}

func create(name string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
