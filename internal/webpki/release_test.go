package webpki_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

func TestParseRelease(t *testing.T) {
	for s, want := range map[string]webpki.Release{
		"2.18": webpki.Linkerd218, "v2.18": webpki.Linkerd218, "2.18.1": webpki.Linkerd218,
		"linkerd-2.18": webpki.Linkerd218, "stable-2.18.0": webpki.Linkerd218, "version-2.18": webpki.Linkerd218,
		"enterprise-2.19.4": webpki.Linkerd219, "Enterprise-2.19.4-rc.1": webpki.Linkerd219, " 2.19 ": webpki.Linkerd219,
		"2.20": webpki.Linkerd220, "v2.20.0+build": webpki.Linkerd220, "2.20-rc1": webpki.Linkerd220,
		"edge-26.8.3": webpki.Linkerd220, "edge-25.4.4": webpki.Linkerd218,
		"webpki-main": webpki.WebpkiMain,
	} {
		got, err := webpki.ParseRelease(s)
		assert.NoError(t, err, s)
		assert.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "2", "2.1", "2.17", "2.181", "2.21", "12.18", "2.18.", "2.18.x", "edge-25.12.1", "edge-2.18", "main", "v2.18x"} {
		_, err := webpki.ParseRelease(s)
		assert.ErrorContains(t, err, "known are 2.18, 2.19, 2.20", s)
	}
}

func TestReleases(t *testing.T) {
	for _, r := range webpki.Releases() {
		got, err := webpki.ParseRelease(r.String())
		assert.NoError(t, err)
		assert.Equal(t, r, got)
	}
	assert.NotContains(t, webpki.Releases(), webpki.WebpkiMain)
	assert.Equal(t, "Release(0)", webpki.Release(0).String())
	assert.Panics(t, func() { webpki.ParseChain(0, nil, nil) })
}
