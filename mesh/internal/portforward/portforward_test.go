package portforward

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

// node is an API server without websockets, and the kubelet behind it.
type node struct {
	gets, posts atomic.Int32
	websocket   func(w http.ResponseWriter) // what a request for one is answered
	forward     func(ctx context.Context, port int32, stream io.ReadWriteCloser) error
}

func (n *node) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	return n.forward(ctx, port, stream)
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		n.gets.Add(1)
		n.websocket(w)
		return
	}
	n.posts.Add(1)
	portforward.ServePortForward(w, r, n, "web", "", &portforward.V4Options{}, time.Hour, time.Minute, portforward.SupportedProtocols)
}

func echo(_ context.Context, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	fmt.Fprintf(stream, "%d ", port)
	_, err := io.Copy(stream, stream)
	return err
}

func old(w http.ResponseWriter) {
	http.Error(w, `query parameter "port" is required`, http.StatusBadRequest)
}

func serve(t *testing.T, h http.Handler) *Forwarder {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	f, err := New(&rest.Config{Host: s.URL})
	require.NoError(t, err)
	return f
}

// short bounds what is to fail by its timeout; long what is to succeed.
const short, long = 300 * time.Millisecond, time.Minute

func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestPortsOfAPodAreDialedOverOneSession(t *testing.T) {
	n := &node{websocket: old, forward: echo}
	f := serve(t, n)
	for range 2 {
		s, err := f.Open(bounded(t, long), "shop", "web")
		require.NoError(t, err)
		var wg sync.WaitGroup
		for port := 4000; port < 4020; port++ {
			wg.Go(func() {
				c, err := s.Dial(port)
				if !assert.NoError(t, err) {
					return
				}
				defer c.Close()
				big := strings.Repeat("0123456789", 10_000)
				go io.WriteString(c, big)
				got := make([]byte, 5+len(big))
				_, err = io.ReadFull(c, got)
				assert.NoError(t, err)
				assert.Equal(t, fmt.Sprintf("%d ", port)+big, string(got))
			})
		}
		wg.Wait()
		require.NoError(t, s.Close())
		_, err = s.Dial(4000)
		require.Error(t, err, "it is over")
	}
	assert.EqualValues(t, 1, n.gets.Load(), "that the server knows no websocket is remembered")
	assert.EqualValues(t, 2, n.posts.Load())
}

func TestWhatAnAPIServerRefusesIsNamed(t *testing.T) {
	status := func(message string) string { return `{"kind":"Status","apiVersion":"v1","message":"` + message + `"}` }
	for name, test := range map[string]struct {
		code int
		body string
		want error
		says string
	}{
		"no permission":            {403, status("pods \\\"web\\\" is forbidden"), ErrForbidden, `no permission for pods/portforward (HTTP 403): pods "web" is forbidden`},
		"no credentials":           {401, status("Unauthorized"), ErrUnauthorized, ""},
		"no pod":                   {404, status("pods \\\"web\\\" not found"), ErrNoPod, ""},
		"not on its node":          {404, "pod not found\n", ErrNotRunning, ""},
		"not scheduled":            {400, status("pod web does not have a host assigned"), ErrNotRunning, ""},
		"sandbox gone":             {500, `failed to find sandbox "x" in store: not found`, ErrNotRunning, ""},
		"node down":                {502, status("error dialing backend: dial tcp: i/o timeout"), ErrServer, ""},
		"throttled":                {429, "", ErrThrottled, ""},
		"no upgrade":               {200, "<html>", ErrServer, ""},
		"steers a terminal":        {500, "\x1b[2J", ErrServer, "(HTTP 500):  [2J"},
		"a long story":             {500, strings.Repeat("x", 100_000), ErrServer, "..."},
		"redirects, not followed":  {302, "", ErrServer, ""},
		"another protocol instead": {101, "", ErrServer, "another protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://169.254.169.254/")
				if test.code == http.StatusSwitchingProtocols {
					w.Header().Set("Connection", "Upgrade")
					w.Header().Set("Upgrade", "h2c")
				}
				w.WriteHeader(test.code)
				io.WriteString(w, test.body)
			}))
			_, err := f.Open(bounded(t, long), "shop", "web")
			require.ErrorIs(t, err, test.want)
			assert.Contains(t, err.Error(), "port-forward to pod shop/web: ")
			assert.Contains(t, err.Error(), test.says)
			assert.Less(t, len(err.Error()), 500)
		})
	}
}

func TestWhatANodeRefusesIsNamed(t *testing.T) {
	for says, want := range map[string]error{
		`failed to execute portforward in network namespace "/var/run/netns/cni-1": failed to connect to localhost:4191 inside namespace: dial tcp4 127.0.0.1:4191: connect: connection refused`: ErrNoPort,
		`failed to find sandbox "5b1c" in store: not found`: ErrNotRunning,
		`sandbox container "5b1c" is not running`:           ErrNotRunning,
		`something else`: ErrForward,
	} {
		f := serve(t, &node{websocket: old, forward: func(context.Context, int32, io.ReadWriteCloser) error { return errors.New(says) }})
		s, err := f.Open(bounded(t, long), "shop", "web")
		require.NoError(t, err)
		c, err := s.Dial(4191)
		if err == nil { // else the node was quick
			_, err = c.Read(make([]byte, 1))
		}
		require.ErrorIs(t, err, want)
		require.NoError(t, s.Close())
	}
}

