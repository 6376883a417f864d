package linkerd

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/mesh"
)

func TestGatewaysAndExternalWorkloadsAreDialed(t *testing.T) {
	b := newLiveBed(t)
	leaf := b.issuer.Leaf(webName)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", presenting(webName, leaf, [][]byte{leaf.Raw, b.issuer.Raw}, b.o))
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	var mu sync.Mutex
	var dialed []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialed = append(dialed, address)
		mu.Unlock()
		if strings.HasPrefix(address, "203.0.113.9:") {
			return nil, fmt.Errorf("no route to host")
		}
		var d net.Dialer
		return d.DialContext(ctx, network, listener.Addr().String())
	}
	gateway := func(name, identity, port string, addresses ...string) mesh.Gateway {
		return mesh.Gateway{Object: mesh.ObjectRef{Kind: "Service", Namespace: "mc", Name: name}, Identity: identity, Port: port, Addresses: addresses}
	}
	b.survey.Gateways = []mesh.Gateway{
		gateway("good", webName, "4143", "203.0.113.9", "203.0.113.1"), gateway("loopback", webName, "4143", "127.0.0.1"),
		gateway("metadata", webName, "80", "169.254.169.254"), gateway("mapped", webName, "4143", "::ffff:127.0.0.1"), gateway("nowhere", webName, "4143"),
		gateway("name", "other", "4143", "203.0.113.1"), gateway("port", webName, "x:1", "203.0.113.1"), gateway("down", webName, "4143", "203.0.113.9"),
	}
	b.survey.Peers = append(b.survey.Peers, mesh.Peer{Namespace: "vm", Name: "db", External: true, IP: "203.0.113.2", TLSName: webName,
		Class: &mesh.Class{TrustWhy: "outside"}})

	t.Run("not without a dialer", func(t *testing.T) {
		s, r := b.live(LiveOptions{})
		assert.Equal(t, LiveReport{Peers: 1, Cost: r.Cost}, r)
		assert.Empty(t, s.Unknowns)
		assert.NotEmpty(t, s.Gateways[0].PresentedWhy)
	})
	s, r := b.live(LiveOptions{Dial: dial, Parallel: 1})
	assert.Equal(t, 1, r.Gateways)
	assert.Equal(t, 1, r.Answered)
	assert.Equal(t, leaf.Raw, s.Gateways[0].Presented.Chain[0].Raw())
	assert.Equal(t, [][]byte{b.o.RawSubject}, s.Gateways[0].Presented.Hints)
	assert.Equal(t, leaf.Raw, s.Peers[0].Presented.Chain[0].Raw())
	assert.Equal(t, []string{
		"address gateway mc/loopback", "address gateway mc/metadata", "address gateway mc/mapped", "not-observed gateway mc/nowhere",
		"handshake gateway mc/name", "address gateway mc/port", "unreachable gateway mc/down",
	}, unknowns(s.Unknowns))
	for _, a := range dialed {
		assert.True(t, strings.HasPrefix(a, "203.0.113."), a)
	}

	s.Unknowns = nil
	_, r = b.live(LiveOptions{Dial: dial, AllowLocal: true})
	assert.Equal(t, 4, r.Gateways)
}
