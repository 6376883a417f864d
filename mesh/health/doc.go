// Package health judges a fleet: which of its peers can shake hands with which,
// what is wrong with its anchors and issuers, and whether its Links work. It is
// pure: surveys and the moment of judgement come in, verdicts go out.
//
// # One predicate
//
// Everything rests on [Judge.Verifies]: does what one class of peers presents
// verify under what another class trusts. `windlass check`, `windlass link
// check`, and whoever else wants to know, are readers of it. Answers are kept by
// chain and trust set, so ten thousand pods of three classes cost nine of them.
//
// # What peers present
//
// Where nobody asked a peer for its chain it is inferred: a peer presents what
// the stored issuer signs. That can be wrong while leaves of a former issuer are
// alive, and where an identity process that is older than the issuer may have
// missed it (linkerd2 #15109). Both are a doubt, not a guess: then a pair counts
// as sound only if in addition the verifier trusts every anchor that the
// presenter trusts, for a proxy never shows a leaf that it does not verify
// itself. Where even that is not so the answer is unknown, which is not sound.
//
// # What peers trust
//
// A peer whose trust set is not known is not sound either, with two exceptions
// that hold within its own cluster: a proxy that does not run yet will take what
// is stored, and one that got ready after the issuer was last changed has proved
// that it verifies that issuer.
//
//	report := health.Check(fleet, time.Now(), health.CheckOptions{})
//	for _, f := range report.Findings { ... }
//	links := health.NewJudge(time.Now()).Links(fleet, nil, 0)
package health
