package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
)

// TrustSet is a text that stores anchors, and what a proxy of one release takes
// from it. It is immutable and shared by all who hold the same text.
type TrustSet struct {
	PEM string
	// ID is equal for texts that a proxy takes the same anchors from, in
	// whatever order and wording.
	ID string
	// Anchors are those that a proxy loads, in its order.
	Anchors []*bundle.Certificate
	Skipped []bundle.Skipped
	// Err is why a proxy given this text takes nothing and does not start: its
	// own reader's reason, or that of the program in front of it.
	Err error
}

// Texts makes trust sets, one for each text and release. The zero value is
// ready; it is not safe for concurrent use.
type Texts struct{ sets map[textKey]*TrustSet }

type textKey struct{ pem, release string }

// RulesOf returns the releases whose rules a proxy labelled with this version
// may follow: the one that is meant, or every known one where it is none of
// them.
func RulesOf(version string) []bundle.Release {
	if r, err := bundle.ParseRelease(version); err == nil {
		return []bundle.Release{r}
	}
	return bundle.Releases()
}

// TrustSet returns what a proxy labelled with this version takes from the text.
// Where the version's rules are not known it is what all known ones take.
func (t *Texts) TrustSet(pem, version string) *TrustSet {
	rules := RulesOf(version)
	key := textKey{pem: pem}
	if len(rules) == 1 {
		key.release = rules[0].String()
	}
	if s, ok := t.sets[key]; ok {
		return s
	}
	s := &TrustSet{PEM: pem}
	for i, r := range rules {
		reading := bundle.ReadAs([]byte(pem), bundle.Proxy, r)
		if s.Err == nil {
			s.Err = reading.Err
		}
		if i == 0 {
			s.Anchors, s.Skipped = reading.Certificates, reading.Skipped
			continue
		}
		for _, skipped := range reading.Skipped {
			s.Anchors = slices.DeleteFunc(s.Anchors, func(c *bundle.Certificate) bool {
				return c.Fingerprint() == skipped.Certificate.Fingerprint()
			})
		}
	}
	if s.Err == nil {
		// linkerd2-proxy-identity reads the same variable before the proxy is
		// started, and is stricter.
		s.Err = bundle.ReadAs([]byte(pem), bundle.Identity, rules[0]).Err
	}
	s.ID = setID(s)
	if t.sets == nil {
		t.sets = map[textKey]*TrustSet{}
	}
	t.sets[key] = s
	return s
}

// setID hashes the anchors, or the text itself where there are none.
func setID(s *TrustSet) string {
	h := sha256.New()
	if len(s.Anchors) == 0 {
		h.Write([]byte(s.PEM))
	}
	var ids []string
	for _, a := range s.Anchors {
		id := a.AnchorID()
		ids = append(ids, string(id[:]))
	}
	slices.Sort(ids)
	for _, id := range ids { // one that stands twice counts twice against a proxy's budget
		h.Write([]byte(id))
	}
	if s.Err != nil {
		h.Write([]byte("unusable"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Presented is the chain that a peer shows, leaf first.
type Presented struct {
	Chain []*bundle.Certificate
	// At is a moment of the API server's clock, to the second, that is not after
	// the handshake: the leaf was in use then, or later. Zero is unknown.
	At time.Time
	// Hints are the subjects, as DER, that the peer named as acceptable to it: a
	// proxy names those of all its anchors. That is evidence of what it trusts
	// and no proof, since subjects are not unique.
	Hints [][]byte
}
