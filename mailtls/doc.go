// Package mailtls holds what makes TLS between mail servers mean something: MTA-STS (package mtasts, RFC 8461), DANE
// (package dane, RFC 7672) and reports about how it went (package tlsrpt, RFC 8460).
package mailtls
