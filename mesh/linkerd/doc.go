// Package linkerd is the adapter of Linkerd: it reads where a cluster's control
// planes keep their anchors and issuer, who trusts and presents what, and the
// Links to other clusters, in every layout since 2.3; and it writes bundles and
// issuers into all of those places.
//
// # Reading
//
// [Survey] reads one cluster. It makes a fixed number of requests, some twenty,
// plus a page for every 500 pods: one list of the meshed pods, in which each is
// read as it arrives and cut down to what matters, one of each kind that owns
// pods, of ReplicaSets and Jobs the metadata alone, and a handful of single
// objects for each control plane. It needs no write permission, and with less
// permission than it would like it goes on and says what it did not see.
//
// For 10,000 pods in 589 workloads that is 35 requests, a quarter of the CPU time
// of one unpaginated list with client-go's types (109 against 408 ms) and a
// twentieth of its memory (27 against 627 MB at the peak):
// BenchmarkSurveyTenThousandPods.
//
// # What counts
//
// Linkerd keeps several copies of its anchors, and which one counts for what has
// changed twice:
//
//	release     new pods              linkerd-identity        control plane's proxies   next upgrade
//	2.3 - 2.8   linkerd-config        linkerd-config, at its  literal in each           linkerd-config
//	                                  start                   Deployment
//	2.9, 2.10   linkerd-config        its own Deployment      literal in each           overrides or
//	                                                          Deployment                Helm's values
//	2.11 -      trust-roots           trust-roots, at its     trust-roots, at their     overrides or
//	                                  start                   start                     Helm's values
//
// From 2.11 on linkerd-config goes on carrying a copy that counts for nothing
// but manual injection, and that `linkerd check` judges all the same. A pod that
// was injected holds a literal of its own and never looks at any of these again.
//
// # Asking
//
// What a survey reads of pods says what their proxies were given, and infers the
// rest. [Live] asks the proxies themselves, over a port-forward to each: what
// the process holds, and what it presents. It costs the API server some
// milliseconds a pod, so it is for when one wants to know: 200 pods took 2 s on
// the two cores that also ran the API servers and the proxies.
//
// # Writing
//
// [PlanBundle] and [PlanIssuer] say which objects a change touches, which of
// them may not be touched because a reconciler would put them back, and what has
// to be committed where a tool of its owner would otherwise undo the change.
// [Apply] carries a plan out, object by object, each with the UID and the
// resourceVersion that the survey saw: what has changed since is a conflict, and
// nothing is written over it. Texts are edited in place (package layout), so
// comments and order stay as they are.
//
// # Credentials of Links
//
// The kubeconfig in a Link's Secret was written by somebody else and is treated
// as an attack until it proves harmless: see [ParseCredential].
package linkerd
