package linkerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/portforward"
)

// Why answers of a pod do not count.
var (
	errReplaced  = errors.New("it is gone, or another pod by its name has come")
	errNoGet     = errors.New("what a pod answers counts only if it still is the same afterwards, and there is no permission to get pods")
	errRestarted = errors.New("its proxy was restarted while it was asked, twice")
)

// errNotKnown means that the survey did not say how to reach a peer.
var errNotKnown = errors.New("not known")

// said is what one round of questions gave.
type said struct {
	pem      string
	set      bool
	envErr   error
	chain    *mesh.Presented
	chainErr error
}

func (s *said) nothing() bool { return s.envErr != nil && s.chainErr != nil }

// askPeer asks one peer and notes what it said.
func (l *live) askPeer(i int) {
	p, a := &l.survey.Peers[i], &l.answers[i]
	if a.skipped = l.useless(p.Namespace); a.skipped != nil && !p.External {
		a.presentedWhy = "it was not asked"
		return
	}
	a.skipped = nil
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.PerPeer)
	defer cancel()
	l.count(&l.report.Asked)
	if p.External {
		l.askExternal(ctx, p, a)
		return
	}
	var got said
	for range 2 {
		got = l.askPod(ctx, p)
		if got.nothing() {
			break
		}
		same, err := l.confirm(ctx, p)
		if err != nil {
			got = said{envErr: err, chainErr: err}
			break
		}
		if same {
			break
		}
		got = said{envErr: errRestarted, chainErr: errRestarted}
	}
	l.learn(got)
	l.note(p, a, got)
}

// useless returns why asking in a namespace is no use, nil where it may be.
func (l *live) useless(namespace string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gaveUp != nil {
		return l.gaveUp
	}
	return l.forbidden[namespace]
}

func (l *live) count(n *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*n++
}

// learn draws conclusions for the peers that are still to be asked.
func (l *live) learn(got said) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !got.nothing() {
		l.heard = true
		l.report.Answered++
		return
	}
	if l.heard || l.ctx.Err() != nil {
		return
	}
	for _, ours := range []error{portforward.ErrTimeout, portforward.ErrUnreachable, portforward.ErrServer, portforward.ErrUnauthorized, context.DeadlineExceeded} {
		if errors.Is(got.envErr, ours) {
			l.misses++
		}
	}
	if limit := max(20, 2*l.opts.Parallel); l.misses >= limit && l.gaveUp == nil {
		l.gaveUp = fmt.Errorf("none of the first %d answered: %w", l.misses, got.envErr)
	}
}

// askPod asks a proxy over one port-forward.
func (l *live) askPod(ctx context.Context, p *mesh.Peer) (got said) {
	at := l.client.ServerTime()
	session, err := l.forward.Open(ctx, p.Namespace, p.Name)
	if err != nil {
		if errors.Is(err, portforward.ErrForbidden) {
			l.forbid(p.Namespace, portforward.ErrForbidden)
		}
		return said{envErr: err, chainErr: err}
	}
	defer session.Close()
	conn, err := session.Dial(p.AdminPort)
	if err != nil {
		return said{envErr: err, chainErr: err}
	}
	got.pem, got.set, got.envErr = askAnchors(conn)
	conn.Close()
	for _, lost := range []error{portforward.ErrTimeout, portforward.ErrNoPort, portforward.ErrNotRunning} {
		if errors.Is(got.envErr, lost) {
			got.chainErr = got.envErr
			return got
		}
	}
	if p.TLSName == "" {
		got.chainErr = fmt.Errorf("the name in its certificate is %w", errNotKnown)
		return got
	}
	if conn, err = session.Dial(p.AdminPort); err != nil {
		got.chainErr = err
		return got
	}
	got.chain, got.chainErr = askChain(ctx, conn, p.TLSName, at, &l.certs)
	conn.Close()
	return got
}

// forbid notes that asking in a namespace is no use.
func (l *live) forbid(namespace string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forbidden == nil {
		l.forbidden = map[string]error{}
	}
	l.forbidden[namespace] = why
}

