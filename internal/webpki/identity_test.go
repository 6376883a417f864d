package webpki_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

func TestIdentity(t *testing.T) {
	ip, email := tlv(0x87, []byte{10, 0, 0, 1}), tlv(0x81, str("a@example.org"))
	for name, tc := range map[string]struct {
		names [][]byte
		want  string
	}{
		"none":                           {nil, ""},
		"DNS, in lower case":             {[][]byte{dnsName("A.Example.ORG")}, "a.example.org"},
		"the first one":                  {[][]byte{dnsName("a.example"), dnsName("b.example")}, "a.example"},
		"URI before DNS":                 {[][]byte{uriName("spiffe://td/ns/x"), dnsName("a.example")}, "spiffe://td/ns/x"},
		"others are passed over":         {[][]byte{ip, email, dnsName("a.example")}, "a.example"},
		"an address alone":               {[][]byte{ip}, ""},
		"an address as DNS name":         {[][]byte{dnsName("10.0.0.1")}, ""},
		"a wildcard":                     {[][]byte{dnsName("*.a.example"), dnsName("b.example")}, "b.example"},
		"a dot at the end":               {[][]byte{dnsName("a.example."), dnsName("b.example")}, "b.example"},
		"not UTF-8":                      {[][]byte{dnsName("\xe9.example"), dnsName("b.example")}, "b.example"},
		"no URI":                         {[][]byte{uriName("a.example"), dnsName("b.example")}, "b.example"},
		"URI of any scheme":              {[][]byte{uriName("urn:x:y")}, "urn:x:y"},
		"scheme in upper case":           {[][]byte{uriName("SPIFFE://TD/Path")}, "spiffe://TD/Path"},
		"dots in the path":               {[][]byte{uriName("spiffe://td/a/./b/../c")}, "spiffe://td/a/c"},
		"a port":                         {[][]byte{uriName("spiffe://td:0443/a")}, "spiffe://td:443/a"},
		"a bad port":                     {[][]byte{uriName("spiffe://td:65536/a")}, ""},
		"a space in the host":            {[][]byte{uriName("spiffe://t d/a")}, ""},
		"a space in the path":            {[][]byte{uriName("spiffe://td/a b")}, "spiffe://td/a%20b"},
		"query and fragment":             {[][]byte{uriName("spiffe://td/a?b#c")}, "spiffe://td/a?b#c"},
		"https":                          {[][]byte{uriName("https://EXAMPLE.org:443")}, "https://example.org/"},
		"a member that is no name":       {[][]byte{dnsName("a.example"), {0x89, 0}}, ""},
		"an IPv6 host":                   {[][]byte{uriName("spiffe://[2001:DB8::1]/a")}, "spiffe://[2001:db8::1]/a"},
		"user and password":              {[][]byte{uriName("spiffe://u:p@td/a")}, "spiffe://u:p@td/a"},
		"a URI outside ASCII":            {[][]byte{uriName("spiffe://td/é")}, "spiffe://td/%C3%A9"},
		"percent-encoding is not undone": {[][]byte{uriName("spiffe://td/%61")}, "spiffe://td/%61"},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := newMaker(t, "leaf", newMaker(t, "issuer", nil), sanExtension(tc.names...)).der()
			assert.Equal(t, tc.want, webpki.Identity(leaf))
			if tc.want != "" {
				assert.True(t, webpki.MatchesIdentity(leaf, tc.want))
			}
			assert.False(t, webpki.MatchesIdentity(leaf, "c.example"))
			assert.False(t, webpki.MatchesIdentity(leaf, ""))
		})
	}

	leaf := newMaker(t, "leaf", newMaker(t, "issuer", nil), sanExtension(dnsName("a.example"), uriName("spiffe://td/x"))).der()
	for name, want := range map[string]bool{
		"a.example": true, "A.EXAMPLE": true, "a.example.": false, "b.a.example": false,
		"spiffe://td/x": true, "spiffe://td/x/": false, "SPIFFE://td/x": true, "spiffe://TD/x": false,
	} {
		assert.Equal(t, want, webpki.MatchesIdentity(leaf, name), name)
	}
	assert.Empty(t, webpki.Identity(nil))
	assert.Equal(t, "a.example", webpki.Identity(append(leaf, 0, 0)), "what follows the certificate is not read")
}
