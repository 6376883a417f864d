package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
)

// block is a CERTIFICATE block of a text, before it is decoded.
type block struct {
	body       []byte // what stands between BEGIN and END, line ends included
	begin, end int    // the lines of its marks
}

// worthSharing is how many certificates make it worth while to parse them on
// another processor as well.
const worthSharing = 64

// inParts calls do for parts of n certificates, on several processors where
// there are many. The parts are disjoint and cover 0 to n.
func inParts(n int, do func(from, to int)) {
	workers := max(1, min(runtime.GOMAXPROCS(0), n/worthSharing))
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { do(n*w/workers, n*(w+1)/workers) })
	}
	do(0, n/workers)
	wg.Wait()
}

// decode decodes the blocks, several at a time where there are many, and keeps
// their order.
func (s *scanner) decode() {
	if len(s.blocks) == 0 {
		return
	}
	certs := make([]*Certificate, len(s.blocks))
	errs, refused := make([]error, len(s.blocks)), make([]error, len(s.blocks))
	part := func(from, to int) {
		var mem scratch
		for i := from; i < to; i++ {
			if certs[i], errs[i] = s.blocks[i].certificate(&mem, s.known); errs[i] == nil {
				refused[i] = certs[i].refusedByProxies()
			}
		}
	}
	inParts(len(s.blocks), part)

	s.found = make([]located, 0, len(s.blocks))
	for i, b := range s.blocks {
		switch cert, err := certs[i], errs[i]; {
		case err != nil:
			s.report(CodeBrokenBlock, LevelError, b.begin, "the certificate in lines %d to %d is broken: %v", b.begin, b.end, err)
			continue
		case cert.parseErr != nil:
			s.report(CodeUnreadableByIdentity, LevelError, b.begin, "%s: %v; linkerd-identity refuses the whole bundle for it", cert, cert.parseErr)
		case refused[i] != nil:
			s.report(CodeSkippedByProxy, LevelError, b.begin, "%s: no proxy takes it for an anchor: %v", cert, refused[i])
		}
		s.found = append(s.found, located{certs[i], b.begin})
	}
}

// strictBase64 refuses bits that are left over: where there are some, a
// character was lost or changed.
var strictBase64 = base64.StdEncoding.Strict()

// scratch is memory that is reused from block to block.
type scratch struct{ body, der []byte }

// certificate decodes a block. One that is known is neither parsed nor copied
// again.
func (b block) certificate(mem *scratch, known *Bundle) (*Certificate, error) {
	// The body is bounded by the text, and a certificate is bounded by its own
	// length field, so there is nothing to limit here.
	if known != nil {
		if c := known.byBody(b.body); c != nil {
			return c, nil
		}
	}
	der, err := strictBase64.AppendDecode(mem.der[:0], b.body) // passes over line ends
	if err != nil {
		// Other white space is nothing to refuse a certificate for.
		body := mem.body[:0]
		for in := newLineReader(b.body); in.more(); {
			body = append(body, trimEnd(in.next())...)
		}
		mem.body = body
		if der, err = strictBase64.AppendDecode(mem.der[:0], dropSpace(body)); err != nil {
			return nil, fmt.Errorf("its base64 does not decode: %w", err)
		}
	}
	mem.der = der
	fp := Fingerprint(sha256.Sum256(der))
	if known != nil {
		if c := known.Get(fp); c != nil {
			return c, nil
		}
	}
	return newCertificate(bytes.Clone(der), fp)
}

// bodyIndex finds certificates by what stands between their BEGIN and END lines
// as MarshalPEM writes it, which spares a reader that has seen them before the
// decoding and the hashing. It takes certificates in when it is first asked for
// them.
type bodyIndex struct {
	mu     sync.Mutex
	taken  int // certificates of the bundle that are in byHash
	seed   maphash.Seed
	byHash map[uint64]bodyOf
}

type bodyOf struct {
	body []byte
	cert *Certificate
}

// byBody returns the certificate that MarshalPEM writes as exactly this body,
// nil where the bundle has none. It may be called by several readers at a time.
func (b *Bundle) byBody(body []byte) *Certificate {
	index := &b.bodies
	index.mu.Lock()
	defer index.mu.Unlock()
	if index.byHash == nil {
		index.seed, index.byHash = maphash.MakeSeed(), make(map[uint64]bodyOf, len(b.certs))
	}
	for ; index.taken < len(b.certs); index.taken++ {
		c := b.certs[index.taken]
		text := MarshalPEM(c)
		own := text[len(beginLine) : len(text)-len(endLine)]
		index.byHash[maphash.Bytes(index.seed, own)] = bodyOf{own, c}
	}
	if found := index.byHash[maphash.Bytes(index.seed, body)]; bytes.Equal(found.body, body) {
		return found.cert
	}
	return nil
}

func dropSpace(b []byte) []byte {
	if bytes.IndexByte(b, ' ') < 0 && bytes.IndexByte(b, '\t') < 0 {
		return b
	}
	kept := make([]byte, 0, len(b))
	for _, c := range b {
		if c != ' ' && c != '\t' {
			kept = append(kept, c)
		}
	}
	return kept
}
