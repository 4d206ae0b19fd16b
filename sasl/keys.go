package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"hash"
)

// DefaultIterations is the iteration count of SCRAM keys: four times what RFC 7677 section 4 asks for at least, and below the
// 65536 where Cyrus SASL's clients stop.
const DefaultIterations = 16384

// MaxIterations is the highest count accepted from a server, so that it cannot keep a client computing.
const MaxIterations = 1 << 20

// Hash is the hash function of a SCRAM mechanism.
type Hash uint8

const (
	SHA256 Hash = iota
	SHA1
)

// String returns the name as it stands in mechanisms.
func (h Hash) String() string {
	if h == SHA1 {
		return "SHA-1"
	}
	return "SHA-256"
}

// Size returns the length of the hash in octets.
func (h Hash) Size() int {
	if h == SHA1 {
		return sha1.Size
	}
	return sha256.Size
}

func (h Hash) new() func() hash.Hash {
	if h == SHA1 {
		return sha1.New
	}
	return sha256.New
}

func (h Hash) sum(b []byte) []byte {
	f := h.new()()
	f.Write(b)
	return f.Sum(nil)
}

func (h Hash) hmac(key []byte, parts ...string) []byte {
	m := hmac.New(h.new(), key)
	for _, p := range parts {
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}

// ScramKeys is what a server keeps of a password (RFC 5802 section 3). It cannot be used to log in.
type ScramKeys struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

var errIterations = errors.New("sasl: iteration count out of range")

// NewScramKeys derives the keys of a password, which is prepared with SASLprep first.
func NewScramKeys(h Hash, password string, salt []byte, iterations int) (ScramKeys, error) {
	if iterations < 1 || iterations > MaxIterations {
		return ScramKeys{}, errIterations
	}
	clientKey, serverKey, err := deriveKeys(h, password, salt, iterations)
	if err != nil {
		return ScramKeys{}, err
	}
	return ScramKeys{Salt: salt, Iterations: iterations, StoredKey: h.sum(clientKey), ServerKey: serverKey}, nil
}

// deriveKeys computes ClientKey and ServerKey of RFC 5802 section 3.
func deriveKeys(h Hash, password string, salt []byte, iterations int) (clientKey, serverKey []byte, err error) {
	salted, err := pbkdf2.Key(h.new(), PreparePassword(password), salt, iterations, h.Size())
	if err != nil {
		return nil, nil, err
	}
	return h.hmac(salted, "Client Key"), h.hmac(salted, "Server Key"), nil
}
