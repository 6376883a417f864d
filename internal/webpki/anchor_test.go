package webpki_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

func TestAnchors(t *testing.T) {
	badVersion := tlv(0xa0, []byte{2, 1, 1})
	for name, tc := range map[string]struct {
		change func(*maker)
		want   map[webpki.Release]webpki.Kind // absent: taken
	}{
		"plain":               {func(*maker) {}, nil},
		"dates that are none": {func(m *maker) { m.before, m.after = tlv(5), tlv(5) }, nil},
		"a key that is none":  {func(m *maker) { m.spki = seq() }, nil},
		"version 1":           {func(m *maker) { m.version, m.noExts = []byte{}, true }, nil},
		"version 1 with extensions": {func(m *maker) { m.version = []byte{} }, map[webpki.Release]webpki.Kind{
			webpki.Linkerd218: webpki.BadDer, webpki.Linkerd219: webpki.BadDer,
			webpki.Linkerd220: webpki.BadDer, webpki.WebpkiMain: webpki.BadDer}},
		"version 2": {func(m *maker) { m.version = badVersion }, map[webpki.Release]webpki.Kind{
			webpki.Linkerd218: webpki.BadDer, webpki.Linkerd219: webpki.BadDer,
			webpki.Linkerd220: webpki.BadDer, webpki.WebpkiMain: webpki.BadDer}},
		"an unknown critical extension": {func(m *maker) { m.exts = [][]byte{extension(36, true, seq())} },
			map[webpki.Release]webpki.Kind{
				webpki.Linkerd218: webpki.UnsupportedCriticalExtension, webpki.Linkerd219: webpki.UnsupportedCriticalExtension}},
		"a known extension twice": {func(m *maker) { m.exts = [][]byte{caExtension(0), caExtension(0)} },
			map[webpki.Release]webpki.Kind{
				webpki.Linkerd218: webpki.ExtensionValueInvalid, webpki.Linkerd219: webpki.ExtensionValueInvalid,
				webpki.Linkerd220: webpki.ExtensionValueInvalid, webpki.WebpkiMain: webpki.ExtensionValueInvalid}},
		"an empty list of extensions": {func(m *maker) { m.exts = nil },
			map[webpki.Release]webpki.Kind{webpki.Linkerd218: webpki.TrailingData}},
	} {
		for _, rel := range all {
			t.Run(name+"/"+rel.String(), func(t *testing.T) {
				m := newMaker(t, "root", nil, caExtension(-1))
				tc.change(m)
				der := m.der()
				a, err := webpki.ParseAnchor(der, rel)
				assert.Equal(t, tc.want[rel], kind(err))
				if err != nil {
					assert.Nil(t, a)
					return
				}
				clear(der)
				assert.Equal(t, commonName("root")[2:], a.Subject, "and shares no memory")
			})
		}
	}
}

func TestAnchorsAreEqualIfAProxyCannotTellThemApart(t *testing.T) {
	m := newMaker(t, "root", nil, caExtension(-1))
	a := m.anchor()
	m.after, m.exts = utcTime(now), [][]byte{caExtension(0)}
	assert.True(t, a.Equal(m.anchor()), "dates and path length do not count")
	m.exts = [][]byte{permitted(dnsName("example.org"))}
	assert.False(t, a.Equal(m.anchor()))
	assert.False(t, a.Equal(newMaker(t, "root", nil, caExtension(-1)).anchor()))
}

func TestLoadAnchorsSkipsWhatIsNone(t *testing.T) {
	root := newMaker(t, "root", nil, caExtension(-1))
	set, err := webpki.LoadAnchors([][]byte{{1}, root.der(), nil, root.der()}, webpki.Linkerd220)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 3}, set.Index)
	assert.Len(t, set.Anchors, 2)
	require.Len(t, set.Skipped, 2)
	assert.Equal(t, 0, set.Skipped[0].Index)
	assert.Equal(t, 2, set.Skipped[1].Index)
	assert.Equal(t, webpki.StageAnchors, set.Skipped[1].Err.Stage)

	_, err = webpki.LoadAnchors([][]byte{{1}}, webpki.Linkerd220)
	assert.ErrorIs(t, err, webpki.NoRootsLoaded)
	_, err = webpki.LoadAnchors(nil, webpki.Linkerd220)
	assert.ErrorIs(t, err, webpki.NoRootsInPEM)
	_, err = webpki.ReadTrustSet([]byte("-----BEGIN X"), webpki.Linkerd220)
	var fault *webpki.PEMError
	assert.ErrorAs(t, err, &fault)
}
