package linkerd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/cri-streaming/pkg/streaming/portforward"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
)

const webName = "web.shop.serviceaccount.identity.linkerd.cluster.local"

// answering returns one end of a pipe whose other end reads a request and writes
// the text.
func answering(t *testing.T, text string) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close() })
	go func() {
		defer there.Close()
		r, err := http.ReadRequest(bufio.NewReader(there))
		if err != nil || r.Method != http.MethodGet || r.URL.String() != "/env.json?"+layout.ProxyAnchorsEnv || r.Host == "" {
			return
		}
		_, _ = io.WriteString(there, text)
	}()
	return here
}

func TestAProxyIsAskedForItsAnchors(t *testing.T) {
	ok := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", len(body), body)
	}
	name := `"` + layout.ProxyAnchorsEnv + `"`
	for what, test := range map[string]struct {
		answer, pem string
		set         bool
		err         error
	}{
		"anchors":              {ok(`{` + name + `:"-----BEGIN\n"}`), "-----BEGIN\n", true, nil},
		"chunked":              {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n{%s:\"x\"}\r\n0\r\n\r\n", len(name)+6, name), "x", true, nil},
		"an empty text":        {ok(`{` + name + `:""}`), "", true, nil},
		"no such variable":     {ok(`{` + name + `:null}`), "", false, nil},
		"2.11":                 {"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "", false, ErrNoEnv},
		"another question":     {ok(`{"PATH":"x"}`), "", false, ErrAnswer},
		"refused":              {"HTTP/1.1 403 Forbidden\r\n\r\n", "", false, ErrAnswer},
		"no HTTP":              {"SSH-2.0-OpenSSH_9.9\r\n", "", false, ErrAnswer},
		"no JSON":              {ok("<html>"), "", false, ErrAnswer},
		"another type":         {ok(`{` + name + `:1}`), "", false, ErrAnswer},
		"nothing":              {"", "", false, ErrAnswer},
		"half":                 {strings.TrimSuffix(ok(`{`+name+`:"x"}`), `x"}`), "", false, ErrAnswer},
		"endless":              {"HTTP/1.1 200 OK\r\n\r\n{" + name + `:"` + strings.Repeat("A", maxAnswer), "", false, ErrAnswer},
		"an endless header":    {"HTTP/1.1 200 OK\r\nx: " + strings.Repeat("A", maxAnswer), "", false, ErrAnswer},
		"endless, but claimed": {"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n{" + name + `:"` + strings.Repeat("A", maxAnswer), "", false, ErrAnswer},
	} {
		t.Run(what, func(t *testing.T) {
			pem, set, err := askAnchors(answering(t, test.answer))
			require.ErrorIs(t, err, test.err)
			assert.Equal(t, test.pem, pem)
			assert.Equal(t, test.set, set)
		})
	}
}

// presenting serves a chain, for one name alone and with the subjects of anchors
// as hints, as a proxy does.
func presenting(name string, key *testca.Cert, chain [][]byte, anchors ...*testca.Cert) *tls.Config {
	hints := x509.NewCertPool()
	for _, a := range anchors {
		hints.AddCert(a.Certificate)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, ClientCAs: hints,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName != name {
				return nil, fmt.Errorf("not for this proxy: %q", hello.ServerName)
			}
			return &tls.Certificate{Certificate: chain, PrivateKey: key.Key}, nil
		},
	}
}

