package webpki_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// FuzzVerify changes the DER of leaf, issuer and anchor, and looks for what must
// hold whatever the bytes are: no panic, the budget, and a result that fits the
// verdict. The seeds are all cases of chains.json that fit.
func FuzzVerify(f *testing.F) {
	for _, c := range chains(f) {
		var second []byte
		if len(c.chain) > 2 {
			second = c.chain[2]
		}
		if len(c.chain) > 1 && len(c.anchors) > 0 {
			f.Add(c.chain[0], c.chain[1], second, c.anchors[0], c.Usage == "client", c.At.Unix())
		}
	}
	f.Fuzz(func(t *testing.T, leaf, issuer, second, root []byte, client bool, at int64) {
		usage := webpki.Server
		if client {
			usage = webpki.Client
		}
		given := [][]byte{leaf, issuer, second, root}
		before := make([][]byte, len(given))
		for i, b := range given {
			before[i] = slices.Clone(b)
		}
		rest := [][]byte{issuer, second, root}
		for _, rel := range all {
			set, err := webpki.LoadAnchors([][]byte{root, issuer}, rel)
			checkError(t, err)
			chain := webpki.ParseChain(rel, leaf, rest)
			res, err := chain.Verify(set.Anchors, usage, time.Unix(at, 0))
			checkError(t, err)
			again, errAgain := chain.Verify(set.Anchors, usage, time.Unix(at, 0))
			if kindOf(err) != kindOf(errAgain) || res.SignatureChecks != again.SignatureChecks {
				t.Fatalf("%v and then %v", err, errAgain)
			}
			if res.SignatureChecks > 100 {
				t.Fatalf("%d signature checks", res.SignatureChecks)
			}
			switch {
			case err != nil && (res.Path != nil || res.Anchor != -1):
				t.Fatalf("%v, and yet a path: %+v", err, res)
			case err == nil && (res.Anchor < 0 || res.Anchor >= len(set.Anchors) || res.SignatureChecks < 1+len(res.Path)):
				t.Fatalf("accepted with %+v", res)
			}
			for _, i := range res.Path {
				if i < 0 || i >= len(rest) {
					t.Fatalf("path %v", res.Path)
				}
			}
		}
		if id := webpki.Identity(leaf); id != "" && !webpki.MatchesIdentity(leaf, id) {
			t.Fatalf("%q is read off the leaf but does not match it", id)
		}
		for i, b := range given {
			if !slices.Equal(b, before[i]) {
				t.Fatal("an argument was changed")
			}
		}
	})
}

// FuzzReadPEM looks for what must hold for any text: no panic, sections that are
// where they are said to be, and the same reading of the text with other line ends.
func FuzzReadPEM(f *testing.F) {
	for _, c := range bundles(f) {
		if text := c.text(f); len(text) < 64<<10 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sections, err := webpki.ReadPEM(text)
		var fault *webpki.PEMError
		if err != nil && (!errors.As(err, &fault) || fault.Line < 1 || fault.Offset < 0 || fault.Offset >= len(text)) {
			t.Fatalf("%#v", err)
		}
		line, offset := 0, -1
		for _, s := range sections {
			if s.Line <= line || s.Offset <= offset {
				t.Fatalf("section at line %d, offset %d after line %d, offset %d", s.Line, s.Offset, line, offset)
			}
			line, offset = s.Line, s.Offset
			if end := offset + len("-----BEGIN "); end > len(text) || string(text[offset:end]) != "-----BEGIN " {
				t.Fatalf("no section at offset %d", offset)
			}
		}
		crlf, _ := webpki.ReadPEM(nlToCRLF(text))
		if err == nil && len(crlf) != len(sections) {
			t.Fatalf("%d sections, %d with CRLF", len(sections), len(crlf))
		}
		_, err = webpki.ReadTrustSet(text, webpki.Linkerd220)
		if !errors.As(err, &fault) {
			checkError(t, err)
		}
	})
}

func nlToCRLF(text []byte) (out []byte) {
	for _, b := range text {
		if b == '\n' {
			out = append(out, '\r')
		}
		out = append(out, b)
	}
	return out
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var e *webpki.Error
	if err != nil && (!errors.As(err, &e) || e.Kind == "" || e.Stage == "" || e.Error() == "") {
		t.Fatalf("%#v", err)
	}
}

func kindOf(err error) webpki.Kind {
	var e *webpki.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}
