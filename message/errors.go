package message

import "errors"

// ErrHeaderTooLong: a header is longer than a HeaderEditor may hold.
var ErrHeaderTooLong = errors.New("message header is too long")
