package sasl

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
)

// Channel binding types.
const (
	bindExporter = "tls-exporter"         // RFC 9266
	bindUnique   = "tls-unique"           // RFC 5929 section 3: never with TLS 1.3
	bindEndPoint = "tls-server-end-point" // RFC 5929 section 4
)

// Channel returns the data of a channel binding type (RFC 5056) of a TLS connection; cert is the certificate that the
// server showed, nil if that is not known.
func Channel(state *tls.ConnectionState, kind string, cert *x509.Certificate) ([]byte, bool) {
	if kind == bindEndPoint {
		return endPoint(cert)
	}
	return channelOf(state, kind)
}

// channelOf returns what both ends of a TLS connection can compute alone.
func channelOf(state *tls.ConnectionState, kind string) ([]byte, bool) {
	if !state.HandshakeComplete { // told by somebody else, with nothing behind it
		return nil, false
	}
	switch kind {
	case bindExporter:
		// RFC 9266 section 4.2: with TLS 1.2 only under the extended master secret, which the call insists on.
		data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		return data, err == nil
	case bindUnique:
		if state.Version >= tls.VersionTLS13 || len(state.TLSUnique) == 0 {
			return nil, false
		}
		return state.TLSUnique, true
	}
	return nil, false
}

// endPoint is the hash of a server's certificate (RFC 5929 section 4.1): of its signature's own hash function, but
// SHA-256 in place of MD5 and SHA-1. Signatures that have none (Ed25519) have no such binding.
func endPoint(cert *x509.Certificate) ([]byte, bool) {
	if cert == nil {
		return nil, false
	}
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		h := sha256.Sum256(cert.Raw)
		return h[:], true
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h := sha512.Sum384(cert.Raw)
		return h[:], true
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h := sha512.Sum512(cert.Raw)
		return h[:], true
	}
	return nil, false
}
