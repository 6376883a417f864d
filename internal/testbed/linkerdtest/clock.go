package linkerdtest

import (
	"container/heap"
	"sync"
	"time"
)

// Clock is the time that every part of the double lives in.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f once d has passed. The returned function prevents the
	// call if it has not begun.
	AfterFunc(d time.Duration, f func()) (stop func())
	// Begin tells that work is under way that is not due to a timer; done tells
	// that it has ended. A clock that is told when to move does not move in
	// between.
	Begin() (done func())
}

// Fake is a Clock that stands still until it is told to move. Its timers run one
// after another, in order, on the goroutine that moves it, each to its end
// before the next: after Advance all that was due has happened.
type Fake struct {
	moving sync.Mutex // held while the clock is moved

	mu     sync.Mutex
	idle   *sync.Cond // busy has become 0
	now    time.Time
	timers timerHeap
	seq    int
	busy   int
}

// NewFake returns a clock that stands at now.
func NewFake(now time.Time) *Fake {
	c := &Fake{now: now}
	c.idle = sync.NewCond(&c.mu)
	return c
}

// Now implements Clock.
func (c *Fake) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc implements Clock. A timer that is due at once runs with the next
// call of Advance, AdvanceTo or Settle.
func (c *Fake) AfterFunc(d time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	t := &timer{at: c.now.Add(max(d, 0)), seq: c.seq, f: f}
	heap.Push(&c.timers, t)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.index >= 0 {
			heap.Remove(&c.timers, t.index)
		}
	}
}

// Begin implements Clock.
func (c *Fake) Begin() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.busy--; c.busy == 0 {
			c.idle.Broadcast()
		}
	})
}

// Advance moves the clock by d, running what falls due on the way, each timer at
// its own moment, and returns when all is quiet. It must not be called from a
// timer, nor between Begin and done.
func (c *Fake) Advance(d time.Duration) { c.AdvanceTo(c.Now().Add(d)) }

// AdvanceTo is Advance to a moment; the clock never goes back.
func (c *Fake) AdvanceTo(at time.Time) {
	c.moving.Lock()
	defer c.moving.Unlock()
	for {
		f := c.step(at)
		if f == nil {
			return
		}
		f()
	}
}

// step waits until all is quiet and then takes the next timer that is due by
// at; without one it sets the clock to at and returns nil.
func (c *Fake) step(at time.Time) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.busy > 0 {
		c.idle.Wait()
	}
	if len(c.timers) == 0 || c.timers[0].at.After(at) {
		if at.After(c.now) {
			c.now = at
		}
		return nil
	}
	t := heap.Pop(&c.timers).(*timer)
	if t.at.After(c.now) {
		c.now = t.at
	}
	return t.f
}

// Settle runs what is due at this moment and returns when all is quiet.
func (c *Fake) Settle() { c.AdvanceTo(c.Now()) }

// Next returns when the next timer is due.
func (c *Fake) Next() (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return time.Time{}, false
	}
	return c.timers[0].at, true
}

type timer struct {
	at    time.Time
	seq   int // timers of one moment run in the order in which they were set
	f     func()
	index int // in the heap; -1 outside
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last], t.index = nil, -1
	*h = (*h)[:last]
	return t
}

// Real is a Clock that follows the function it is made of, such as time.Now.
type Real func() time.Time

// Now implements Clock.
func (r Real) Now() time.Time { return r() }

// AfterFunc implements Clock.
func (r Real) AfterFunc(d time.Duration, f func()) (stop func()) {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

// Begin implements Clock; such a clock waits for nobody.
func (r Real) Begin() (done func()) { return func() {} }
