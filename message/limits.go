package message

// Limits bounds what a Parser keeps in memory. A field that is zero stands for its default; nothing here limits the
// size of a message, which is never held.
type Limits struct {
	HeaderBytes    int // one header block, octets that are kept; default 256 KiB
	AllHeaderBytes int // all header blocks of a message together, octets that are kept; default 1 MiB
	HeaderFields   int // fields of one header block that are indexed; default 4096
	Depth          int // levels of multipart and message/rfc822 below the root that are opened; default 64
	Parts          int // parts below the root; default 1000
	BoundaryBytes  int // longest boundary that is looked for, octets; default 1024 (RFC 2046 section 5.1.1 allows 70)
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.HeaderBytes, 256<<10)
	setDefault(&l.AllHeaderBytes, 1<<20)
	setDefault(&l.HeaderFields, 4096)
	setDefault(&l.Depth, 64)
	setDefault(&l.Parts, 1000)
	setDefault(&l.BoundaryBytes, 1024)
	return l
}

func setDefault(p *int, v int) {
	if *p <= 0 {
		*p = v
	}
}
