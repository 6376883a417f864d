package linkerdtest

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Ledger sees to it that a mesh works: it lets its peers shake hands, over real
// TLS, and keeps what came of it.
//
//   - Whenever what a peer trusts or presents changes, that peer and one member of
//     each class that it pairs with shake hands, both ways, before the next change
//     is applied. (Classes that exist already have done so among themselves.)
//   - Step lets every peer shake hands with one member of each class, both ways.
//   - Finish lets all pairs shake hands, both ways.
//
// Peers pair within their cluster, control plane included, and with the peers of
// each linked cluster. A peer without a leaf is a failure of the step that finds
// it. A Ledger is the Changes of its proxies.
type Ledger struct {
	clock Clock

	// gate lets one change through at a time, together with its handshakes.
	gate sync.Mutex

	mu       sync.Mutex
	peers    map[*Proxy]seen
	links    map[[2]string]bool
	step     string
	turn     int // which member of a class is next
	changes  int
	steps    int
	done     map[Occasion]int
	required map[Occasion]int
	unseen   int  // changes that nobody told of
	final    bool // nothing has changed since Finish
	failures []Failure
	classes  map[Class]bool // all that ever were
}

// seen is how the ledger last saw a peer.
type seen struct {
	class Class
	leaf  *credential
}

// Class is what peers have in common that cannot be told apart: they trust the
// same anchors, present the same certificates beside their leaves, and judge by
// the same rules.
type Class struct {
	Cluster  string
	Release  string
	Trusts   ID
	Presents ID
}

// Occasion is what a handshake was made for.
type Occasion string

// The occasions of handshakes.
const (
	OnChange Occasion = "change"
	OnStep   Occasion = "step"
	OnFinish Occasion = "final"
)

var occasions = []Occasion{OnChange, OnStep, OnFinish}

// Failure is a handshake that did not work.
type Failure struct {
	Occasion Occasion
	Step     string // the step in which it happened, or that it opened
	At       time.Time
	Client   Member
	Server   Member // zero where a client has no leaf to begin with
	Err      error  // a *Refusal where one side refused the other
}

// Member is a peer in its class.
type Member struct {
	Class Class
	Pod   string // namespace/name
}

// NewLedger returns a ledger without peers.
func NewLedger(clock Clock) *Ledger {
	return &Ledger{
		clock: clock, peers: make(map[*Proxy]seen), links: make(map[[2]string]bool), step: "start",
		done: make(map[Occasion]int), required: make(map[Occasion]int), classes: make(map[Class]bool),
	}
}

// Link makes the peers of two clusters pair.
func (l *Ledger) Link(a, b string) {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links[[2]string{a, b}], l.links[[2]string{b, a}] = true, true
	l.final = false
}

// Unlink ends that.
func (l *Ledger) Unlink(a, b string) {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, [2]string{a, b})
	delete(l.links, [2]string{b, a})
}

// Add makes a proxy a peer, even if it has no leaf yet.
func (l *Ledger) Add(p *Proxy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.peers[p]; !ok {
		l.peers[p], l.final = seen{class: classOf(p)}, false
	}
}

// Remove ends that; the proxy must have been stopped. It waits for the handshakes
// that are under way.
func (l *Ledger) Remove(p *Proxy) {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, p)
}

// Change implements Changes.
func (l *Ledger) Change(p *Proxy, apply func()) {
	l.gate.Lock()
	defer l.gate.Unlock()
	apply()
	l.mu.Lock()
	if p.ended() { // it was about to renew when its container ended
		l.mu.Unlock()
		return
	}
	l.peers[p] = seen{classOf(p), p.credential()}
	l.changes++
	l.final = false
	var pairs [][2]*Proxy
	if !p.Ready() { // it presents nothing, so that nobody talks to it
		l.mu.Unlock()
		return
	}
	for _, members := range l.members() {
		if m := l.pick(members, p); m != nil {
			pairs = append(pairs, [2]*Proxy{p, m}, [2]*Proxy{m, p})
		}
	}
	l.mu.Unlock()
	l.shake(OnChange, pairs)
}

