package testbed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

// serve starts the node's own server, which the API server calls for what a
// client wants of a pod. Port-forward is all there is. Only the cluster's own
// API server gets in: what plays a pod may be open to nobody else.
func (n *Node) serve(life context.Context, ca *authority) (port int, err error) {
	serving, err := ca.issue(n.Name, nil, nil, net.ParseIP(nodeIP))
	if err != nil {
		return 0, err
	}
	cert, err := tls.X509KeyPair(serving.cert, serving.key)
	if err != nil {
		return 0, err
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", n.portForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", n.portForward)
	listener, err := net.Listen("tcp", net.JoinHostPort(nodeIP, "0"))
	if err != nil {
		return 0, err
	}
	n.server = &http.Server{
		Handler:           mux,
		BaseContext:       func(net.Listener) context.Context { return life },
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 10 * time.Second,
		// An upgrade to SPDY needs HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients},
	}
	go func() { _ = n.server.ServeTLS(listener, "", "") }() // ends by close
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (n *Node) close() {
	if n.server != nil {
		_ = n.server.Close()
	}
}

// Times as a kubelet has them by default.
const (
	forwardIdle   = 4 * time.Hour
	forwardCreate = 30 * time.Second
)

func (n *Node) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	k := n.kubelet
	key := r.PathValue("namespace") + "/" + r.PathValue("pod")
	k.mu.Lock()
	st := k.pods[key]
	running := st != nil && st.started && !st.stopped && st.pod.Node == n
	k.mu.Unlock()
	if uid := r.PathValue("uid"); !running || (uid != "" && uid != string(st.uid)) {
		http.Error(w, "pod not found", http.StatusNotFound)
		return
	}
	portforward.ServePortForward(w, r, forwarder{k, st.pod}, r.PathValue("pod"), "", options,
		forwardIdle, forwardCreate, portforward.SupportedProtocols)
}

// forwarder carries the streams of one pod.
type forwarder struct {
	kubelet *Kubelet
	pod     *Pod
}

func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	conn, err := f.kubelet.runtime.Dial(ctx, f.pod, int(port))
	if err != nil {
		return fmt.Errorf("connect to port %d of pod %s: %w", port, f.pod.Object.Name, err)
	}
	defer conn.Close()
	back := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, conn)
		back <- err
	}()
	_, err = io.Copy(conn, stream)
	// The client has sent all; what the pod still answers is for it.
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		err = errors.Join(err, half.CloseWrite())
	} else {
		conn.Close()
	}
	return errors.Join(err, <-back)
}
