package linkerd

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/internal/testbed/linkerdtest"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
)

// deaf is the runtime of pods some of which take a port-forward and say nothing.
type deaf struct {
	testbed.PodRuntime
	mu   sync.Mutex
	pods map[string]bool // by the beginning of their names
}

func (d *deaf) Dial(ctx context.Context, pod *testbed.Pod, port int) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.pods {
		if strings.HasPrefix(pod.Object.Name, name) {
			here, there := net.Pipe()
			context.AfterFunc(ctx, func() { there.Close() })
			go func() { // it hears, and does not answer
				buf := make([]byte, 1<<10)
				for {
					if _, err := there.Read(buf); err != nil {
						return
					}
				}
			}()
			return here, nil
		}
	}
	return d.PodRuntime.Dial(ctx, pod, port)
}

// meshBed is two clusters with a mesh played in their pods.
type meshBed struct {
	*testing.T
	ctx   context.Context
	bed   *testbed.Bed
	fleet *linkerdtest.Fleet
	clock *linkerdtest.Fake
	lab   *testca.Lab
	deaf  map[string]*deaf
}

func newMeshBed(t *testing.T) *meshBed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	lab := testca.New(time.Now())
	clock := linkerdtest.NewFake(lab.Now())
	b := &meshBed{T: t, ctx: ctx, fleet: linkerdtest.NewFleet(clock), clock: clock, lab: lab, deaf: map[string]*deaf{}}
	b.bed = testbed.Start(t, 2, func(o *testbed.Options) {
		o.Runtime = func(c *testbed.Cluster) testbed.PodRuntime {
			d := &deaf{PodRuntime: b.fleet.Runtime(c), pods: map[string]bool{}}
			b.deaf[c.Name] = d
			return d
		}
	})
	return b
}

func (b *meshBed) install(cluster string, roots *testca.Cert, issuer *testca.Cert, release string) *linkerdtest.Mesh {
	b.Helper()
	o := linkerdtest.Options{Roots: roots.PEM(), Issuer: issuer.PEM(), IssuerKey: issuer.KeyPEM()}
	if release != "" {
		o.Release = linkerdtest.MustRelease(release)
	}
	m, err := linkerdtest.Install(b.ctx, b.fleet, b.bed.Cluster(cluster), o)
	require.NoError(b, err)
	b.Cleanup(m.Close)
	return m
}

// survey looks at a cluster, and then asks its proxies.
func (b *meshBed) survey(c *mesh.Cluster, between func(*mesh.Survey), o LiveOptions) (*mesh.Survey, LiveReport) {
	b.Helper()
	s := Survey(b.ctx, c, Options{})
	require.NotEmpty(b, s.Peers, "%v", s.Unknowns)
	if between != nil {
		between(s)
	}
	if o.PerPeer == 0 {
		o.PerPeer = time.Minute // the machine may be busy, and nobody is to be late
	}
	began := time.Now()
	r := Live(b.ctx, c, s, o)
	b.Logf("live survey of %s: %d of %d peers answered in %s, %d requests beside", c.Name, r.Answered, r.Asked, time.Since(began).Round(time.Millisecond), r.Cost.Requests)
	checkClasses(b, s)
	return s, r
}

// checkClasses requires that the classes of a survey add up.
func checkClasses(t testing.TB, s *mesh.Survey) {
	t.Helper()
	count := map[*mesh.Class]int{}
	for i := range s.Peers {
		p := &s.Peers[i]
		count[p.Class]++
		require.Contains(t, s.Classes, p.Class)
		if p.Presented != nil {
			require.NotNil(t, p.Class.Presented)
			require.Equal(t, mesh.EvidencePresented, p.PresentedEvidence)
			require.Len(t, p.Class.Presented.Chain, len(p.Presented.Chain))
		} else {
			require.NotEmpty(t, p.Class.PresentedWhy)
		}
		require.True(t, p.Class.Trust != nil || p.Class.TrustWhy != "")
	}
	for _, c := range s.Classes {
		require.Equal(t, count[c], c.Peers, "%s", c)
		require.True(t, c.Peers > 0 || c.Latent > 0)
	}
}

// peersOf returns the peers of a workload, or of a component of the control plane.
func peersOf(s *mesh.Survey, name string) (out []*mesh.Peer) {
	for i := range s.Peers {
		if p := &s.Peers[i]; p.Component == name || p.Workload != nil && p.Workload.Name == name {
			out = append(out, p)
		}
	}
	return out
}

// signer returns the name of who signed a peer's leaf, by what it presents.
func signer(p *mesh.Peer) string {
	if p.Presented == nil || len(p.Presented.Chain) < 2 {
		return "?"
	}
	return p.Presented.Chain[1].Subject()
}