// confirm reads a pod after its answers and reports whether they are those of
// the process of the survey. Where a proxy was restarted it takes over the new
// process, to be asked again.
func (l *live) confirm(ctx context.Context, p *mesh.Peer) (same bool, err error) {
	type status struct {
		Name         string `json:"name"`
		Ready        bool   `json:"ready"`
		RestartCount int    `json:"restartCount"`
		State        struct {
			Running *struct {
				StartedAt time.Time `json:"startedAt"`
			} `json:"running"`
		} `json:"state"`
	}
	var pod struct {
		mesh.Object
		Status struct {
			Containers     []status `json:"containerStatuses"`
			InitContainers []status `json:"initContainerStatuses"`
		} `json:"status"`
	}
	switch err := l.client.Get(ctx, mesh.Pods, p.Namespace, p.Name, &pod); {
	case errors.Is(err, mesh.ErrNotFound):
		return false, errReplaced
	case errors.Is(err, mesh.ErrForbidden):
		l.forbid(p.Namespace, errNoGet)
		return false, errNoGet
	case err != nil:
		return false, fmt.Errorf("it answered, but whether it still is the same pod is not known: %w", err)
	case pod.Metadata.UID != p.UID:
		return false, errReplaced
	}
	list := pod.Status.Containers
	if p.Proxy.Native {
		list = pod.Status.InitContainers
	}
	now := mesh.Process{Image: p.Proxy.Image, Native: p.Proxy.Native}
	for _, c := range list {
		if c.Name == layout.ProxyContainer {
			now.Ready, now.Restarts, now.Running = c.Ready, c.RestartCount, c.State.Running != nil
			if now.Running {
				now.StartedAt = c.State.Running.StartedAt.UTC()
			}
		}
	}
	same = now.Running && now.Restarts == p.Proxy.Restarts && now.StartedAt.Equal(p.Proxy.StartedAt)
	if !same {
		p.Proxy = now
	}
	return same, nil
}

// note writes down what a pod said.
func (l *live) note(p *mesh.Peer, a *answer, got said) {
	if got.envErr == nil {
		a.trustAsked = true
		if got.set {
			l.mu.Lock()
			a.trust = l.texts.TrustSet(got.pem, p.Class.Release)
			l.mu.Unlock()
		} else {
			a.trustWhy = "its process was given no trust anchors: no variable " + layout.ProxyAnchorsEnv
		}
		p.TrustEvidence = mesh.EvidenceAdmin
	}
	if got.chainErr == nil {
		p.Presented, p.PresentedEvidence = got.chain, mesh.EvidencePresented
	}
	envErr := got.envErr
	if errors.Is(envErr, ErrNoEnv) && p.TrustEvidence == mesh.EvidenceSpec {
		envErr = nil // the literal in its spec says it as well
	}
	about := peerName(p)
	switch {
	case envErr == nil && got.chainErr == nil:
		if leaf, err := got.chain.Chain[0].X509(); err == nil && !carries(leaf, p.TLSName) {
			a.unknown = &mesh.Unknown{Code: mesh.CodeHandshake, About: about, Reason: fmt.Sprintf("it presents a certificate for %q, not for its own name %s", leaf.DNSNames, p.TLSName)}
		}
	case envErr != nil && got.chainErr != nil:
		a.unknown = liveUnknown(about, "neither the anchors that it holds nor the chain that it presents was seen", got.chainErr)
	case envErr != nil:
		a.unknown = liveUnknown(about, "the anchors that it holds were not seen", envErr)
	default:
		a.unknown = liveUnknown(about, "the chain that it presents was not seen", got.chainErr)
	}
	for _, once := range []error{portforward.ErrForbidden, errNoGet} { // said once for the namespace
		if errors.Is(got.envErr, once) {
			a.unknown, a.skipped = nil, once
		}
	}
}

