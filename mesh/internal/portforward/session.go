package portforward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/spdystream"
)

// Session is a connection to a pod over which its ports are dialed.
type Session struct {
	op   string
	ctx  context.Context
	raw  net.Conn
	spdy *spdystream.Connection
	stop func() bool // of the watch over ctx

	mu      sync.Mutex
	closed  bool
	next    int
	streams []*spdystream.Stream
	conns   []*conn
}

func newSession(ctx context.Context, op string, raw net.Conn) (*Session, error) {
	c, err := spdystream.NewConnection(raw, false)
	if err != nil {
		raw.Close()
		return nil, &Error{Op: op, Kind: ErrServer, Message: clip(err.Error())}
	}
	s := &Session{op: op, ctx: ctx, raw: raw, spdy: c}
	go c.Serve(func(stream *spdystream.Stream) { go stream.Refuse() }) // nobody dials us
	s.stop = context.AfterFunc(ctx, s.end)
	return s, nil
}

// parting is how long Close waits for a node to notice that connections were
// closed: it logs an error for each that is cut off instead.
const parting = 200 * time.Millisecond

// Close ends the session and all connections over it. It waits a moment for
// those that have been closed to end at the other side.
func (s *Session) Close() error {
	ctx, cancel := context.WithTimeout(s.ctx, parting)
	defer cancel()
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	for _, c := range conns {
		if c.parted.Load() {
			select {
			case <-c.failed:
			case <-ctx.Done():
			}
		}
	}
	s.stop()
	s.end()
	return nil
}

func (s *Session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	// In this order: a write that is stuck ends with the connection, and what
	// spdystream holds for a reader that has left ends with its stream.
	s.raw.Close()
	for _, stream := range s.streams {
		_ = stream.Reset()
	}
}

// Dial connects to a port of the pod. That nothing listens there may show at once
// or when the connection is read; either fails with an [*Error].
//
// The connection ends with its own Close or with the session; it knows no
// deadlines.
func (s *Session) Dial(port int) (net.Conn, error) {
	s.mu.Lock()
	id := strconv.Itoa(s.next)
	s.next++
	s.mu.Unlock()
	header := func(kind string) http.Header {
		return http.Header{"Streamtype": {kind}, "Port": {strconv.Itoa(port)}, "Requestid": {id}}
	}
	errs, err := s.stream(header("error"))
	if err != nil {
		return nil, s.fail(err)
	}
	c := &conn{session: s, failed: make(chan struct{})}
	go func() {
		text, _ := io.ReadAll(io.LimitReader(errs, 16<<10))
		c.message = string(text)
		close(c.failed)
	}()
	if c.Stream, err = s.stream(header("data")); err != nil {
		if errors.Is(err, spdystream.ErrReset) { // the node has failed already
			if why := c.reason(); why != nil {
				return nil, why
			}
		}
		return nil, s.fail(err)
	}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	return c, nil
}

// stream opens one and waits until the other side has taken it.
func (s *Session) stream(h http.Header) (*spdystream.Stream, error) {
	stream, err := s.spdy.CreateStream(h, nil, false)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	over := s.closed
	s.streams = append(s.streams, stream)
	s.mu.Unlock()
	if over {
		_ = stream.Reset()
		return nil, net.ErrClosed
	}
	taken := make(chan error, 1)
	go func() { taken <- stream.WaitTimeout(longestReply) }()
	select {
	case err := <-taken:
		if err != nil {
			return nil, err
		}
		return stream, nil
	case <-s.spdy.CloseChan():
		return nil, io.ErrUnexpectedEOF
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// longestReply bounds a goroutine that waits for an answer to a stream, which
// spdystream gives no other end.
const longestReply = 30 * time.Second

// fail words an error of the session's connection.
func (s *Session) fail(err error) error {
	if errors.Is(err, spdystream.ErrTimeout) {
		return &Error{Op: s.op, Kind: ErrTimeout}
	}
	if e := transportError(s.ctx, s.op, err); !errors.Is(e, ErrUnreachable) {
		return e
	}
	return &Error{Op: s.op, Kind: ErrForward, Message: clip(err.Error())}
}

// conn is one port of a pod.
type conn struct {
	*spdystream.Stream
	session *Session
	failed  chan struct{} // the error stream has ended
	message string        // what came on it
	parted  atomic.Bool
	reading sync.Mutex
}

// Read returns the node's own words, as an [*Error], where the pod could not be
// reached.
func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.Stream.Read(p)
	if err == nil {
		return n, nil
	}
	if ctx := c.session.ctx; ctx.Err() != nil {
		return n, c.session.fail(ctx.Err())
	}
	if why := c.reason(); why != nil {
		return n, why
	}
	return n, err
}

// reason returns what the node has to say about a connection that ended: it ends
// both streams, the one with its reason first. nil is nothing.
func (c *conn) reason() error {
	select {
	case <-c.failed:
		if c.message != "" {
			return forwardError(c.session.op, c.message)
		}
	case <-c.session.ctx.Done():
		return c.session.fail(c.session.ctx.Err())
	}
	return nil
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	if err != nil {
		err = c.session.fail(err)
	}
	return n, err
}

// Close tells the pod that no more comes, and drops what it still sends. While
// somebody reads it ends the connection at once.
func (c *conn) Close() error {
	if c.parted.Swap(true) {
		return nil
	}
	if !c.reading.TryLock() {
		return c.Stream.Reset()
	}
	go func() {
		defer c.reading.Unlock()
		_, _ = io.Copy(io.Discard, c.Stream) // ends with the pod's side, or the session
	}()
	return c.Stream.Close()
}

func (c *conn) SetDeadline(t time.Time) error      { return c.session.raw.SetDeadline(t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.session.raw.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.session.raw.SetWriteDeadline(t) }
