// Package transfer moves mail in and out of a house: from maildirs, mbox files and IMAP servers, and to maildirs and mbox
// files, with flags, keywords, dates and folders. The verbs read and write the files; the mailbox is reached by HTTP, on
// the control socket of a server or in the same process:
//
//	POST /v1/transfer/folders?account=A               the folders as JSON, one a line
//	POST /v1/transfer/import?account=A&folder=F       records; the answer counts what was stored
//	POST /v1/transfer/export?account=A&folder=F       the answer is the records
//
// A record is a line of JSON and the content in pieces (record.go). A batch of an import is one commit of the store. Every
// message has an id made of where it comes from: one that was stored before is not stored again, so that an import that
// broke off is simply run again; what is known to be stored is also kept in a file beside the house (Known), so that it
// is not even read.
package transfer