// Step begins a step, whose name failures bear from here on, and lets every peer
// shake hands with a member of each class, both ways.
func (l *Ledger) Step(name string) {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	l.step = name
	l.steps++
	l.inspect(OnStep)
	var pairs [][2]*Proxy
	classes := l.members()
	for _, members := range classes {
		for _, p := range members {
			for _, others := range classes {
				if m := l.pick(others, p); m != nil {
					pairs = append(pairs, [2]*Proxy{p, m}, [2]*Proxy{m, p})
				}
			}
		}
	}
	l.mu.Unlock()
	l.shake(OnStep, pairs)
}

// Finish lets all pairs shake hands, both ways.
func (l *Ledger) Finish() {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	l.inspect(OnFinish)
	peers := slices.Concat(l.members()...)
	var pairs [][2]*Proxy
	for _, p := range peers {
		for _, q := range peers {
			if p != q && l.pair(p, q) {
				pairs = append(pairs, [2]*Proxy{p, q})
			}
		}
	}
	l.final = true
	l.mu.Unlock()
	l.shake(OnFinish, pairs)
}

// inspect looks at every peer on its own: one without a leaf is a failure, one
// that has changed unnoticed a gap. The lock is held.
func (l *Ledger) inspect(o Occasion) {
	for _, p := range l.sorted() {
		if p.credential() == nil {
			l.required[o]++
			l.done[o]++
			err := p.Err()
			if err == nil {
				err = errNoLeaf
			}
			l.failures = append(l.failures, Failure{Occasion: o, Step: l.step, At: l.clock.Now(), Client: memberOf(p), Err: err})
		}
		if now := (seen{classOf(p), p.credential()}); l.peers[p] != now {
			l.unseen++
			l.peers[p] = now
		}
	}
}

// members returns the peers that have a leaf, by class, in a fixed order. The
// lock is held.
func (l *Ledger) members() [][]*Proxy {
	byClass := make(map[Class][]*Proxy)
	var order []Class
	for _, p := range l.sorted() {
		if p.credential() == nil {
			continue
		}
		c := classOf(p)
		if byClass[c] == nil {
			order = append(order, c)
			l.classes[c] = true
		}
		byClass[c] = append(byClass[c], p)
	}
	out := make([][]*Proxy, len(order))
	for i, c := range order {
		out[i] = byClass[c]
	}
	return out
}

func (l *Ledger) sorted() []*Proxy {
	return slices.SortedFunc(maps.Keys(l.peers), func(a, b *Proxy) int {
		return cmp.Or(cmp.Compare(a.cfg.Cluster, b.cfg.Cluster), cmp.Compare(a.cfg.Pod, b.cfg.Pod), cmp.Compare(a.cfg.IP, b.cfg.IP))
	})
}

// pick returns a member of a class that p pairs with, another one each time, or
// nil. The lock is held.
func (l *Ledger) pick(members []*Proxy, p *Proxy) *Proxy {
	l.turn++
	for i := range members {
		if m := members[(l.turn+i)%len(members)]; m != p && l.pair(p, m) {
			return m
		}
	}
	return nil
}

// pair tells whether two peers may talk to each other.
func (l *Ledger) pair(p, q *Proxy) bool {
	return p.cfg.Cluster == q.cfg.Cluster || l.links[[2]string{p.cfg.Cluster, q.cfg.Cluster}]
}

// shake makes the handshakes, client first in each pair, a few at a time, and
// keeps what came of them in the order of the pairs.
func (l *Ledger) shake(o Occasion, pairs [][2]*Proxy) {
	at := l.clock.Now()
	errs := make([]error, len(pairs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pairs)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = pairs[i][0].probe(pairs[i][1])
			}
		})
	}
	for i := range pairs {
		next <- i
	}
	close(next)
	wg.Wait()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.required[o] += len(pairs)
	l.done[o] += len(errs)
	for i, err := range errs {
		if err != nil {
			l.failures = append(l.failures, Failure{o, l.step, at, memberOf(pairs[i][0]), memberOf(pairs[i][1]), err})
		}
	}
}

// Classes returns how many peers each class has now.
func (l *Ledger) Classes() map[Class]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[Class]int)
	for p := range l.peers {
		out[classOf(p)]++
	}
	return out
}

func classOf(p *Proxy) Class {
	return Class{p.cfg.Cluster, p.cfg.Release.String(), p.Trust(), p.Presents()}
}

func memberOf(p *Proxy) Member { return Member{classOf(p), p.cfg.Pod} }
