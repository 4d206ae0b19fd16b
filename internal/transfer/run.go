package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Progress tells how far it is.
type Progress struct {
	Folders  int   `json:"folders"`
	Messages int   `json:"messages"` // seen
	Total    int   `json:"total"`    // about
	Octets   int64 `json:"octets"`   // of what was stored or written
	Stored   int   `json:"stored"`   // or written
	Repeated int   `json:"repeated"` // was there already
	Failed   int   `json:"failed"`
}

// Limits of an import.
const (
	batchMessages  = 64
	batchOctets    = 4 << 20
	DefaultWorkers = 4 // batches on their way at the same time, which share the store's sync
)

// Import says what to move in.
type Import struct {
	Client
	Source  Source
	Known   *Known
	Workers int                                          // 0: DefaultWorkers
	Tell    func(Progress)                               // nil: nobody; called by one goroutine at a time
	Failed  func(folder string, message Head, err error) // a message that was not stored; nil: nobody is told

	mu sync.Mutex
	at Progress
}

type batch struct {
	folder string
	items  []Item
}

// Run moves everything. What fails for one message is told and counted; other errors end it, and a further run goes on
// where it was.
func (im *Import) Run(ctx context.Context) (Progress, error) {
	ours, err := im.Client.folders(ctx)
	if err != nil {
		return im.at, err
	}
	theirs, err := im.Source.Folders(ctx)
	if err != nil {
		return im.at, err
	}
	im.at.Folders = len(theirs)
	for _, f := range theirs {
		im.at.Total += f.Messages
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan batch)
	var wg sync.WaitGroup
	for range workers(im.Workers) {
		wg.Go(func() {
			for b := range work {
				if err := im.store(ctx, b); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, f := range theirs {
		if err := im.folder(ctx, f, destination(f, ours), work); err != nil {
			cancel(err)
			break
		}
	}
	close(work)
	wg.Wait()
	return im.at, context.Cause(ctx)
}

// destination is the folder of the same special use, or of the same name.
func destination(f Folder, ours []listed) string {
	for _, o := range ours {
		if f.Use != "" && strings.EqualFold(f.Use, o.Use) {
			return o.Name
		}
	}
	return f.Name
}

// folder makes batches of a folder.
func (im *Import) folder(ctx context.Context, f Folder, to string, work chan<- batch) error {
	b, octets := batch{folder: to}, int64(0)
	send := func() error {
		if len(b.items) == 0 {
			return nil
		}
		select {
		case work <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		b, octets = batch{folder: to}, 0
		return nil
	}
	skipped := func(n int) { im.count(func(p *Progress) { p.Messages += n; p.Repeated += n }) }
	for item, err := range im.Source.Messages(ctx, f, im.Known.Has, skipped) {
		if err != nil {
			return fmt.Errorf("folder %s: %w", f.Name, err)
		}
		if len(b.items) > 0 && octets+item.Size > batchOctets {
			if err := send(); err != nil {
				return err
			}
		}
		b.items = append(b.items, item)
		if octets += item.Size; len(b.items) == batchMessages {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

func (im *Import) count(f func(*Progress)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	f(&im.at)
	im.at.Total = max(im.at.Total, im.at.Messages)
	if im.Tell != nil {
		im.Tell(im.at)
	}
}

// store stores a batch. If it is refused for what one message is, each is tried alone.
func (im *Import) store(ctx context.Context, b batch) error {
	n, err := im.batch(ctx, b.folder, b.items)
	var refused *Refusal
	var read *readError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &read), errors.As(err, &refused) && (refused.Code == "TOOBIG" || refused.Code == "LIMIT"):
		if len(b.items) > 1 {
			for _, it := range b.items {
				if err := im.store(ctx, batch{b.folder, []Item{it}}); err != nil {
					return err
				}
			}
			return nil
		}
		im.count(func(p *Progress) { p.Messages++; p.Failed++ })
		if im.Failed != nil {
			im.mu.Lock()
			defer im.mu.Unlock()
			im.Failed(b.folder, b.items[0].Head, err)
		}
		return nil
	default:
		return fmt.Errorf("folder %s: %w", b.folder, err)
	}
	if err := im.Known.add(b.items); err != nil {
		return err
	}
	octets := int64(0)
	for _, it := range b.items {
		octets += it.Size
	}
	im.count(func(p *Progress) {
		p.Messages += len(b.items)
		p.Stored += n.Stored
		p.Repeated += n.Repeated
		p.Octets += octets
	})
	return nil
}

// Sink takes the messages of a folder.
type Sink interface {
	// Has tells whether a message is there already.
	Has(h Head) bool
	// Put writes a message durably.
	Put(h Head, content func(io.Writer) error) error
	// Close ends a folder whose messages have all come.
	Close() error
}

// Target is where mail goes.
type Target interface {
	Begin(folder string) (Sink, error)
}

// Export says what to move out.
type Export struct {
	Client
	Target  Target
	Workers int // folders at the same time; 0: DefaultWorkers
	Tell    func(Progress)

	mu sync.Mutex
	at Progress
}

// Run writes everything. A further run goes on where one broke off.
func (ex *Export) Run(ctx context.Context) (Progress, error) {
	ours, err := ex.Client.folders(ctx)
	if err != nil {
		return ex.at, err
	}
	ex.at.Folders = len(ours)
	for _, f := range ours {
		ex.at.Total += f.Messages
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan string)
	var wg sync.WaitGroup
	for range workers(ex.Workers) {
		wg.Go(func() {
			for name := range work {
				if err := ex.folder(ctx, name); err != nil {
					cancel(fmt.Errorf("folder %s: %w", name, err))
				}
			}
		})
	}
	for _, f := range ours {
		select {
		case work <- f.Name:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return ex.at, context.Cause(ctx)
}

func (ex *Export) folder(ctx context.Context, name string) error {
	s, err := ex.Target.Begin(name)
	if err != nil {
		return err
	}
	err = ex.Client.each(ctx, name, func(h Head, content func(io.Writer) error) error {
		there := s.Has(h)
		if !there {
			if err := s.Put(h, content); err != nil {
				return err
			}
		}
		ex.mu.Lock()
		defer ex.mu.Unlock()
		ex.at.Messages++
		if there {
			ex.at.Repeated++
		} else {
			ex.at.Stored++
			ex.at.Octets += h.Size
		}
		ex.at.Total = max(ex.at.Total, ex.at.Messages)
		if ex.Tell != nil {
			ex.Tell(ex.at)
		}
		return nil
	})
	if err != nil {
		if b, ok := s.(interface{ Break() }); ok {
			b.Break()
		}
		return err
	}
	return s.Close()
}

func workers(n int) int {
	if n <= 0 {
		return DefaultWorkers
	}
	return n
}