func TestNothingOutlivesItsContext(t *testing.T) {
	before := runtime.NumGoroutine()
	hang := make(chan struct{})
	defer close(hang)

	t.Run("a server that does not answer", func(t *testing.T) {
		f := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		_, err := f.Open(bounded(t, short), "shop", "web")
		require.ErrorIs(t, err, ErrTimeout)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = f.Open(ctx, "shop", "web")
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a server that is not there", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		s.Close()
		f, err := New(&rest.Config{Host: s.URL})
		require.NoError(t, err)
		_, err = f.Open(bounded(t, long), "shop", "web")
		require.ErrorIs(t, err, ErrUnreachable)
	})
	t.Run("a pod that takes a connection and says nothing", func(t *testing.T) {
		f := serve(t, &node{websocket: old, forward: func(context.Context, int32, io.ReadWriteCloser) error { <-hang; return nil }})
		s, err := f.Open(bounded(t, short), "shop", "web")
		require.NoError(t, err)
		c, err := s.Dial(4191)
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, ErrTimeout)
		_, err = s.Dial(4191)
		require.ErrorIs(t, err, ErrTimeout)
		require.NoError(t, s.Close())
	})
	t.Run("a pod that talks and is not heard", func(t *testing.T) {
		f := serve(t, &node{websocket: old, forward: func(_ context.Context, _ int32, stream io.ReadWriteCloser) error {
			_, err := stream.Write(make([]byte, 10<<20))
			return err
		}})
		ctx, cancel := context.WithCancel(t.Context())
		s, err := f.Open(ctx, "shop", "web")
		require.NoError(t, err)
		c, err := s.Dial(4191)
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.NoError(t, err)
		cancel()
	})
	t.Run("a server that upgrades and says nothing", func(t *testing.T) {
		f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
			<-hang
		}))
		f.works.Store(waySPDY)
		s, err := f.Open(bounded(t, short), "shop", "web")
		require.NoError(t, err)
		_, err = s.Dial(4191)
		require.ErrorIs(t, err, ErrTimeout)
	})
	hangers := 2 // of the servers above, until the end
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+hangers+4 }, long, time.Millisecond, "goroutines are left")
}

// pipe is both ends of a websocket in memory.
type pipe struct {
	io.Reader
	bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error) { return p.Reader.Read(b) }
func (*pipe) Close() error                 { return nil }

func TestATunnelIsTheBytesOfItsFrames(t *testing.T) {
	frame := func(first byte, size ...byte) string { return string(append([]byte{first}, size...)) }
	long16, long64 := strings.Repeat("a", 300), strings.Repeat("b", 70_000)
	in := frame(opBinary, 2) + "he" + // a message in three parts, with a ping within
		frame(opContinue, 1) + "l" + frame(final|opPing, 3) + "you" + frame(final|opContinue, 2) + "lo" +
		frame(final|opBinary, 0) + frame(final|opPong, 1) + "x" +
		frame(final|opBinary, 126, 1, 44) + long16 +
		frame(final|opBinary, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70) + long64 +
		frame(final|opClose, 0) + "never read"
	p := &pipe{Reader: strings.NewReader(in)}
	c := &tunnel{rawConn: &rawConn{p}, r: bufio.NewReader(p)}
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "hello"+long16+long64, string(got))

	for _, text := range []string{"", "x", long16, long64} {
		_, err := io.WriteString(c, text)
		require.NoError(t, err)
	}
	out := p.Buffer.Bytes()
	for i, want := range []string{"you", "", "x", long16, long64} {
		op := byte(opBinary)
		if i == 0 {
			op = opPong
		}
		require.Equal(t, final|op, out[0])
		require.NotZero(t, out[1]&masked)
		size, head := int(out[1]&^masked), 2
		switch size {
		case 126:
			size, head = int(out[2])<<8|int(out[3]), 4
		case 127:
			size, head = int(out[7])<<16|int(out[8])<<8|int(out[9]), 10
		}
		mask, body := out[head:head+4], out[head+4:head+4+size]
		for i := range body {
			body[i] ^= mask[i%4]
		}
		assert.Equal(t, want, string(body))
		out = out[head+4+size:]
	}
	assert.Empty(t, out)

	for name, bad := range map[string]string{"masked": frame(final|opBinary, masked|1) + "mmmmx", "unknown": frame(final|3, 0), "long ping": frame(final|opPing, 126, 1, 0)} {
		p := &pipe{Reader: strings.NewReader(bad)}
		_, err := io.ReadAll(&tunnel{rawConn: &rawConn{p}, r: bufio.NewReader(p)})
		assert.ErrorIs(t, err, errFrame, name)
	}
	p = &pipe{Reader: strings.NewReader(frame(final|opBinary, 5) + "cut")}
	got, err = io.ReadAll(&tunnel{rawConn: &rawConn{p}, r: bufio.NewReader(p)})
	assert.Equal(t, "cut", string(got))
	assert.NoError(t, err, "SPDY above it notices")
}
