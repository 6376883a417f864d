package bundle

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// A manifest holds its anchors many times over: ConfigMaps, overrides, and the
// environment of every proxy. This file reads each different text once.

// textCopy is one text of a source, read, and every place that holds it.
type textCopy struct {
	Text            // as it stands in the first of the places
	places []string // all places with exactly this text
	found  []located
	issues []Issue
	held   *Bundle // what was found
}

// copies reads the different texts of a source, in the order first met, and
// adds what they hold to union.
func (s *Source) copies(union *Bundle) []*textCopy {
	var copies []*textCopy
	seen := make(map[string]*textCopy)
	for _, t := range s.anchors {
		if c := seen[string(t.PEM)]; c != nil {
			c.places = append(c.places, t.From)
			continue
		}
		c := &textCopy{Text: t, places: []string{t.From}}
		c.found, c.issues = scan(t.PEM, union)
		c.held = bundleOf(c.found)
		for _, cert := range c.held.certs {
			union.put(cert)
		}
		seen[string(t.PEM)] = c
		copies = append(copies, c)
	}
	return copies
}

// where names the places of a text for a finding.
func (c *textCopy) where() string { return placesText(c.places) }

func placesText(places []string) string {
	if n := len(places) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more", places[0], n)
	}
	return places[0]
}

// Disagreements reports copies of the anchors within one source that do not
// hold the same certificates.
func (s *Source) Disagreements() []Finding { return disagreements(s.copies(New())) }

func disagreements(copies []*textCopy) []Finding {
	type holder struct {
		held   *Bundle
		places []string
	}
	var holders []*holder
	bySet := make(map[[sha256.Size]byte]*holder)
	for _, c := range copies {
		key := c.held.setID()
		h := bySet[key]
		if h == nil {
			h = &holder{held: c.held}
			bySet[key] = h
			holders = append(holders, h)
		}
		h.places = append(h.places, c.places...)
	}
	if len(holders) < 2 {
		return nil
	}
	const most = 5
	var parts []string
	for _, h := range holders[:min(len(holders), most)] {
		held := "nothing"
		if h.held.Len() > 0 {
			held = subjectsOf(h.held.Sorted())
		}
		parts = append(parts, placesText(h.places)+" holds "+held)
	}
	if n := len(holders) - most; n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more sets of anchors", n))
	}
	return []Finding{{
		Level: LevelWarning, Code: CodeCopiesDisagree, Subject: placesText(holders[1].places),
		Message: "copies of the trust anchors differ: " + strings.Join(parts, "; "),
		Hint:    "normal in the middle of a rotation; else an upgrade may bring an old copy back",
	}}
}

// setID is the same for bundles of the same certificates, whatever their order.
func (b *Bundle) setID() [sha256.Size]byte {
	all := make([][]byte, b.Len())
	for i, c := range b.certs {
		all[i] = c.fingerprint[:]
	}
	slices.SortFunc(all, slices.Compare[[]byte])
	return sha256.Sum256(slices.Concat(all...))
}
