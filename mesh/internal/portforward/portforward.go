// Package portforward opens connections to ports of pods through the API server,
// as `kubectl port-forward` does, without listening anywhere: each is a net.Conn.
//
//	f, err := portforward.New(config)
//	s, err := f.Open(ctx, "emojivoto", "web-5f86686c4d-p9vk2")
//	defer s.Close()
//	conn, err := s.Dial(4191)
//
// A [Session] is one connection to the API server and ends with the context that
// it was opened with, in whatever state; any number of ports are dialed over it.
// What the pod sees comes from localhost.
//
// # The protocol
//
// SPDY/3.1 with a pair of streams for each port, data and errors
// (k8s.io/cri-streaming pkg/streaming/portforward), which the API server takes in
// a websocket (Kubernetes 1.30 and later, subprotocol
// SPDY/3.1+portforward.k8s.io) or on the bare connection. The websocket passes
// through more proxies and is tried first; where the server or the permissions
// do not allow it the bare one is, and the forwarder remembers which of the two
// worked. The websocket takes the verb get of pods/portforward (from 1.35 on
// create as well), the other create: either will do.
//
// Both are upgrades of a plain request by net/http, so that all of a
// configuration counts: plugins, proxies, its own dialer.
package portforward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

const (
	protocol       = "portforward.k8s.io" // k8s.io/apimachinery pkg/util/portforward
	tunnelProtocol = "SPDY/3.1+" + protocol
)

// Forwarder opens sessions by one configuration. It is safe for concurrent use.
type Forwarder struct {
	transport http.RoundTripper
	base      *url.URL
	works     atomic.Int32 // the way that worked
}

// The ways into a pod.
const (
	wayUnknown = iota
	wayWebsocket
	waySPDY
)

// New makes a forwarder. It opens no connection.
func New(config *rest.Config) (*Forwarder, error) {
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"} // HTTP/2 knows no upgrade
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	t, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", base.Host, err)
	}
	return &Forwarder{transport: t, base: base}, nil
}

// Open connects to a pod. The context bounds the life of the session, not only
// its beginning. Errors are an [*Error].
func (f *Forwarder) Open(ctx context.Context, namespace, pod string) (*Session, error) {
	op := "port-forward to pod " + namespace + "/" + pod
	u := *f.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v1/namespaces/" + namespace + "/pods/" + pod + "/portforward"

	works := f.works.Load()
	if works != waySPDY {
		conn, err := f.websocket(ctx, &u, op)
		if err == nil {
			f.works.Store(wayWebsocket)
			return newSession(ctx, op, conn)
		}
		var answer *Error
		if works == wayWebsocket || !errors.As(err, &answer) || answer.Status == 0 {
			return nil, err
		}
		// It answered, and not with a websocket: the server is too old for it, the
		// verb get is not allowed, or the pod is not there. The other way tells.
	}
	conn, err := f.spdy(ctx, &u, op)
	if err != nil {
		return nil, err
	}
	f.works.Store(waySPDY)
	return newSession(ctx, op, conn)
}

// spdy upgrades to SPDY itself.
func (f *Forwarder) spdy(ctx context.Context, u *url.URL, op string) (net.Conn, error) {
	h := http.Header{"Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": {protocol}}
	resp, conn, err := f.upgrade(ctx, http.MethodPost, u, h, op)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(resp.Header.Get("Upgrade"), "SPDY/3.1") {
		conn.Close()
		return nil, &Error{Op: op, Status: resp.StatusCode, Kind: ErrServer, Message: "it switched to another protocol than SPDY/3.1"}
	}
	return conn, nil
}

// upgrade sends a request that is to switch protocols.
func (f *Forwarder) upgrade(ctx context.Context, method string, u *url.URL, h http.Header, op string) (*http.Response, *rawConn, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	req.Header = h
	h.Set("Connection", "Upgrade")
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, transportError(ctx, op, err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		defer resp.Body.Close()
		return nil, nil, statusError(op, resp)
	}
	return resp, &rawConn{ReadWriteCloser: conn}, nil
}

// statusError words an answer that is no upgrade. The API server explains itself
// with a metav1.Status, a kubelet with a line of text.
func statusError(op string, resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	var status struct{ Kind, Message string }
	e := &Error{Op: op, Status: resp.StatusCode, Message: clip(string(text))}
	ofServer := json.Unmarshal(text, &status) == nil && status.Kind == "Status"
	if ofServer {
		e.Message = clip(status.Message)
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		e.Kind = ErrUnauthorized
	case code == http.StatusForbidden:
		e.Kind = ErrForbidden
	case code == http.StatusNotFound && ofServer:
		e.Kind = ErrNoPod
	case code == http.StatusNotFound, code == http.StatusBadRequest:
		// The kubelet has no such pod, or the API server no host for it.
		e.Kind = ErrNotRunning
	case code == http.StatusTooManyRequests:
		e.Kind = ErrThrottled
	default:
		e.Kind = ErrServer
		if gone(e.Message) {
			e.Kind = ErrNotRunning
		}
	}
	return e
}

func transportError(ctx context.Context, op string, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.Canceled):
		return fmt.Errorf("%s: %w", op, cause)
	case cause != nil:
		return &Error{Op: op, Kind: ErrTimeout}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &Error{Op: op, Kind: ErrTimeout}
	}
	return &Error{Op: op, Kind: ErrUnreachable, Message: clip(err.Error())}
}