func TestLiveSurveyOfRealClusters(t *testing.T) {
	b := newMeshBed(t)
	o, n := b.lab.Root("O"), b.lab.Root("N")
	first, second := o.Issuer("first"), o.Issuer("second")
	east := b.bed.Cluster("east")
	m := b.install("east", o, first, "")
	old := b.install("west", o, o.Issuer("west"), "stable-2.11.5")
	for _, name := range []string{"web", "api", "mute"} {
		require.NoError(t, m.Deploy(b.ctx, "shop", name, 2))
	}
	require.NoError(t, m.Deploy(b.ctx, "bank", "till", 1))
	require.NoError(t, old.Deploy(b.ctx, "shop", "web", 1))
	here := openReal(b.ctx, t, east.Config, mesh.Options{})

	t.Run("all answer", func(t *testing.T) {
		began := time.Now().Add(-time.Minute)
		progress := 0
		here := openReal(b.ctx, t, east.Calling("live-survey"), mesh.Options{})
		s, r := b.survey(here, nil, LiveOptions{Progress: func(done, all int) {
			progress++
			assert.Equal(t, progress, done)
			assert.Equal(t, 10, all)
		}})
		calls := map[string]int{}
		require.NoError(t, testbed.Until(b.ctx, func(context.Context) (bool, error) { // they are logged when they end
			list, err := east.Calls(testbed.Mark{}, func(c testbed.Call) bool { return c.UserAgent == "live-survey" && c.Subresource == "portforward" })
			calls = testbed.Count(list, func(c testbed.Call) string { return c.Verb })
			return len(list) >= 10, err
		}))
		assert.Equal(t, map[string]int{"get": 10}, calls, "one websocket each")
		assert.Empty(t, s.Unknowns)
		assert.Equal(t, LiveReport{Peers: 10, Asked: 10, Answered: 10, Cost: r.Cost}, r)
		assert.Equal(t, 10, progress)
		require.Len(t, s.Classes, 1, "one trust set, one issuer")
		assert.Equal(t, 10, s.Classes[0].Peers)
		for i := range s.Peers {
			p := &s.Peers[i]
			assert.Equal(t, mesh.EvidenceAdmin, p.TrustEvidence)
			assert.Equal(t, "O", names(p.Class.Trust))
			assert.Equal(t, "first", signer(p))
			want := b.fleet.Proxy(east, p.Namespace, p.Name).Chain()
			require.Len(t, p.Presented.Chain, len(want))
			assert.Equal(t, want[0].Raw, p.Presented.Chain[0].Raw(), "its own leaf")
			assert.Same(t, s.Peers[0].Presented.Chain[1], p.Presented.Chain[1], "kept once")
			assert.Equal(t, [][]byte{o.RawSubject}, p.Presented.Hints)
			assert.WithinRange(t, p.Presented.At, began, time.Now().Add(time.Minute))
		}
	})

	t.Run("a release that tells nothing", func(t *testing.T) {
		there := openReal(b.ctx, t, b.bed.Cluster("west").Config, mesh.Options{})
		s, r := b.survey(there, nil, LiveOptions{})
		assert.Equal(t, r.Asked, r.Answered)
		web := peersOf(s, "web")
		require.Len(t, web, 1)
		assert.Equal(t, mesh.EvidenceSpec, web[0].TrustEvidence)
		assert.Equal(t, "west", signer(web[0]))
		destination := peersOf(s, "destination")[0]
		assert.NotEqual(t, mesh.EvidenceAdmin, destination.TrustEvidence)
		assert.Equal(t, "west", signer(destination), "its chain is seen all the same")
		assert.Contains(t, unknowns(s.Unknowns), "not-observed pod linkerd/"+destination.Name)
	})

	t.Run("a sample", func(t *testing.T) {
		s, r := b.survey(here, nil, LiveOptions{Sample: 2})
		assert.Equal(t, 5, r.Asked, "two that hold literals, and the control plane")
		var whys []string
		for _, c := range s.Classes {
			whys = append(whys, c.PresentedWhy)
		}
		assert.ElementsMatch(t, []string{"", whyNotSampled}, whys)
	})

	// The anchors change; who restarts holds the new ones, who does not the old.
	both := o.PEM() + n.PEM()
	require.NoError(t, m.WriteRoots(b.ctx, both))
	require.NoError(t, m.Restart(b.ctx, "linkerd", linkerdtest.Injectors, "both"))
	require.NoError(t, m.Restart(b.ctx, "linkerd", linkerdtest.Destinations, "both"))
	require.NoError(t, m.Restart(b.ctx, "shop", "web", "both"))
	t.Run("anchors of running processes", func(t *testing.T) {
		s, _ := b.survey(here, func(s *mesh.Survey) {
			assert.Nil(t, peersOf(s, "identity")[0].Class.Trust, "nothing but the process knows")
		}, LiveOptions{})
		assert.Empty(t, s.Unknowns)
		for name, want := range map[string]string{"web": "N+O", "api": "O", "mute": "O", "till": "O", "identity": "O", "destination": "N+O", "proxy-injector": "N+O"} {
			for _, p := range peersOf(s, name) {
				assert.Equal(t, want, names(p.Class.Trust), "%s", name)
				assert.Equal(t, mesh.EvidenceAdmin, p.TrustEvidence)
			}
		}
		require.Len(t, s.Classes, 2)
	})

	// The issuer is switched; leaves follow when they are renewed, or at once in
	// pods that are new.
	require.NoError(t, m.WriteIssuer(b.ctx, second.PEM(), second.KeyPEM()))
	identity := peersOf(Survey(b.ctx, here, Options{}), "identity")[0].Name
	require.NoError(t, testbed.Until(b.ctx, func(context.Context) (bool, error) {
		id := b.fleet.Identity(east, "linkerd", identity)
		return id != nil && id.Issuer().Equal(second.Certificate), nil
	}))
	require.NoError(t, m.Restart(b.ctx, "shop", "api", "second"))
	t.Run("chains of two issuers", func(t *testing.T) {
		s, _ := b.survey(here, nil, LiveOptions{})
		for name, want := range map[string]string{"web": "first", "api": "second", "mute": "first", "till": "first", "destination": "first"} {
			for _, p := range peersOf(s, name) {
				assert.Equal(t, want, signer(p), "%s", name)
			}
		}
		require.Len(t, s.Classes, 3, "O with either chain, and N+O with the first")
	})

	t.Run("a pod that hangs", func(t *testing.T) {
		d := b.deaf["east"]
		d.mu.Lock()
		d.pods["mute"] = true
		d.mu.Unlock()
		s, r := b.survey(here, nil, LiveOptions{PerPeer: 8 * time.Second})
		assert.Equal(t, r.Asked-2, r.Answered)
		for _, p := range peersOf(s, "mute") {
			assert.Nil(t, p.Presented)
			assert.Equal(t, mesh.EvidenceSpec, p.TrustEvidence)
			assert.Equal(t, whyNoAnswer, p.Class.PresentedWhy)
			assert.Contains(t, unknowns(s.Unknowns), "timeout pod shop/"+p.Name)
		}
		assert.Equal(t, "second", signer(peersOf(s, "api")[0]))
		d.mu.Lock()
		clear(d.pods)
		d.mu.Unlock()
	})

	t.Run("no permission", func(t *testing.T) {
		ns, err := east.Namespace(b.ctx, "tools")
		require.NoError(t, err)
		in := func(verb string) []rbacv1.PolicyRule {
			return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{verb}}}
		}
		config, err := east.ServiceAccount(b.ctx, ns, "half", testbed.Rights{
			Everywhere: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "get"}}},
			In:         map[string][]rbacv1.PolicyRule{"shop": in("create"), "linkerd": in("create")},
		})
		require.NoError(t, err)
		limited, err := mesh.NewClient(config, mesh.Options{})
		require.NoError(t, err)
		s, r := b.survey(&mesh.Cluster{Name: "limited", Client: limited}, nil, LiveOptions{Parallel: 1})
		assert.Equal(t, r.Asked-1, r.Answered, "all but the till")
		till := slices.IndexFunc(s.Unknowns, func(u mesh.Unknown) bool { return u.About == "proxies in namespace bank" })
		require.GreaterOrEqual(t, till, 0, "%v", s.Unknowns)
		assert.Equal(t, mesh.CodeForbidden, s.Unknowns[till].Code)
		assert.Equal(t, "1 were not asked, or in vain: no permission for pods/portforward", s.Unknowns[till].Reason)
	})

	t.Run("pods that come and go", func(t *testing.T) {
		s := Survey(b.ctx, here, Options{})
		gone := peersOf(s, "till")[0]
		require.NoError(t, east.Client.CoreV1().Pods("bank").Delete(b.ctx, gone.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
		require.NoError(t, testbed.Until(b.ctx, func(ctx context.Context) (bool, error) {
			list, err := east.Client.CoreV1().Pods("bank").List(ctx, metav1.ListOptions{})
			return err == nil && len(list.Items) == 1 && list.Items[0].Name != gone.Name && podReady(&list.Items[0]), err
		}))
		release := east.Kubelet.HoldStart(testbed.Labelled("shop", "app=web"))
		require.NoError(t, east.Client.CoreV1().Pods("shop").DeleteCollection(b.ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{LabelSelector: "app=web"}))
		defer release()
		Live(b.ctx, here, s, LiveOptions{PerPeer: time.Minute})
		checkClasses(t, s)
		assert.Contains(t, unknowns(s.Unknowns), "not-found pod bank/"+gone.Name)

		s, _ = b.survey(here, nil, LiveOptions{})
		for _, p := range peersOf(s, "web") {
			assert.Contains(t, unknowns(s.Unknowns), "not-running pod shop/"+p.Name)
		}
		assert.Equal(t, "second", signer(peersOf(s, "till")[0]), "the new pod by its own")
	})
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
