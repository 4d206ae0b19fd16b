package mem

import (
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/storetest"
)

type opener struct {
	o    Options
	last *Engine
}

func (o *opener) Open(*testing.T) store.Engine {
	if o.last == nil {
		o.last = New(o.o)
	} else {
		o.last = o.last.Crash()
	}
	return o.last
}

func (o *opener) Crash(t *testing.T) store.Engine { return o.Open(t) }

func (o *opener) OpenCopy(t *testing.T, dir string) store.Engine {
	e, err := Load(dir, o.o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSuite(t *testing.T) {
	for name, o := range map[string]Options{"Default": {}, "Manual": {Manual: true}, "Moving": {MoveBodies: true}} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(*testing.T) storetest.Opener { return &opener{o: o} })
		})
	}
}