func liveUnknown(about, what string, err error) *mesh.Unknown {
	return &mesh.Unknown{Code: liveCode(err), About: about, Reason: what + ": " + err.Error(), Err: err}
}

// liveCode is mesh.CodeOf for errors on the way to a proxy.
func liveCode(err error) mesh.Code {
	for _, c := range []struct {
		err  error
		code mesh.Code
	}{
		{portforward.ErrForbidden, mesh.CodeForbidden}, {portforward.ErrUnauthorized, mesh.CodeUnauthorized},
		{portforward.ErrNoPod, mesh.CodeNotFound}, {errReplaced, mesh.CodeNotFound}, {errRestarted, mesh.CodeNotRunning}, {errNoGet, mesh.CodeForbidden},
		{portforward.ErrNotRunning, mesh.CodeNotRunning}, {portforward.ErrNoPort, mesh.CodeUnreachable},
		{portforward.ErrThrottled, mesh.CodeThrottled}, {portforward.ErrUnreachable, mesh.CodeUnreachable},
		{portforward.ErrTimeout, mesh.CodeTimeout}, {ErrHandshake, mesh.CodeHandshake}, {ErrAnswer, mesh.CodeUnreadable},
		{ErrNoEnv, mesh.CodeNotObserved}, {errNotKnown, mesh.CodeNotObserved}, {ErrAddress, mesh.CodeAddress},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return mesh.CodeOf(err)
}

// inboundPort is where a proxy takes other proxies' connections (values
// proxy.ports.inbound), for who is reached without the API server.
const inboundPort = "4143"

// askExternal dials an ExternalWorkload at its own address.
func (l *live) askExternal(ctx context.Context, p *mesh.Peer, a *answer) {
	chain, err := l.dialChain(ctx, p.IP, inboundPort, p.TLSName)
	if err != nil {
		a.unknown = liveUnknown(peerName(p), "the chain that it presents was not seen", err)
		return
	}
	l.count(&l.report.Answered)
	p.Presented, p.PresentedEvidence = chain, mesh.EvidencePresented
}

// askGateway dials a gateway at its addresses until one shows a chain. It
// returns why none did.
func (l *live) askGateway(g *mesh.Gateway) *mesh.Unknown {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.PerPeer)
	defer cancel()
	err := fmt.Errorf("its address is %w", errNotKnown)
	for _, address := range g.Addresses {
		if g.Presented, err = l.dialChain(ctx, address, g.Port, g.Identity); err == nil {
			l.count(&l.report.Gateways)
			return nil
		}
	}
	g.PresentedWhy = err.Error()
	return liveUnknown("gateway "+g.Object.Namespace+"/"+g.Object.Name, "the chain that it presents was not seen", err)
}

// dialChain shakes hands with whoever answers at an address.
func (l *live) dialChain(ctx context.Context, host, port, name string) (*mesh.Presented, error) {
	switch {
	case host == "":
		return nil, fmt.Errorf("its address is %w", errNotKnown)
	case port == "":
		return nil, fmt.Errorf("its port is %w", errNotKnown)
	case name == "":
		return nil, fmt.Errorf("the name in its certificate is %w", errNotKnown)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("%w: port %q", ErrAddress, port)
	}
	addresses, err := l.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	at := l.client.ServerTime()
	var conn net.Conn
	for _, ip := range addresses {
		if conn, err = l.opts.Dial(ctx, "tcp", net.JoinHostPort(ip.String(), port)); err == nil {
			break
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", mesh.ErrUnreachable, err)
	}
	defer conn.Close()
	return askChain(ctx, conn, name, at, &l.certs)
}

// lookUp returns the addresses of a host, of which every one may be dialed.
func (l *live) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, ip)
	} else if addresses, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, fmt.Errorf("%w: %w", mesh.ErrUnreachable, err)
	}
	for _, ip := range addresses {
		if err := checkAddr(ip, CredentialOptions{AllowLocal: l.opts.AllowLocal}); err != nil {
			return nil, err
		}
	}
	return addresses, nil
}
