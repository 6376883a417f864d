package bundle

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

// Twins returns the groups of certificates that are one anchor: same raw
// subject, raw key and name constraints, such as a root and its re-issue. Each
// group has two or more members in canonical order; groups come in the order
// of their first member.
func (b *Bundle) Twins() [][]*Certificate {
	return groups(b.Sorted(), func(c *Certificate) AnchorID { return c.AnchorID() })
}

func groups[K comparable](certs []*Certificate, key func(*Certificate) K) [][]*Certificate {
	byKey := make(map[K][]*Certificate)
	var order []K
	for _, c := range certs {
		k := key(c)
		if len(byKey[k]) == 0 {
			order = append(order, k)
		}
		byKey[k] = append(byKey[k], c)
	}
	var out [][]*Certificate
	for _, k := range order {
		if len(byKey[k]) > 1 {
			out = append(out, byKey[k])
		}
	}
	return out
}

// CompactResult says what Compact did with the twins of a bundle.
type CompactResult struct {
	Bundle  *Bundle
	Dropped []*Certificate
	Kept    []KeptTwin
}

// KeptTwin is a twin that was not dropped, and why.
type KeptTwin struct {
	Certificate *Certificate
	Reason      string
}

// Compact drops a twin only where that can change no verdict of either rule
// set, now or later, on any of the known issuers and chains:
//
//   - another twin stays that every proxy release loads if it loads this one,
//     so that no proxy sees a difference (but for the signature check it saves);
//   - for identity (Go's x509), the one that stays is valid now and to the end
//     of the other, and no stricter in path length or key usage;
//   - an issuer is never the dropped certificate itself: on a default install
//     the issuer is its own anchor, and Go then wants exactly that certificate
//     among the roots;
//   - each known issuer and chain is judged before and after.
//
// An issuer that is not known cannot be judged, and it may be the very
// certificate. So a twin goes only where a known issuer stands under its anchor,
// or where it has expired: under it identity accepts nothing any more.
//
// Known issuers and chains are lists of certificates, first certificate first;
// one whose first certificate is a leaf is a chain, else it is an issuer.
func Compact(b *Bundle, known [][]*Certificate, now time.Time) CompactResult {
	var res CompactResult
	gone := make(map[Fingerprint]bool)
	bySubject := make(map[string][]*Certificate)
	for _, c := range b.certs {
		bySubject[string(c.RawSubject())] = append(bySubject[string(c.RawSubject())], c)
	}
	for _, twins := range b.Twins() {
		set := bySubject[string(twins[0].RawSubject())]
		left := slices.DeleteFunc(slices.Clone(set), func(c *Certificate) bool { return gone[c.fingerprint] })
		concerned := concernedBy(twins[0], known)
		for _, c := range dropOrder(twins) {
			if why := needed(left, c, concerned, now); why != "" {
				res.Kept = append(res.Kept, KeptTwin{c, why})
				continue
			}
			left = slices.DeleteFunc(left, func(o *Certificate) bool { return o == c })
			gone[c.fingerprint] = true
			res.Dropped = append(res.Dropped, c)
		}
	}
	drop := make([]Fingerprint, 0, len(gone))
	for f := range gone {
		drop = append(drop, f)
	}
	res.Bundle = b.Without(drop...)
	// The last of its group stays because it is the last.
	res.Kept = slices.DeleteFunc(res.Kept, func(k KeptTwin) bool { return k.Reason == lastOfItsKind })
	return res
}

const lastOfItsKind = "no twin of it is left"

// concernedBy picks the known issuers and chains on whose way up the name of
// the anchor stands: no other verdict can depend on it.
func concernedBy(anchor *Certificate, known [][]*Certificate) (out [][]*Certificate) {
	for _, k := range known {
		if slices.ContainsFunc(k, func(c *Certificate) bool { return anchor.named(c.RawIssuer()) || anchor.named(c.RawSubject()) }) {
			out = append(out, k)
		}
	}
	return out
}

// dropOrder tries the twin that ends first first.
func dropOrder(twins []*Certificate) []*Certificate {
	order := slices.Clone(twins)
	slices.SortStableFunc(order, func(x, y *Certificate) int {
		_, xEnd := x.Validity()
		_, yEnd := y.Validity()
		return xEnd.Compare(yEnd)
	})
	return order
}

