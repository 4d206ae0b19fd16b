package disk

import (
	"io"
	"io/fs"
	"syscall"
)

const page = 4096

// simFile is an open file of a Sim; its lock is the Sim's.
type simFile struct {
	s      *Sim
	ino    *inode
	name   string
	how    Flags
	at     int64
	closed bool
}

func (f *simFile) check() error {
	if f.closed {
		return &fs.PathError{Op: "use", Path: f.name, Err: fs.ErrClosed}
	}
	return nil
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.readAt(p, off)
}

func (f *simFile) readAt(p []byte, off int64) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	if _, err := f.s.enter(OpRead, f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) Read(p []byte) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	n, err := f.readAt(p, f.at)
	f.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.writeAt(p, off)
}

func (f *simFile) Write(p []byte) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	n, err := f.writeAt(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *simFile) writeAt(p []byte, off int64) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	if f.how&Write == 0 {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	if f.how&Direct != 0 && (off%Align != 0 || len(p)%Align != 0) {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EINVAL}
	}
	fault, err := f.s.enter(OpWrite, f.name)
	if err != nil {
		return 0, err
	}
	n := len(p)
	if fault.Short {
		n = f.s.rng.IntN(len(p) + 1)
		err = fault.Err
		if err == nil {
			err = ErrIO
		}
	}
	grow := off + int64(n) - f.ino.takes()
	if room := f.s.capacity() - f.s.used; grow > 0 && grow > room {
		n, err = int(max(0, int64(n)-(grow-max(0, room)))), syscall.ENOSPC
	}
	f.s.write(f.ino, p[:n], off)
	if err != nil {
		return n, &fs.PathError{Op: "write", Path: f.name, Err: err}
	}
	return n, nil
}

func (s *Sim) write(ino *inode, p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	if end := off + int64(len(p)); end > int64(len(ino.data)) {
		s.resize(ino, end)
	}
	copy(ino.data[off:], p)
	for pg := off / page; pg <= (off+int64(len(p))-1)/page; pg++ {
		ino.dirty[pg] = struct{}{}
	}
}

func (s *Sim) resize(ino *inode, size int64) {
	old, took := int64(len(ino.data)), ino.takes()
	defer func() {
		if ino.links > 0 {
			s.used += ino.takes() - took
		}
	}()
	if size <= old {
		clear(ino.data[size:])
		ino.data = ino.data[:size]
		ino.kept = min(ino.kept, size) // as truncating does
	} else if size <= int64(cap(ino.data)) {
		ino.data = ino.data[:size]
	} else {
		grown := make([]byte, size, max(size, min(2*old, old+(8<<20))))
		copy(grown, ino.data)
		ino.data = grown
	}
	for pg := min(size, old) / page; pg <= max(size, old)/page; pg++ {
		ino.dirty[pg] = struct{}{}
	}
}

func (f *simFile) Size() (int64, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if err := f.check(); err != nil {
		return 0, err
	}
	if f.s.off {
		return 0, &fs.PathError{Op: "stat", Path: f.name, Err: ErrOff}
	}
	return int64(len(f.ino.data)), nil
}

func (f *simFile) Truncate(size int64) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if _, err := f.s.enter(OpTruncate, f.name); err != nil {
		return err
	}
	f.s.resize(f.ino, size)
	return nil
}

// Reserve is of File. A crash forgets it, which is the worse case.
func (f *simFile) Reserve(n int64) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if _, err := f.s.enter(OpReserve, f.name); err != nil {
		return err
	}
	grow := n - f.ino.takes()
	if grow > 0 && grow > f.s.capacity()-f.s.used {
		return &fs.PathError{Op: "reserve", Path: f.name, Err: syscall.ENOSPC}
	}
	if grow > 0 {
		f.ino.kept = n
		if f.ino.links > 0 {
			f.s.used += grow
		}
	}
	return nil
}

func (f *simFile) Sync() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if _, err := f.s.enter(OpSync, f.name); err != nil {
		return err
	}
	f.ino.settle()
	return nil
}

// WriteAtSync is of File: only what it writes survives.
func (f *simFile) WriteAtSync(p []byte, off int64) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, err := f.writeAt(p, off); err != nil {
		return err
	}
	if _, err := f.s.enter(OpSync, f.name); err != nil {
		return err
	}
	f.ino.settleRange(off, int64(len(p)))
	return nil
}

// settleRange makes n octets survive, and the length that they reach to.
func (i *inode) settleRange(off, n int64) {
	if n == 0 {
		return
	}
	if grow := off + n - int64(len(i.stable)); grow > 0 {
		i.stable = append(i.stable, make([]byte, grow)...)
	}
	for pg := off / page; pg <= (off+n-1)/page; pg++ {
		i.copyPage(i.stable, pg, page)
		if (pg+1)*page <= int64(len(i.stable)) || len(i.stable) == len(i.data) {
			delete(i.dirty, pg)
		}
	}
}

// settle makes what is written what survives.
func (i *inode) settle() {
	size := int64(len(i.data))
	if size <= int64(len(i.stable)) {
		i.stable = i.stable[:size]
	} else {
		i.stable = append(i.stable, make([]byte, size-int64(len(i.stable)))...)
	}
	for pg := range i.dirty {
		i.copyPage(i.stable, pg, page)
	}
	clear(i.dirty)
}

// copyPage brings the first n octets of a page of the written content into dst.
func (i *inode) copyPage(dst []byte, pg int64, n int) {
	from := pg * page
	if from < int64(len(dst)) && from < int64(len(i.data)) {
		copy(dst[from:min(from+int64(n), int64(len(dst)))], i.data[from:])
	}
}

func (f *simFile) Close() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	f.closed = true
	return nil
}
