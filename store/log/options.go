package log

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// Direct says whether the log is written past the page cache.
type Direct int

const (
	DirectAuto Direct = iota // where the file system takes it
	DirectOff
	DirectOnly // or Open fails
)

// Options of an Engine. Zero means the default; Dir is required.
type Options struct {
	Dir string
	// FS is the file system; default disk.OS{}.
	FS     disk.FS
	Direct Direct
	// Logger hears what the owner should know; default: nobody.
	Logger *slog.Logger
	// OnFence is called once, in a goroutine of its own, when the engine fences itself. A server should exit.
	OnFence func(error)
	// Rescue opens a damaged log, losing what does not check. See the function Rescue.
	Rescue bool

	// SegmentOctets bounds a file of the log, but for a batch larger than it; default 256 MiB, at most 1 GiB.
	SegmentOctets int64
	// GroupOctets ends the gathering of a group; default 8 MiB.
	GroupOctets int
	// InlineOctets is up to which size a body is held in memory and written with its batch, and the size of the
	// pieces in which a larger one goes to the log; rounded to blocks of 64 KiB; default 256 KiB.
	InlineOctets int
	// QueueOctets is what may wait for the log; beyond it Submit and Write wait. Default 32 MiB.
	QueueOctets int64
	// FlushLogOctets of the log after the last flush force the index to flush, and so bound what a restart reads;
	// default 128 MiB.
	FlushLogOctets int64
	// MemtableOctets is the size of the index's memtable, of which there may be two or three; default 64 MiB.
	MemtableOctets int
	// CacheOctets is the size of the index's block cache, beside the memtables; default 32 MiB.
	CacheOctets int64
	// SieveKinds are first octets of keys that are mostly asked for in vain, before they are put: a filter in memory
	// then answers without a look into the index. None: no filter.
	SieveKinds []byte
	// SieveOctets bounds that filter, which takes 1.5 octets for each key; beyond it it gets coarse. Default 64 MiB.
	SieveOctets int64
	// ReserveOctets of free space are kept for deleting; default twice MemtableOctets, at least 64 MiB.
	ReserveOctets int64
	// ViewTime is how long a View may last; default 30 s.
	ViewTime time.Duration
	// ViewRows is how many rows a View may read; default 16 Mi.
	ViewRows int
	// MaxBodyOctets bounds one body; default and maximum 4000 MiB, so that its extents fit a Ref.
	MaxBodyOctets int64
	// MaxOpenSegments is how many files of the log are kept open for reading; default 128.
	MaxOpenSegments int
	// AheadOctets of zeros are written at a time where small groups are to follow, because a sync is cheaper there; negative: none,
	// for a file system that never writes in place, such as btrfs. Default 256 KiB.
	AheadOctets int
	// StallTime is how long what is durable in the log may wait for an index that finds no room on the disk; then Wait gives
	// ErrUnknown, until there is room. Default 10 s.
	StallTime time.Duration
	// CollectBelowPercent: a segment is worth collecting when less than this part of it is alive; default 50.
	CollectBelowPercent int

	fullPause time.Duration // between two tries of the index while there is no space; default 200 ms
	closeTime time.Duration // how long Close waits for an index that may hang on a dead or full disk; default 3 s
}

// Small is the options for a database without many bodies, such as accounts or a queue: some MiB of memory, tens of MiB
// of log.
func Small(dir string) Options {
	return Options{Dir: dir, SegmentOctets: 16 << 20, FlushLogOctets: 16 << 20, MemtableOctets: 4 << 20, CacheOctets: 8 << 20,
		GroupOctets: 4 << 20, QueueOctets: 16 << 20, ReserveOctets: 64 << 20}
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("options: no directory: %w", store.ErrInvalid)
	}
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	def(&o.SegmentOctets, 256<<20)
	o.SegmentOctets = min(o.SegmentOctets, 1<<30)
	def(&o.GroupOctets, 8<<20)
	def(&o.InlineOctets, 256<<10)
	o.InlineOctets = min(max(1, (o.InlineOctets+blockOctets-1)/blockOctets)*blockOctets, 16<<20)
	def(&o.QueueOctets, 32<<20)
	def(&o.FlushLogOctets, 128<<20)
	def(&o.MemtableOctets, 64<<20)
	def(&o.CacheOctets, 32<<20)
	def(&o.SieveOctets, 64<<20)
	def(&o.ReserveOctets, max(64<<20, 2*int64(o.MemtableOctets)))
	def(&o.ViewTime, 30*time.Second)
	def(&o.ViewRows, 16<<20)
	def(&o.MaxBodyOctets, 4000<<20)
	o.MaxBodyOctets = min(o.MaxBodyOctets, 4000<<20)
	def(&o.MaxOpenSegments, 128)
	def(&o.CollectBelowPercent, 50)
	if o.AheadOctets == 0 {
		o.AheadOctets = 256 << 10
	}
	o.AheadOctets = max(0, o.AheadOctets) &^ (disk.Align - 1)
	def(&o.StallTime, 10*time.Second)
	def(&o.fullPause, 200*time.Millisecond)
	def(&o.closeTime, 3*time.Second)
	return o, nil
}

func def[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

var (
	_ store.Engine     = (*Engine)(nil)
	_ store.Maintainer = (*Engine)(nil)
)
