// Package linkerdtest is a double of Linkerd's moving parts, for tests and the
// demo: proxies, identities and injectors that behave as Linkerd's do, failures
// included, and a ledger of real handshakes among them.
//
//	world := linkerdtest.NewWorld(now)
//	east := world.AddCluster("east", linkerdtest.Options{Roots: roots, Issuer: issuer, IssuerKey: key})
//	east.Deploy("emojivoto", "web", 2)
//	east.WriteRoots(both)              // the ConfigMap; readers lag behind it
//	world.Clock.Advance(2 * time.Minute)
//	east.Restart("linkerd", "linkerd-identity")
//	world.Ledger.Step("both anchors are trusted")
//	world.Ledger.Finish()
//	world.Ledger.Check(t)              // no failure, and nothing left untried
//
// # The parts
//
//   - A [Proxy] is one process of linkerd2-proxy. It reads its anchors from its
//     environment once, gets a leaf from an identity over mutual TLS, renews it
//     after 70 % of what remains of it, and refuses a leaf that its own anchors do
//     not verify. Without renewal it goes on with the leaf that it has until that
//     dies, and then it is dead: identity's proxy refuses the dead leaf too. It
//     judges peers by the rules of internal/webpki.
//   - An [Identity] is one process of linkerd-identity behind its own pod's proxy.
//     It reads its anchors once and its issuer again whenever the mounted Secret
//     changes, with Linkerd's checks, events and metric.
//   - An [Injector] is one replica of the mutating webhook, with its own lagging
//     view of the mounted bundle and of its serving certificate.
//   - A [Ledger] makes the peers shake hands, over real TLS 1.3, whenever what a
//     peer trusts or presents has changed and before anything else changes, and
//     keeps count of what it tried and of what failed.
//
// # Two grounds to stand on
//
// A [World] puts them together within the process: clusters with pods, a network
// of pipes, and ConfigMaps and Secrets ([Object]) that every reader sees with a lag
// of its own ([Mount]). It is fast, and it does the same each time.
//
// A [Fleet] plays them in the pods of internal/testbed, behind real API servers:
// pods come and go with their rollouts, are injected by a real webhook, read what
// their node knows, and are reached at their own addresses or by port-forward.
//
//	fleet := linkerdtest.NewFleet(clock)
//	bed := testbed.Start(t, 2, fleet.Configure)
//	mesh, err := linkerdtest.Install(ctx, fleet, bed.Cluster("east"), options)
//
// A proxy that is no pod, such as an ExternalWorkload's, is made by [StartProxy]
// with the ledger for its Changes.
//
// # Time
//
// Every part is driven by a [Clock]. With a [Fake] one nothing happens but what
// a test asks for: Advance runs all that is due, in order, to its end, and
// returns when all is quiet, so that no test ever sleeps. [Real] follows a
// clock on the wall, for the demo.
//
// # What is simplified
//
// There are no iptables: a proxy's inbound port is dialed itself instead of the
// port behind it. A connection that is not TLS, or is for another name, is closed
// instead of handed on. The gRPC services of destination and policy are absent.
// Go's TLS parses certificates before the proxies' rules see them, so that a
// presented certificate that Go refuses fails a handshake where rustls might
// take it; as identity itself parses its issuer with Go, none can arise. TLS
// alerts carry less than rustls' would; the reason of each side is kept with it.
package linkerdtest