func TestAChainIsReturnedAsItIsPresented(t *testing.T) {
	lab := testca.New(now)
	o, n := lab.Root("O"), lab.Root("N")
	issuer := n.Issuer("issuer")
	x := n.CrossSignedBy(o)
	leaf, dead := issuer.Leaf(webName), issuer.Leaf(webName, testca.From(-48*time.Hour), testca.Until(-24*time.Hour))
	for what, test := range map[string]struct {
		name  string
		leaf  *testca.Cert
		above []*testca.Cert
		err   string
	}{
		"an issuer":                    {webName, leaf, []*testca.Cert{issuer}, ""},
		"a cross-signed certificate":   {webName, leaf, []*testca.Cert{issuer, x}, ""},
		"a leaf alone":                 {webName, leaf, nil, ""},
		"out of order, and twice":      {webName, leaf, []*testca.Cert{x, issuer, x}, ""},
		"another's issuer":             {webName, leaf, []*testca.Cert{o.Issuer("other")}, ""},
		"a dead leaf":                  {webName, dead, []*testca.Cert{issuer}, ""},
		"for another name than asked":  {"other.shop", leaf, []*testca.Cert{issuer}, "no TLS handshake for " + webName},
		"another leaf behind the name": {webName, issuer.Leaf("other.shop"), []*testca.Cert{issuer}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			want := [][]byte{test.leaf.Raw}
			for _, c := range test.above {
				want = append(want, c.Raw)
			}
			here, there := net.Pipe()
			defer here.Close()
			go func() {
				defer there.Close()
				tc := tls.Server(there, presenting(test.name, test.leaf, want, o, n))
				if tc.HandshakeContext(t.Context()) == nil {
					_, _ = io.Copy(io.Discard, tc)
				}
			}()
			p, err := askChain(t.Context(), here, webName, now, &certificates{})
			if test.err != "" {
				require.ErrorIs(t, err, ErrHandshake)
				assert.Contains(t, err.Error(), test.err)
				return
			}
			require.NoError(t, err)
			var got [][]byte
			for _, c := range p.Chain {
				got = append(got, c.Raw())
			}
			assert.Equal(t, want, got)
			assert.ElementsMatch(t, [][]byte{o.RawSubject, n.RawSubject}, p.Hints)
			assert.Equal(t, now, p.At)
		})
	}

	t.Run("no TLS", func(t *testing.T) {
		_, err := askChain(t.Context(), answering(t, ""), webName, now, &certificates{})
		require.ErrorIs(t, err, ErrHandshake)
	})
	t.Run("silence", func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := askChain(ctx, here, webName, now, &certificates{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// podServer is an API server with pods that can be asked.
type podServer struct {
	t        *testing.T
	mu       sync.Mutex
	pods     map[string]*playedPod // namespace/name
	forwards int
	refuse   int // HTTP status of every port-forward
	noGet    bool
}

// playedPod is one of its pods.
type playedPod struct {
	uid      string
	restarts int
	native   bool
	anchors  *string
	status   int // of /env.json
	tls      *tls.Config
	onAsk    func() // before it answers /env.json
}

func (s *podServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", now.Format(http.TimeFormat))
	rest, isPod := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
	if !isPod {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
		return
	}
	part := strings.Split(rest, "/") // shop pods web portforward
	s.mu.Lock()
	p := s.pods[part[0]+"/"+part[2]]
	refuse, noGet := s.refuse, s.noGet
	s.mu.Unlock()
	switch forward := len(part) == 4; {
	case p == nil:
		s.status(w, http.StatusNotFound)
	case !forward && noGet:
		s.status(w, http.StatusForbidden)
	case !forward:
		s.describe(w, p)
	case r.Method == http.MethodGet:
		s.status(w, http.StatusForbidden) // no websockets
	case refuse != 0:
		s.count()
		s.status(w, refuse)
	default:
		s.count()
		portforward.ServePortForward(w, r, p, part[2], "", &portforward.V4Options{}, time.Hour, time.Minute, portforward.SupportedProtocols)
	}
}

func (s *podServer) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forwards++
}

func (s *podServer) status(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","message":"code %d"}`, code)
}

func (s *podServer) describe(w http.ResponseWriter, p *playedPod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := "containerStatuses"
	if p.native {
		list = "initContainerStatuses"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"metadata": map[string]any{"uid": p.uid},
		"status": map[string]any{list: []any{map[string]any{
			"name": layout.ProxyContainer, "ready": true, "restartCount": p.restarts,
			"state": map[string]any{"running": map[string]any{"startedAt": now.Add(time.Duration(p.restarts) * time.Minute)}},
		}}},
	})
}

// PortForward plays the pod's admin port.
func (p *playedPod) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	if port != 4191 {
		return fmt.Errorf("dial tcp4 127.0.0.1:%d: connect: connection refused", port)
	}
	here, there := net.Pipe()
	go func() {
		defer here.Close()
		_, _ = io.Copy(here, stream)
	}()
	go func() {
		defer there.Close()
		in := bufio.NewReader(there)
		if first, err := in.Peek(1); err != nil || first[0] != 'G' {
			tc := tls.Server(readAhead{there, in}, p.tls)
			if tc.HandshakeContext(ctx) == nil {
				_, _ = io.Copy(io.Discard, tc)
			}
			return
		}
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		if p.onAsk != nil {
			p.onAsk()
		}
		body, _ := json.Marshal(map[string]*string{layout.ProxyAnchorsEnv: p.anchors})
		fmt.Fprintf(there, "HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s", p.status, len(body), body)
	}()
	_, _ = io.Copy(stream, here)
	return stream.Close()
}

type readAhead struct {
	net.Conn
	r *bufio.Reader
}

func (c readAhead) Read(p []byte) (int, error) { return c.r.Read(p) }

// liveBed is a survey of pods that all hold O and present one issuer's leaves.
type liveBed struct {
	*podServer
	lab     *testca.Lab
	o       *testca.Cert
	issuer  *testca.Cert
	cluster *mesh.Cluster
	survey  *mesh.Survey
	texts   mesh.Texts
}

