package linkerdtest

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Network is what the parts listen on and dial. Addresses have the form of a
// host and a port.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Loopback is the network of this machine. Each pod gets an address of its own
// from 127.0.0.0/8, so that all can use Linkerd's port numbers.
type Loopback struct{}

// Listen implements Network.
func (Loopback) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// Dial implements Network.
func (Loopback) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// InMemory is a network within the process, for tests without an API server. Its
// zero value is ready to use.
type InMemory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
}

// Listen implements Network.
func (n *InMemory) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = make(map[string]*memoryListener)
	}
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: address already in use", addr)
	}
	l := newMemoryListener(addr)
	l.onClose = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, addr)
	}
	n.listeners[addr] = l
	return l, nil
}

// Dial implements Network.
func (n *InMemory) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	}
	return l.dial(ctx)
}

// memoryListener hands one end of a pipe to whoever accepts.
type memoryListener struct {
	addr    memoryAddr
	conns   chan net.Conn
	closed  chan struct{}
	close   sync.Once
	onClose func()
}

func newMemoryListener(addr string) *memoryListener {
	return &memoryListener{addr: memoryAddr(addr), conns: make(chan net.Conn), closed: make(chan struct{}), onClose: func() {}}
}

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: connection refused", l.addr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.close.Do(func() { close(l.closed); l.onClose() })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return l.addr }

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }
