// Package smtptest helps to test programs that speak SMTP or LMTP: a buffered connection in memory that works inside
// testing/synctest, doors behind a real LMTP server, scripted peers, recorded transcripts and faults.
//
//	smtptest.Script(t, srv, `
//	S: 220 mx.test ESMTP ready
//	C: EHLO a.test
//	S: 250-mx.test
//	S: 250-*
//	S: 250 *
//	C: QUIT
//	S: 221 *
//	`)
package smtptest
