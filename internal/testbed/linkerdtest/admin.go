package linkerdtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// adminServer is the proxy's port 4191 (linkerd2-proxy
// linkerd/app/admin/src/server.rs). It ends TLS that is for the proxy's own name
// and serves plain HTTP too.
type adminServer struct {
	proxy    *Proxy
	listener net.Listener
	conns    chan net.Conn
	closed   chan struct{}
	once     sync.Once
	server   *http.Server
}

func startAdmin(p *Proxy) (*adminServer, error) {
	l, err := p.cfg.Network.Listen(net.JoinHostPort(p.cfg.IP, AdminPort))
	if err != nil {
		return nil, err
	}
	a := &adminServer{proxy: p, listener: l, conns: make(chan net.Conn), closed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "live\n") })
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if p.Ready() {
			text(w, http.StatusOK, "ready\n")
			return
		}
		text(w, http.StatusServiceUnavailable, "not ready\n")
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, p.metrics()) })
	if p.cfg.Release.servesEnv() {
		mux.HandleFunc("/env.json", a.env)
	}
	a.server = &http.Server{Handler: mux}
	go a.accept()
	go a.server.Serve(a)
	return a, nil
}

func (a *adminServer) close() {
	a.once.Do(func() {
		close(a.closed)
		a.listener.Close()
		a.server.Close()
	})
}

// accept looks at the first byte of each connection: a TLS record or not.
func (a *adminServer) accept() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		untrack, ok := a.proxy.track(conn)
		if !ok {
			conn.Close()
			return
		}
		go func() {
			defer untrack()
			if c := a.detect(conn); c != nil {
				select {
				case a.conns <- c:
					return
				case <-a.closed:
				}
			}
			conn.Close()
		}()
	}
}

func (a *adminServer) detect(conn net.Conn) net.Conn {
	const handshakeRecord = 0x16
	r := bufio.NewReader(conn)
	first, err := r.Peek(1)
	if err != nil {
		return nil
	}
	c := net.Conn(&peeked{conn, r})
	if first[0] != handshakeRecord {
		return c
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tc := tls.Server(c, a.proxy.accepting())
	if err := tc.HandshakeContext(ctx); err != nil {
		a.proxy.log("admin: %v", err)
		return nil
	}
	return tc
}

// Accept, Close and Addr make the detected connections a net.Listener.
func (a *adminServer) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (a *adminServer) Close() error { return a.listener.Close() }

// Addr implements net.Listener.
func (a *adminServer) Addr() net.Addr { return a.listener.Addr() }

// env answers with the process's environment, all of it or the variables named
// in the query (env_rsp of server.rs).
func (a *adminServer) env(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if accept := r.Header.Get("Accept"); accept != "" &&
		!strings.Contains(accept, "application/json") && !strings.Contains(accept, "application/*") && !strings.Contains(accept, "*/*") {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	out := make(map[string]*string)
	switch query := r.URL.RawQuery; {
	case strings.Contains(query, "="):
		jsonAnswer(w, http.StatusBadRequest, map[string]any{
			"error": "env.json query parameters may not contain key-value pairs", "status": http.StatusBadRequest,
		})
		return
	case query == "" && !r.URL.ForceQuery:
		for k, v := range a.proxy.cfg.Env {
			out[k] = &v
		}
	default:
		for _, name := range strings.Split(query, "&") {
			out[name] = nil
			if v, ok := a.proxy.cfg.Env[name]; ok {
				out[name] = &v
			}
		}
	}
	jsonAnswer(w, http.StatusOK, out)
}

// metrics names what there is about the leaf as the release does
// (linkerd/proxy/identity-client/src/metrics.rs; the names changed in
// linkerd2-proxy v2.220 and v2.227).
func (p *Proxy) metrics() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var expires, renewed float64
	if !p.expiry.IsZero() {
		expires = float64(p.expiry.UnixNano()) / 1e9
		renewed = float64(p.renewed.UnixNano()) / 1e9
	}
	var b strings.Builder
	gauge := func(name string, v float64) { fmt.Fprintf(&b, "# TYPE %s gauge\n%s %.3f\n", name, name, v) }
	prefix := "identity_cert"
	switch minor := p.cfg.Release.minor; {
	case minor <= 14:
		gauge(prefix+"_expiration_timestamp_seconds", expires)
		fmt.Fprintf(&b, "# TYPE %s_refresh_count counter\n%s_refresh_count %d\n", prefix, prefix, p.ok)
		return b.String()
	case minor > 15:
		prefix = "control_identity_cert"
	}
	gauge(prefix+"_expiration_timestamp_seconds", expires)
	gauge(prefix+"_refresh_timestamp_seconds", renewed)
	fmt.Fprintf(&b, "# TYPE %s_refreshes counter\n", prefix)
	fmt.Fprintf(&b, "%s_refreshes_total{result=\"ok\"} %d\n", prefix, p.ok)
	fmt.Fprintf(&b, "%s_refreshes_total{result=\"error\"} %d\n", prefix, p.bad)
	return b.String()
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func jsonAnswer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// peeked is a connection of which some bytes were read ahead.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (c *peeked) Read(b []byte) (int, error) { return c.r.Read(b) }
