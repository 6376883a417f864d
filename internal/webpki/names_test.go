package webpki

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDNSConstraints(t *testing.T) {
	for _, tc := range []struct{ presented, constraint, permitted, excluded string }{
		{"host.example.org", "example.org", "true", "true"},
		{"example.org", "example.org", "true", "true"},
		{"HOST.Example.ORG", "eXample.org", "true", "true"},
		{"badexample.org", "example.org", "false", "false"},
		{"example.org", "host.example.org", "false", "false"},
		{"host.example.org", ".example.org", "true", "true"},
		{"example.org", ".example.org", "false", "false"},
		{"badexample.org", ".example.org", "false", "false"},
		{"example.org", "", "true", "true"},
		{"*.example.org", "", "true", "true"},
		{"*.example.org", "example.org", "true", "true"},
		{"*.example.org", ".example.org", "true", "true"},
		{"*.example.org", "x.example.org", "false", "true"},
		{"*.example.org", "long-name.example.org", "false", "true"},
		{"*.example.org", ".host.example.org", "false", "true"}, // as if the dot were not there
		{"*.example.org", "y.x.example.org", "false", "false"},
		{"*.example.org", "example.com", "false", "false"},
		{"example.org", ".", "MalformedNameConstraint", "MalformedNameConstraint"},
		{"example.org", "org.", "MalformedNameConstraint", "MalformedNameConstraint"},
		{"example.org", "*.org", "MalformedNameConstraint", "MalformedNameConstraint"},
		{"example.org.", "org", "MalformedDnsIdentifier", "MalformedDnsIdentifier"},
		{"", "org", "MalformedDnsIdentifier", "MalformedDnsIdentifier"},
		{"*.org", "org", "MalformedDnsIdentifier", "MalformedDnsIdentifier"},
		{"a.*.example.org", "org", "MalformedDnsIdentifier", "MalformedDnsIdentifier"},
		{"x*.example.org", "org", "MalformedDnsIdentifier", "MalformedDnsIdentifier"},
		{".example.org", "org", "MalformedDnsIdentifier", "MalformedDnsIdentifier"},
	} {
		for role, want := range map[dnsRole]string{rolePermitted: tc.permitted, roleExcluded: tc.excluded} {
			ok, err := matchDNS([]byte(tc.presented), []byte(tc.constraint), role)
			got := fmt.Sprint(ok)
			if err != nil {
				got = err.Error()
			}
			assert.Equal(t, want, got, "%q, %q, role %d", tc.presented, tc.constraint, role)
		}
	}
}

func TestDNSNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Join([]string{label, label, label, label[:61]}, ".") // 253 bytes
	for _, tc := range []struct {
		name                             string
		presented, reference, constraint bool
	}{
		{"", false, false, true},
		{".", false, false, false},
		{"a", true, true, true},
		{"a.", false, true, false},
		{".a", false, false, true},
		{"..a", false, false, false},
		{"a..b", false, false, false},
		{"_a.b_", true, true, true},
		{"-a", false, false, false},
		{"a-", false, false, false},
		{"a-.b", false, false, false},
		{"a--b", true, true, true},
		{"1", false, false, false},
		{"1.a", true, true, true},
		{"a.1", false, false, false},
		{"a.1a", true, true, true},
		{"a.1-", false, false, false},
		{"10.0.0.1", false, false, false},
		{"*", false, false, false},
		{"*.", false, false, false},
		{"*.a", false, false, false},
		{"*.a.b", true, false, false},
		{"*.*.a.b", false, false, false},
		{"a b", false, false, false},
		{"\xe9.a", false, false, false},
		{label + ".a", true, true, true},
		{label + "a.a", false, false, false},
		{long, true, true, true},
		{long + "a", false, false, false},
	} {
		name := []byte(tc.name)
		assert.Equal(t, tc.presented, validDNS(name, rolePresented), "presented %q", tc.name)
		assert.Equal(t, tc.reference, validDNS(name, roleReference), "reference %q", tc.name)
		assert.Equal(t, tc.constraint, validDNS(name, rolePermitted), "constraint %q", tc.name)
		assert.Equal(t, tc.constraint, validDNS(name, roleExcluded), "constraint %q", tc.name)
	}
}

func TestNetworks(t *testing.T) {
	for _, tc := range []struct {
		name, network []byte
		want          string
	}{
		{[]byte{10, 1, 2, 3}, []byte{10, 0, 0, 0, 255, 0, 0, 0}, "true"},
		{[]byte{11, 1, 2, 3}, []byte{10, 0, 0, 0, 255, 0, 0, 0}, "false"},
		{[]byte{11, 1, 2, 3}, []byte{0, 0, 0, 0, 0, 0, 0, 0}, "true"},
		{[]byte{10, 1, 2, 3}, []byte{10, 1, 2, 2, 255, 255, 255, 254}, "true"},
		{[]byte{10, 1, 2, 3}, []byte{10, 0, 0, 0, 255, 0, 0, 1}, "InvalidNetworkMaskConstraint"},
		{[]byte{10, 1, 2, 3}, []byte{10, 0, 0, 0, 255, 0x0f, 0, 0}, "InvalidNetworkMaskConstraint"},
		{[]byte{11, 1, 2, 3}, []byte{10, 0, 0, 0, 255, 0, 0, 1}, "false"}, // ends at the first byte
		{[]byte{10, 1, 2, 3}, []byte{10, 0, 0, 0}, "InvalidNetworkMaskConstraint"},
		{[]byte{10, 1, 2, 3}, make([]byte, 32), "false"},
		{make([]byte, 16), make([]byte, 8), "false"},
		{make([]byte, 16), make([]byte, 32), "true"},
		{make([]byte, 16), make([]byte, 31), "InvalidNetworkMaskConstraint"},
		{make([]byte, 5), make([]byte, 10), "BadDer"},
	} {
		ok, err := matchNetwork(tc.name, tc.network)
		got := fmt.Sprint(ok)
		if err != nil {
			got = err.Error()
		}
		assert.Equal(t, tc.want, got, "%v in %v", tc.name, tc.network)
	}
}
