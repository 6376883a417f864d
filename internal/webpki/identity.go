package webpki

import (
	"strings"
	"unicode/utf8"
)

// Identity returns who a proxy takes the bearer of a leaf for: the first of its
// subject alternative names that is a usable DNS name (in lower case) or a URI
// (in the normal form of the WHATWG URL standard), or "" if there is none. A
// wildcard, a name with a dot at its end and an IP address are not usable.
//
// It reads the leaf whether or not a proxy would accept it.
// (client_identity in linkerd/meshtls/verifier/src/lib.rs, Id in
// linkerd/identity/src/lib.rs, Name in linkerd/dns/name/src/name.rs.)
func Identity(leaf []byte) string {
	if ids := identities(leaf); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// MatchesIdentity tells whether a leaf carries the identity name, a DNS name or a
// URI, in a form that a proxy accepts. A proxy asks this after it found the chain
// good. (verify_id in linkerd/meshtls/verifier/src/lib.rs.)
func MatchesIdentity(leaf []byte, name string) bool {
	want, ok := dnsIdentity(name)
	if !ok {
		want, ok = normalURL(name)
	}
	if !ok {
		return false
	}
	for _, id := range identities(leaf) {
		if id == want {
			return true
		}
	}
	return false
}

// identities returns the identities in a leaf, in order. A DNS name never looks
// like a URI, since it has no colon, so that one list does for both.
func identities(leaf []byte) []string {
	// The proxy reads names with another parser (x509-parser), which passes over
	// more than webpki: it takes critical extensions and unique identifiers,
	// and whatever follows the certificate.
	in := reader{leaf}
	if _, _, err := in.value(); err != nil {
		return nil
	}
	c, err := parseCert(leaf[:len(leaf)-len(in.rest)], WebpkiMain.rules(), true)
	if err != nil {
		return nil
	}
	var out []string
	err = c.names(func(name generalName) *Error {
		if !utf8.Valid(name.value) {
			return nil
		}
		var id string
		ok := false
		switch name.kind {
		case nameDNS:
			id, ok = dnsIdentity(string(name.value))
		case nameURI:
			id, ok = normalURL(string(name.value))
		}
		if ok {
			out = append(out, id)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return out
}

// dnsIdentity returns a DNS name in lower case, if it is one for Linkerd.
func dnsIdentity(s string) (string, bool) {
	if strings.HasSuffix(s, ".") || !validDNS([]byte(s), roleReference) {
		return "", false
	}
	return strings.ToLower(s), true
}

// normalURL returns the normal form of an absolute URL, as url::Url::parse gives
// it, or false if it is none. It follows the WHATWG URL standard for schemes
// without a meaning of their own, such as spiffe: the scheme in lower case, the
// host as it is, "." and ".." taken out of the path, and what must not stand in a
// URL percent-encoded. For http and the like it lowers the host, drops a default
// port and takes no more care than that.
func normalURL(s string) (string, bool) {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !validScheme(scheme) {
		return "", false
	}
	scheme = strings.ToLower(scheme)
	defaultPort, special := map[string]string{
		"http": "80", "ws": "80", "https": "443", "wss": "443", "ftp": "21", "file": "",
	}[scheme]

	rest, fragment, hasFragment := strings.Cut(rest, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	var b strings.Builder
	b.WriteString(scheme + ":")
	if special {
		rest = strings.ReplaceAll(rest, `\`, "/")
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		authority, path := after, ""
		if i := strings.IndexByte(after, '/'); i >= 0 {
			authority, path = after[:i], after[i:]
		}
		a, ok := normalAuthority(authority, special, scheme == "file", defaultPort)
		if !ok {
			return "", false
		}
		if special && path == "" {
			path = "/"
		}
		b.WriteString("//" + a + normalPath(path))
	} else if special {
		return "", false // "http:x" and "http:/x" are mended by the standard, not here
	} else if strings.HasPrefix(rest, "/") {
		b.WriteString(normalPath(rest))
	} else {
		b.WriteString(percentEncode(rest, ""))
	}
	if hasQuery {
		b.WriteString("?" + percentEncode(query, ` "#<>`))
	}
	if hasFragment {
		b.WriteString("#" + percentEncode(fragment, " \"<>`"))
	}
	return b.String(), true
}

func validScheme(s string) bool {
	for i := range len(s) {
		switch c := lower(s[i]); {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// normalAuthority returns userinfo, host and port.
func normalAuthority(s string, special, file bool, defaultPort string) (string, bool) {
	user := ""
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, s = s[:i], s[i+1:]
		if s == "" {
			return "", false
		}
		name, password, _ := strings.Cut(user, ":")
		const set = " \"#<>?`{}/:;=@[\\]^|"
		user = percentEncode(name, set)
		if password != "" {
			user += ":" + percentEncode(password, set)
		}
		if user != "" {
			user += "@"
		}
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		if host == "" {
			return "", false
		}
	}
	if strings.HasPrefix(host, "[") {
		if !strings.HasSuffix(host, "]") || len(host) < 4 {
			return "", false
		}
		host = strings.ToLower(host)
	} else {
		if strings.ContainsAny(host, "\x00\t\n\r #/:<>?@[\\]^|") || special && strings.ContainsAny(host, "%\x7f") {
			return "", false
		}
		if special {
			host = strings.ToLower(host)
		}
		host = percentEncode(host, "")
	}
	if special && !file && host == "" {
		return "", false
	}
	if port != "" {
		n := 0
		for _, c := range port {
			if c < '0' || c > '9' {
				return "", false
			}
			if n = n*10 + int(c-'0'); n > 65535 {
				return "", false
			}
		}
		if port = strings.TrimLeft(port, "0"); port == "" {
			port = "0"
		}
		if port != defaultPort {
			host += ":" + port
		}
	}
	return user + host, true
}

// normalPath takes dot segments out of a path that is empty or starts with a
// slash, and percent-encodes the rest.
func normalPath(path string) string {
	if path == "" {
		return ""
	}
	segments := strings.Split(path[1:], "/")
	var out []string
	for i, seg := range segments {
		last := i == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(seg), "%2e", ".") {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, percentEncode(seg, " \"#<>?`{}"))
		}
	}
	return "/" + strings.Join(out, "/")
}

// percentEncode encodes controls, what is not ASCII, and the bytes in set.
func percentEncode(s, set string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e || strings.IndexByte(set, c) >= 0 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