func newLiveBed(t *testing.T, pods ...string) *liveBed {
	t.Helper()
	b := &liveBed{podServer: &podServer{t: t, pods: map[string]*playedPod{}}, lab: testca.New(now)}
	b.o = b.lab.Root("O")
	b.issuer = b.o.Issuer("issuer")
	server := httptest.NewServer(b.podServer)
	t.Cleanup(server.Close)
	client, err := mesh.NewClient(&rest.Config{Host: server.URL}, mesh.Options{})
	require.NoError(t, err)
	b.cluster = &mesh.Cluster{Name: "east", Client: client}
	b.survey = &mesh.Survey{Classes: []*mesh.Class{{Installation: "linkerd", Release: "edge-25.4.4", Trust: b.texts.TrustSet(b.o.PEM(), "edge-25.4.4"), PresentedWhy: "nobody asked"}}}
	for _, name := range pods {
		b.add(name)
	}
	return b
}

func (b *liveBed) add(name string) *playedPod {
	namespace, pod, _ := strings.Cut(name, "/")
	leaf := b.issuer.Leaf(webName)
	pem := b.o.PEM()
	p := &playedPod{uid: "uid-" + name, anchors: &pem, status: http.StatusOK, tls: presenting(webName, leaf, [][]byte{leaf.Raw, b.issuer.Raw}, b.o)}
	b.pods[name] = p
	b.survey.Peers = append(b.survey.Peers, mesh.Peer{
		Namespace: namespace, Name: pod, UID: p.uid, Phase: "Running", TLSName: webName, AdminPort: 4191,
		Proxy: mesh.Process{Image: "proxy", Running: true, Ready: true, StartedAt: now}, Class: b.survey.Classes[0], TrustEvidence: mesh.EvidenceSpec,
	})
	b.survey.Classes[0].Peers++
	return p
}

func (b *liveBed) live(o LiveOptions) (*mesh.Survey, LiveReport) {
	b.t.Helper()
	if o.PerPeer == 0 {
		o.PerPeer = time.Minute
	}
	r := Live(b.t.Context(), b.cluster, b.survey, o)
	checkClasses(b.t, b.survey)
	return b.survey, r
}

func TestClassesFollowWhatPeersSay(t *testing.T) {
	b := newLiveBed(t, "shop/same", "shop/also")
	n := b.lab.Root("N")
	more := b.o.PEM() + n.PEM()
	b.add("shop/more").anchors = &more
	b.add("shop/none").anchors = nil
	b.add("shop/old").status = http.StatusNotFound
	other := b.o.Issuer("other")
	leaf := other.Leaf(webName)
	b.add("shop/other").tls = presenting(webName, leaf, [][]byte{leaf.Raw, other.Raw}, b.o)
	dead := b.issuer.Leaf(webName, testca.From(-48*time.Hour), testca.Until(-24*time.Hour))
	b.add("shop/dead").tls = presenting(webName, dead, [][]byte{dead.Raw, b.issuer.Raw}, b.o)
	b.survey.Classes[0].Latent = 1
	latent := b.survey.Classes[0]

	s, r := b.live(LiveOptions{})
	assert.Equal(t, 7, r.Answered)
	assert.Empty(t, s.Unknowns)
	class := map[string]*mesh.Class{}
	for i := range s.Peers {
		class[s.Peers[i].Name] = s.Peers[i].Class
	}
	assert.Same(t, class["same"], class["also"])
	assert.Same(t, class["same"], class["old"], "a literal stands without the process")
	assert.Equal(t, "N+O", names(class["more"].Trust))
	assert.Nil(t, class["none"].Trust)
	assert.Contains(t, class["none"].TrustWhy, layout.ProxyAnchorsEnv)
	assert.NotSame(t, class["same"], class["other"])
	assert.NotSame(t, class["same"], class["dead"], "its leaf verifies nowhere")
	assert.Same(t, latent, s.Classes[0])
	assert.Equal(t, 0, latent.Peers)
	assert.Equal(t, whyLatent, latent.PresentedWhy)
	assert.Len(t, s.Classes, 6)
	assert.Equal(t, mesh.EvidenceSpec, s.Peers[4].TrustEvidence)
	assert.Equal(t, mesh.EvidenceAdmin, s.Peers[0].TrustEvidence)
	assert.Equal(t, now.UTC(), s.Peers[0].Presented.At.UTC())
}

