// Package disk is what the engines of package store see of a file system, so that the same engine runs on the real
// one and on a simulated one with seeded faults.
//
//	var fsys disk.FS = disk.OS{}
//	sim := disk.NewSim(seed)              // in memory
//	fsys = sim
//	...
//	fsys = sim.Crash(disk.Strict)         // only what was synced
//
// Promises: an FS and its files are safe for concurrent use. What Sync and SyncDir returned nil for survives a power
// cut; nothing else need to: data, lengths, and entries of directories are lost or kept on their own.
package disk

import (
	"errors"
	"io"
	"io/fs"
)

// Align is what offset, length and memory of a Direct write must be multiples of, in octets.
const Align = 4096

// Flags say how to open a file.
type Flags uint8

const (
	Write      Flags = 1 << iota // for reading and writing, otherwise for reading
	Create                       // make it if it is not there
	Truncate                     // empty it
	Direct                       // past the page cache: see Align. Fails where the file system cannot.
	Sequential                   // will be read from beginning to end
)

// ErrLocked is wrapped by Lock with who holds it.
var ErrLocked = errors.New("disk: locked by another process")

// File is an open file.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Reserve keeps room on the disk for the first n octets of the file, and does not change its length. It is for what must
	// not find the disk full; ENOSPC is of errors that it gives, others mean that the file system cannot.
	Reserve(n int64) error
	// Sync returns when data and length are on the disk (fdatasync). It says nothing of the directory's entry.
	Sync() error
	// WriteAtSync is WriteAt, and returns when those octets, and the length that they give to the file, are on the disk. It
	// says nothing of what was written before and not synced. One call of the system in place of two.
	WriteAtSync(p []byte, off int64) error
}

// Space is the room on the file system, in octets.
type Space struct{ Free, Total int64 }

// FS is a file system. Errors are those of package io/fs where they fit.
type FS interface {
	Open(name string, how Flags) (File, error)
	Remove(name string) error
	RemoveAll(name string) error
	Rename(from, to string) error
	Link(from, to string) error
	MkdirAll(name string) error
	List(name string) ([]string, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir returns when the entries of the directory are on the disk.
	SyncDir(name string) error
	// Lock holds the file for this process until it is closed or the process ends, however it ends.
	Lock(name string) (io.Closer, error)
	Space(name string) (Space, error)
}
