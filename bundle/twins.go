package bundle

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Twins returns the groups of certificates that are one anchor: same raw
// subject, raw key and name constraints, such as a root and its re-issue. Each
// group has two or more members in canonical order; groups come in the order
// of their first member.
func (b *Bundle) Twins() [][]*Certificate {
	return groups(b.Sorted(), func(c *Certificate) AnchorID { return c.anchorID })
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
//     so that no proxy sees a difference;
//   - for identity (Go's x509), the one that stays is valid now and to the end
//     of the other, and no stricter in path length or key usage;
//   - an issuer is never the dropped certificate itself: on a default install
//     the issuer is its own anchor, and Go then wants exactly that certificate
//     among the roots;
//   - each known issuer and chain is judged before and after.
//
// An issuer that is not known cannot be judged. So where none is known, only a
// twin that has expired goes: under it identity accepts nothing any more.
//
// Known issuers and chains are lists of certificates, first certificate first;
// one whose first certificate is a CA is an issuer, else it is a chain.
func Compact(b *Bundle, known [][]*Certificate, now time.Time) CompactResult {
	res := CompactResult{Bundle: b.Clone()}
	for _, twins := range b.Twins() {
		left := slices.Clone(twins)
		for _, c := range dropOrder(twins) {
			if len(left) == 1 {
				break
			}
			others := slices.DeleteFunc(slices.Clone(left), func(o *Certificate) bool { return o == c })
			if why := needed(res.Bundle, c, others, known, now); why != "" {
				res.Kept = append(res.Kept, KeptTwin{c, why})
				continue
			}
			left = others
			res.Bundle = res.Bundle.Without(c.fingerprint)
			res.Dropped = append(res.Dropped, c)
		}
	}
	return res
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

// needed says why c must stay beside the others, "" when it need not.
func needed(b *Bundle, c *Certificate, others []*Certificate, known [][]*Certificate, now time.Time) string {
	stands := false
	var why string
	for _, o := range others {
		if w := standsInFor(o, c, now); w == "" {
			stands = true
			break
		} else if why == "" {
			why = w
		}
	}
	if !stands {
		return why
	}
	_, end := c.Validity()
	if expired := end.Before(now); len(known) == 0 && !expired {
		return "no issuer is known, and it may be one itself: add the issuer Secret, or the certificate of each issuer, to the sources"
	}
	for _, k := range known {
		if len(k) > 0 && k[0].fingerprint == c.fingerprint && !end.Before(now) {
			return "it is an issuer itself, and linkerd-identity then wants this very certificate among its roots"
		}
	}
	after := b.Without(c.fingerprint)
	for _, k := range known {
		for _, q := range queriesFor(k, now) {
			q.Anchors = b.Certificates()
			was := Verify(q)
			q.Anchors = after.Certificates()
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
	if len(certs) > 0 && certs[0].IsCA() {
		q.Issuer = certs
	} else {
		q.Chain = certs
	}
	var out []Query
	for _, usage := range []Usage{Server, Client} {
		q.Rules, q.Usage = Proxy, usage
		out = append(out, q)
	}
	q.Rules = Identity
	return append(out, q)
}

// standsInFor says why twin o cannot take the place of c as an anchor, "" when
// it can, under both rule sets and at every moment from now on.
func standsInFor(o, c *Certificate, now time.Time) string {
	for _, r := range Releases() {
		if loads(c, r) && !loads(o, r) {
			return fmt.Sprintf("proxies of Linkerd %s load it, but not its twin %s", r, o)
		}
	}
	x, errX := o.X509()
	y, errY := c.X509()
	if errX != nil || errY != nil {
		return "Go cannot read it or its twin"
	}
	if y.NotAfter.Before(now) {
		if errX == nil {
			return "" // identity accepts nothing under c any more
		}
	}
	switch {
	case x.NotBefore.After(now) && x.NotBefore.After(y.NotBefore):
		return fmt.Sprintf("its twin %s is not valid yet", o)
	case x.NotAfter.Before(y.NotAfter):
		return fmt.Sprintf("its twin %s ends earlier", o)
	case !o.IsCA() && (c.IsCA() || y.Version == 3):
		return fmt.Sprintf("its twin %s is not a CA", o)
	case x.KeyUsage != 0 && x.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Sprintf("its twin %s may not sign certificates", o)
	case len(x.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("its twin %s has a critical extension that identity does not know", o)
	case !allowsSameUsages(x, y):
		return fmt.Sprintf("its twin %s allows fewer extended key usages", o)
	}
	if limit, ok := o.MaxPathLen(); ok {
		if theirs, has := c.MaxPathLen(); !has || theirs > limit {
			return fmt.Sprintf("its twin %s has a stricter path length limit", o)
		}
	}
	return ""
}

func allowsSameUsages(x, y *x509.Certificate) bool {
	if len(x.ExtKeyUsage) == 0 && len(x.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny} {
		if slices.Contains(y.ExtKeyUsage, u) && !slices.Contains(x.ExtKeyUsage, u) {
			return false
		}
	}
	return len(y.ExtKeyUsage) > 0 || len(y.UnknownExtKeyUsage) > 0
}
