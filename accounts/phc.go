package accounts

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Limits of a PHC string, so that one from elsewhere cannot stall the room.
const (
	maxPHCOctets  = 1024
	maxMemoryKiB  = 1 << 20
	maxPasses     = 64
	maxThreads    = 64
	minSaltOctets = 8
	maxHashOctets = 128
	saltOctets    = 16
	hashOctets    = 32
)

var errPHC = errors.New("accounts: not an argon2id PHC string")

// phc is an argon2id hash (RFC 9106) as the PHC string format writes it: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
type phc struct {
	memoryKiB, passes uint32
	threads           uint8
	salt, hash        []byte
}

var b64 = base64.RawStdEncoding.Strict()

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memoryKiB, p.passes, p.threads,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(s) > maxPHCOctets || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return phc{}, errPHC
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return phc{}, errPHC
	}
	m, err1 := phcNumber(params[0], "m=", maxMemoryKiB)
	t, err2 := phcNumber(params[1], "t=", maxPasses)
	threads, err3 := phcNumber(params[2], "p=", maxThreads)
	salt, err4 := b64.DecodeString(parts[4])
	hash, err5 := b64.DecodeString(parts[5])
	if errors.Join(err1, err2, err3, err4, err5) != nil || strings.ContainsAny(s, "\r\n") ||
		len(salt) < minSaltOctets || len(hash) < 16 || len(hash) > maxHashOctets || m < 8*threads {
		return phc{}, errPHC
	}
	return phc{memoryKiB: m, passes: t, threads: uint8(threads), salt: salt, hash: hash}, nil
}

func phcNumber(s, name string, most uint32) (uint32, error) {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 || n > uint64(most) || digits[0] == '0' || digits[0] == '+' {
		return 0, errPHC
	}
	return uint32(n), nil
}

func (p phc) compute(password string, size int) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.passes, p.memoryKiB, p.threads, uint32(size))
}

func (p phc) verify(password string) bool {
	return subtle.ConstantTimeCompare(p.compute(password, len(p.hash)), p.hash) == 1
}
