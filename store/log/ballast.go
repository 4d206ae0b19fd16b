package log

import (
	"github.com/samotop/samotop/store/disk"
)

// ballastOctets is how much of the disk a database holds for its next Open, in the file BALLAST. The index begins a new
// MANIFEST then, so that on a disk that somebody has filled to the last octet nothing would open, and nothing could be
// read or deleted any more.
const ballastOctets = 1 << 20

func (e *Engine) ballastName() string { return e.o.Dir + "/BALLAST" }

// dropBallast gives the room back if it is needed. That it cannot is told by what fails for lack of room.
func (e *Engine) dropBallast() {
	if s, err := e.o.FS.Space(e.o.Dir); err == nil && s.Free < ballastOctets {
		e.o.FS.Remove(e.ballastName()) //nolint:errcheck // see above
	}
}

// keepBallast takes the room, where there is more than the reserve. A database works without. It is written, and not only
// reserved, so that a power cut does not give it back.
func (e *Engine) keepBallast() {
	if e.ballast {
		return
	}
	if s, err := e.o.FS.Space(e.o.Dir); err != nil || s.Free < e.o.ReserveOctets+ballastOctets {
		return
	}
	if info, err := e.o.FS.Stat(e.ballastName()); err == nil && info.Size() == ballastOctets {
		e.ballast = true
		return
	}
	f, err := e.o.FS.Open(e.ballastName(), disk.Write|disk.Create)
	if err != nil {
		return
	}
	defer f.Close()
	_, err = f.WriteAt(make([]byte, ballastOctets), 0)
	e.ballast = err == nil && f.Sync() == nil && e.o.FS.SyncDir(e.o.Dir) == nil
}
