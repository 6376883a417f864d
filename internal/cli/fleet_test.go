package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/internal/fakeapi"
	"github.com/windlass-mesh/windlass/internal/testca"
)

const day = 24 * time.Hour

// fleetOf makes the clusters of a scenario around the scripts' moment.
var fleets = map[string]func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API{
	// One root for east and west, all is well. West is linked from east and back.
	"sound": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		root := lab.Root("root")
		east, west := start("east"), start("west")
		for _, c := range []*fakeapi.API{east, west} {
			c.Install(fakeapi.Linkerd{Roots: root.PEM(), Issuer: root.Issuer("issuer of " + c.Name).PEM()})
			c.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "web", Count: 3, Anchors: root.PEM()})
		}
		east.Link(west)
		west.Link(east)
		return []*fakeapi.API{east, west}
	},
	// East has moved on to a new root, west knows only the old one.
	"one-way": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		o, n := lab.Root("old root"), lab.Root("new root")
		east, west := start("east"), start("west")
		east.Install(fakeapi.Linkerd{Roots: o.PEM() + n.PEM(), Issuer: n.Issuer("issuer of east").PEM()})
		east.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "web", Count: 2, Anchors: o.PEM() + n.PEM()})
		west.Install(fakeapi.Linkerd{Roots: o.PEM(), Issuer: o.Issuer("issuer of west").PEM()})
		west.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "web", Anchors: o.PEM()})
		east.Link(west)
		return []*fakeapi.API{east, west}
	},
	// A pod was left behind on the old root when the issuer moved to the new one.
	"left-behind": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		o, n := lab.Root("old root"), lab.Root("new root")
		east := start("east")
		east.Install(fakeapi.Linkerd{Roots: o.PEM() + n.PEM(), Config: o.PEM(), Issuer: n.Issuer("issuer").PEM(), RootsAge: 20 * day, IdentityAge: 19 * day, IssuerAge: 15 * day})
		east.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "web", Count: 2, Anchors: n.PEM() + o.PEM() + "\n"})
		east.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "old", Anchors: o.PEM(), Age: 25 * day})
		east.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "done", Anchors: o.PEM(), Phase: "Succeeded"})
		return []*fakeapi.API{east}
	},
	// An issuer that ends in two weeks.
	"ending": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		root := lab.Root("root")
		east := start("east")
		east.Install(fakeapi.Linkerd{Roots: root.PEM(), Issuer: root.Issuer("issuer", testca.From(-350*day), testca.Until(14*day)).PEM()})
		return []*fakeapi.API{east}
	},
	// A control plane of this hour: all of it was made within a minute.
	"fresh": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		root := lab.Root("root")
		east := start("east")
		east.Install(fakeapi.Linkerd{Roots: root.PEM(), Issuer: root.Issuer("issuer").PEM(), RootsAge: time.Hour, IssuerAge: time.Hour, IdentityAge: time.Hour - 5*time.Second})
		east.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "web", Anchors: root.PEM(), Age: time.Hour - time.Minute})
		return []*fakeapi.API{east}
	},
	// West shows a Link no more than the stock permissions do.
	"stock": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		root := lab.Root("root")
		east, west := start("east"), start("west")
		for _, c := range []*fakeapi.API{east, west} {
			c.Install(fakeapi.Linkerd{Roots: root.PEM(), Issuer: root.Issuer("issuer of " + c.Name).PEM()})
			c.Deploy(fakeapi.Pod{Namespace: "shop", Workload: "web", Anchors: root.PEM()})
		}
		west.Fault = func(r *http.Request) (int, string) {
			for _, may := range []string{"/pods", "/services", "/services/kubernetes", "/replicasets", "/jobs", "/configmaps/linkerd-config"} {
				if strings.HasSuffix(r.URL.Path, may) {
					return 0, ""
				}
			}
			return http.StatusForbidden, "forbidden"
		}
		east.Link(west)
		return []*fakeapi.API{east, west}
	},
	// Credentials that would run a program.
	"hostile": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		root := lab.Root("root")
		east, west := start("east"), start("west")
		east.Install(fakeapi.Linkerd{Roots: root.PEM(), Issuer: root.Issuer("issuer").PEM()})
		east.Link(west)
		east.Credentials("west", "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], "+
			"clusters: [{name: x, cluster: {server: 'https://west.example.com'}}], users: [{name: x, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [ran]}}}]}")
		return []*fakeapi.API{east}
	},
	// API servers that answer, but not with what was asked for.
	"failing": func(_ *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		broken, busy, stranger := start("broken"), start("busy"), start("stranger")
		for status, c := range map[int]*fakeapi.API{500: broken, 429: busy, 401: stranger} {
			c.Fault = func(*http.Request) (int, string) { return status, "no" }
		}
		return []*fakeapi.API{broken, busy, stranger}
	},
	// Clusters of all kinds of trouble beside one that is well.
	"trouble": func(lab *testca.Lab, start func(string) *fakeapi.API) []*fakeapi.API {
		root := lab.Root("root")
		east, none, denied, down := start("east"), start("none"), start("denied"), start("down")
		for _, c := range []*fakeapi.API{east, denied} {
			c.Install(fakeapi.Linkerd{Roots: root.PEM(), Issuer: root.Issuer("issuer").PEM()})
		}
		denied.Fault = func(r *http.Request) (int, string) {
			if strings.Contains(r.URL.Path, "/secrets") {
				return http.StatusForbidden, "secrets is forbidden"
			}
			return 0, ""
		}
		down.URL = "https://127.0.0.1:1"
		return []*fakeapi.API{east, none, denied, down}
	},
}

// startFleet starts the clusters of a scenario and writes the kubeconfig.
func startFleet(name, kubeconfig string, cleanup func(func())) {
	now, _ := time.Parse(time.RFC3339, scriptNow)
	clusters := fleets[name](testca.New(now), func(name string) *fakeapi.API {
		a := fakeapi.New(name, now)
		cleanup(a.Serve())
		return a
	})
	write(kubeconfig, []byte(fakeapi.Kubeconfig(clusters...)), 0o600)
}

// scriptFleet is the script command "fleet SCENARIO".
func scriptFleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || fleets[args[0]] == nil {
		ts.Fatalf("usage: fleet SCENARIO")
	}
	file := ts.MkAbs("kubeconfig")
	startFleet(args[0], file, ts.Defer)
	ts.Setenv("KUBECONFIG", file)
}

// exampleFleet gives the examples of a help text the clusters they name.
func exampleFleet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	startFleet("sound", file, t.Cleanup)
	t.Setenv("KUBECONFIG", file)
}

func TestAskingStopsWithTheContext(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for _, words := range []string{"survey", "check", "link check"} {
		_, stderr, code := runThen(t, "", strings.Fields(words)...)
		require.Equal(t, cli.ExitFailed, code)
		require.Contains(t, stderr, "no cluster to ask")
	}
	require.NoError(t, os.WriteFile(os.Getenv("KUBECONFIG"), []byte("{{"), 0o600))
	_, stderr, code := runThen(t, "", "survey", "--context", "east")
	require.Equal(t, cli.ExitFailed, code)
	require.Contains(t, stderr, "read the kubeconfig")
}
