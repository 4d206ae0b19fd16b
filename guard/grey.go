package guard

import (
	"github.com/samotop/samotop/mail"
)

// Greylist is filled in below.
type Greylist struct{}

func (g *Greylist) Delay(m *Message, to, account mail.Address, score float64) bool { return false }