// needed says why c must stay beside the others of its name, "" when it need
// not.
func needed(left []*Certificate, c *Certificate, known [][]*Certificate, now time.Time) string {
	after := slices.DeleteFunc(slices.Clone(left), func(o *Certificate) bool { return o == c })
	why := lastOfItsKind
	for _, o := range after {
		if o.AnchorID() != c.AnchorID() {
			continue
		}
		w := standsInFor(o, c, now)
		if w == "" || why == lastOfItsKind {
			why = w
		}
		if why == "" {
			break
		}
	}
	if why != "" {
		return why
	}
	if !expired(c, now) {
		under := false
		for _, k := range known {
			if issuer := issuerOf(k); len(issuer) > 0 && issuer[0].fingerprint == c.fingerprint {
				return "it is an issuer itself, and linkerd-identity then wants this very certificate among its roots"
			}
			under = under || slices.ContainsFunc(k, func(i *Certificate) bool { return c.named(i.RawIssuer()) && c.signed(i) })
		}
		if !under {
			return "no issuer under it is known, and it may be one itself: add the issuer Secret, or the certificate of each issuer, to the sources"
		}
	}
	for _, k := range known {
		for _, q := range queriesFor(k, now) {
			q.Anchors = left
			was := Verify(q)
			q.Anchors = after
			if is := Verify(q); was.OK != is.OK {
				return fmt.Sprintf("without it the %s rules would judge %s differently: %s", q.Rules, k[0], is.Reason)
			}
		}
	}
	return ""
}

// queriesFor lists every question that either rule set can be asked about a
// known issuer or chain.
func queriesFor(certs []*Certificate, at time.Time) []Query {
	q := Query{At: at}
	if issuer := issuerOf(certs); len(issuer) < len(certs) {
		q.Chain = certs
	} else {
		q.Issuer = certs
	}
	var out []Query
	for _, usage := range []Usage{Server, Client} {
		q.Rules, q.Usage = Proxy, usage
		out = append(out, q)
	}
	q.Rules = Identity
	return append(out, q)
}

// issuerOf takes the leaf off a chain; what Go cannot read counts as an issuer.
func issuerOf(certs []*Certificate) []*Certificate {
	if len(certs) > 0 && certs[0].parsed != nil && !certs[0].IsCA() {
		return certs[1:]
	}
	return certs
}

func expired(c *Certificate, now time.Time) bool {
	_, end := c.Validity()
	return end.Before(now)
}

// standsInFor says why twin o cannot take the place of c as an anchor, "" when
// it can, under both rule sets and at every moment from now on.
func standsInFor(o, c *Certificate, now time.Time) string {
	for _, r := range Releases() {
		if loads(c, r) == nil && loads(o, r) != nil {
			return fmt.Sprintf("proxies of Linkerd %s load it, but not its twin %s", r, o)
		}
	}
	x, errX := o.X509()
	y, errY := c.X509()
	if errX != nil || errY != nil {
		return "Go cannot read it or its twin"
	}
	if expired(c, now) {
		return "" // identity accepts nothing under c any more
	}
	switch {
	case x.NotBefore.After(now) && x.NotBefore.After(y.NotBefore):
		return fmt.Sprintf("its twin %s is not valid yet", o)
	case x.NotAfter.Before(y.NotAfter):
		return fmt.Sprintf("its twin %s ends earlier", o)
	case !o.signs() && x.KeyUsage != 0 && o.IsCA():
		return fmt.Sprintf("its twin %s may not sign certificates", o)
	case !o.signs():
		return fmt.Sprintf("its twin %s is not a CA", o)
	case len(x.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("its twin %s has a critical extension that identity does not know", o)
	case !servesServers(x) && servesServers(y):
		return fmt.Sprintf("its twin %s allows fewer extended key usages", o)
	case !bytes.Equal(extension(x, oidAltNames), extension(y, oidAltNames)):
		// Go lets a path hold a subject and key twice if the alternative names differ.
		return fmt.Sprintf("its twin %s has other alternative names", o)
	}
	if limit, ok := o.MaxPathLen(); ok {
		if theirs, has := c.MaxPathLen(); !has || theirs > limit {
			return fmt.Sprintf("its twin %s has a stricter path length limit", o)
		}
	}
	return ""
}

var oidAltNames = asn1.ObjectIdentifier{2, 5, 29, 17}