func TestAnswersOfAnotherProcessDoNotCount(t *testing.T) {
	lock := func(b *liveBed, f func()) func() {
		return func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			f()
		}
	}
	t.Run("restarted meanwhile", func(t *testing.T) {
		b := newLiveBed(t, "shop/web")
		p := b.pods["shop/web"]
		var once sync.Once
		p.onAsk = func() { once.Do(lock(b, func() { p.restarts++ })) }
		s, r := b.live(LiveOptions{})
		assert.Equal(t, 1, r.Answered)
		assert.Equal(t, 2, b.forwards, "it was asked again")
		assert.Equal(t, 1, s.Peers[0].Proxy.Restarts, "the process that answered")
		assert.NotNil(t, s.Peers[0].Presented)
	})
	t.Run("restarts all the time", func(t *testing.T) {
		b := newLiveBed(t, "shop/web")
		p := b.pods["shop/web"]
		p.native, b.survey.Peers[0].Proxy.Native = true, true
		p.onAsk = lock(b, func() { p.restarts++ })
		s, _ := b.live(LiveOptions{})
		assert.Nil(t, s.Peers[0].Presented)
		assert.Equal(t, []string{"not-running pod shop/web"}, unknowns(s.Unknowns))
	})
	t.Run("another pod by the name", func(t *testing.T) {
		b := newLiveBed(t, "shop/web")
		b.pods["shop/web"].uid = "another"
		s, _ := b.live(LiveOptions{})
		assert.Nil(t, s.Peers[0].Presented)
		assert.Equal(t, mesh.EvidenceSpec, s.Peers[0].TrustEvidence)
		assert.Equal(t, []string{"not-found pod shop/web"}, unknowns(s.Unknowns))
	})
	t.Run("cannot be told", func(t *testing.T) {
		b := newLiveBed(t, "shop/a", "shop/b", "shop/c")
		b.noGet = true
		s, r := b.live(LiveOptions{Parallel: 1})
		assert.Zero(t, r.Answered)
		assert.Equal(t, 1, b.forwards)
		require.Equal(t, []string{"forbidden proxies in namespace shop"}, unknowns(s.Unknowns))
		assert.Contains(t, s.Unknowns[0].Reason, "3 were not asked, or in vain: ")
	})
}

func TestWhoDoesNotAnswerIsUnknown(t *testing.T) {
	b := newLiveBed(t, "shop/web", "shop/port", "shop/gone", "shop/plain", "shop/name", "shop/waits")
	at := func(name string) *mesh.Peer {
		for i := range b.survey.Peers {
			if b.survey.Peers[i].Name == name {
				return &b.survey.Peers[i]
			}
		}
		return nil
	}
	at("port").AdminPort = 4200
	delete(b.pods, "shop/gone")
	b.pods["shop/plain"].tls = presenting("other", b.issuer, nil)
	b.pods["shop/plain"].status = http.StatusInternalServerError
	at("name").TLSName = ""
	at("waits").Proxy.Running = false
	at("waits").Phase = "Pending"
	s, r := b.live(LiveOptions{})
	assert.Equal(t, LiveReport{Peers: 6, Asked: 5, Answered: 2, Cost: r.Cost}, r)
	assert.Equal(t, []string{
		"unreachable pod shop/port", "not-found pod shop/gone", "handshake pod shop/plain", "not-observed pod shop/name", "not-running pod shop/waits",
	}, unknowns(s.Unknowns))
	assert.Contains(t, s.Unknowns[0].Reason, "nothing listens on the port")
	assert.Contains(t, s.Unknowns[3].Reason, "the chain that it presents was not seen")
	for i := range s.Peers {
		assert.NotNil(t, s.Peers[i].Class.Trust, "the survey's own word stands")
	}
}

func TestItGivesUpWhereNobodyAnswers(t *testing.T) {
	var all []string
	for i := range 60 {
		all = append(all, fmt.Sprintf("shop/web-%d", i))
	}
	for code, want := range map[int]string{http.StatusForbidden: "forbidden proxies in namespace shop", http.StatusBadGateway: "server-error proxies"} {
		b := newLiveBed(t, all...)
		b.refuse = code
		s, r := b.live(LiveOptions{Parallel: 2})
		assert.Zero(t, r.Answered)
		assert.Less(t, b.forwards, 30)
		assert.Contains(t, unknowns(s.Unknowns), want)
	}
	b := newLiveBed(t, all...)
	ctx, cancel := context.WithCancel(t.Context())
	r := Live(ctx, b.cluster, b.survey, LiveOptions{Parallel: 1, PerPeer: time.Minute, Progress: func(done, _ int) {
		if done == 3 {
			cancel()
		}
	}})
	assert.Less(t, r.Answered, 6)
	assert.Contains(t, unknowns(b.survey.Unknowns), "interrupted proxies")
	checkClasses(t, b.survey)
}
