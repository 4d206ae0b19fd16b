package keyring

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/samotop/samotop/mailauth/dkim"
)

// FuzzKeyFile: a file of a key is read only if it is a key that signs, of a size that others verify.
func FuzzKeyFile(f *testing.F) {
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for _, bits := range []int{1024, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("no key"))
	f.Fuzz(func(t *testing.T, text []byte) {
		signer, err := parseKey(text)
		if err != nil {
			return
		}
		if k, ok := signer.(*rsa.PrivateKey); ok && (k.N.BitLen() < dkim.MinRSABits || k.N.BitLen() > dkim.MaxRSABits) {
			t.Errorf("a key of %d bits", k.N.BitLen())
		}
		if _, err := dkim.Record(signer.Public()); err != nil {
			t.Error(err)
		}
	})
}
