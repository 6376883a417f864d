package bundle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// proxyJudge asks the proxies of every release in question; all must accept.
func proxyJudge(q Query) judge {
	releases := q.Releases
	if len(releases) == 0 {
		releases = Releases()
	}
	proxies := make([]*proxy, len(releases))
	for i, r := range releases {
		proxies[i] = newProxy(q, r)
	}
	return func(at time.Time) (Verdict, time.Time) {
		v := Verdict{Rules: Proxy, OK: true, Judged: true}
		var refusals refusals
		var until time.Time
		seen := make(map[*Certificate]bool)
		for _, p := range proxies {
			for _, s := range p.skipped {
				if !seen[s.Certificate] {
					seen[s.Certificate] = true
					v.Skipped = append(v.Skipped, s)
				}
			}
			path, checks, reason := p.verify(at)
			v.SignatureChecks = max(v.SignatureChecks, checks)
			if reason != "" {
				v.OK = false
				v.Refusing = append(v.Refusing, p.release)
				refusals.add(reason, p.release)
				continue
			}
			v.Path = path
			// What ends is the chain; a proxy does not look at an anchor's dates.
			// An issuer alone that is its own anchor has no end to a proxy; but
			// identity signs no leaf that would outlive it.
			ending := path[:len(path)-1]
			if len(ending) == 0 {
				ending = path
			}
			if end := earliestEnd(ending); until.IsZero() || end.Before(until) {
				until = end
			}
		}
		if v.OK {
			v.Reason = "verifies: " + pathText(v.Path)
			return v, until
		}
		v.Path = nil
		v.Reason = refusals.text(len(releases))
		return v, time.Time{}
	}
}

// refusals gathers the reasons of several releases, each said once.
type refusals []refusal

type refusal struct {
	reason   string
	releases []string
}

func (r *refusals) add(reason string, by Release) {
	i := slices.IndexFunc(*r, func(f refusal) bool { return f.reason == reason })
	if i < 0 {
		i = len(*r)
		*r = append(*r, refusal{reason: reason})
	}
	(*r)[i].releases = append((*r)[i].releases, by.String())
}

func (r refusals) text(judged int) string {
	if len(r) == 1 && len(r[0].releases) == judged {
		return r[0].reason
	}
	parts := make([]string, len(r))
	for i, f := range r {
		parts[i] = fmt.Sprintf("proxies of Linkerd %s refuse: %s", strings.Join(f.releases, ", "), f.reason)
	}
	return strings.Join(parts, "; ")
}

// proxy is a proxy of one release that was started with the trust set and is
// presented with the chain.
type proxy struct {
	q       Query
	release Release
	anchors []*webpki.Anchor
	loaded  []*Certificate // what each of anchors was
	skipped []Skipped
	chain   *webpki.Chain // nil where nothing is presented
}

func newProxy(q Query, r Release) *proxy {
	p := &proxy{q: q, release: r}
	for _, c := range q.Anchors {
		a, err := webpki.ParseAnchor(c.raw, r)
		if err != nil {
			p.skipped = append(p.skipped, Skipped{Certificate: c, Reason: err})
			continue
		}
		p.anchors, p.loaded = append(p.anchors, a), append(p.loaded, c)
	}
	switch {
	case len(q.Issuer) > 0:
		p.chain = webpki.ParseIssuer(r, rawOf(q.Issuer), q.Name)
	case len(q.Chain) > 0:
		p.chain = webpki.ParseChain(r, q.Chain[0].raw, rawOf(q.Chain[1:]))
	}
	return p
}

func rawOf(certs []*Certificate) [][]byte {
	raw := make([][]byte, len(certs))
	for i, c := range certs {
		raw[i] = c.raw
	}
	return raw
}

// verify judges at one moment. The reason is "" when the chain verifies; path
// is then what was accepted, the anchor last.
func (p *proxy) verify(at time.Time) (path []*Certificate, checks int, reason string) {
	q := p.q
	switch {
	case len(q.Anchors) == 0:
		return nil, 0, "a proxy does not start: " + errNoTrustRoots.Error()
	case len(p.anchors) == 0:
		return nil, 0, fmt.Sprintf("a proxy does not start: no trust roots loaded (%s: %v)", p.skipped[0].Certificate, p.skipped[0].Reason)
	case p.chain == nil:
		return nil, 0, "nothing is presented"
	}
	res, err := p.chain.Verify(p.anchors, q.Usage, at)
	if err != nil {
		return nil, res.SignatureChecks, p.reason(err, at)
	}
	above := q.Issuer
	if len(q.Issuer) > 0 {
		// Where the issuer is its own anchor a proxy does not look at its dates;
		// but identity cuts leaves to them, so that no leaf lives outside.
		if out := datesText(q.Issuer[0], at); out != "" {
			return nil, res.SignatureChecks, fmt.Sprintf("%s %s: identity cuts leaves to its dates, so none of them is valid", q.Issuer[0], out)
		}
	} else {
		leaf := q.Chain[0]
		if q.Name != "" && !webpki.MatchesIdentity(leaf.raw, q.Name) {
			return nil, res.SignatureChecks, fmt.Sprintf("the chain verifies, but the leaf is not %s: a proxy reads its identity as %q",
				clip(q.Name, 80), clip(webpki.Identity(leaf.raw), 80))
		}
		path = append(path, leaf)
		above = q.Chain[1:]
	}
	for _, i := range res.Path {
		path = append(path, above[i])
	}
	return append(path, p.loaded[res.Anchor]), res.SignatureChecks, ""
}
