package issuer_test

import (
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/windlass-mesh/windlass/issuer"
)

// A mesh moves from an old root to a new one: the new root's key is stored, the
// old root signs the new one, and the issuer's chain verifies for those who
// trust the old root only and for those who trust the new one only.
func Example() {
	dir, err := os.MkdirTemp("", "issuer")
	check(err)
	defer os.RemoveAll(dir)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // a program says time.Now()

	oldKey, err := issuer.GenerateKey()
	check(err)
	old, err := issuer.Root(oldKey, now, issuer.RootOptions{CommonName: "old root"})
	check(err)

	rootKey, err := issuer.GenerateKey()
	check(err)
	check(issuer.WriteKey(filepath.Join(dir, "root.key"), rootKey, issuer.WriteKeyOptions{}))
	root, err := issuer.Root(rootKey, now, issuer.RootOptions{})
	check(err)

	key, err := issuer.GenerateKey()
	check(err)
	signed, err := issuer.Intermediate(key.Public(), root, rootKey, now, issuer.IntermediateOptions{})
	check(err)
	crossSigned, err := issuer.CrossSign(root, old, oldKey, now, issuer.CrossSignOptions{Issuer: signed.Certificate})
	check(err)
	chain, err := issuer.NewChain(signed.Certificate, crossSigned.Certificate)
	check(err)

	for _, trusted := range []*x509.Certificate{old, root} {
		_, err := issuer.CheckPair(chain.Certificates, key, []*x509.Certificate{trusted}, now, issuer.CheckOptions{})
		fmt.Println("accepted:", err == nil)
	}
	fmt.Println("leaves end by", chain.NotAfter)
	// Output:
	// accepted: true
	// accepted: true
	// leaves end by 2027-03-01 12:00:00 +0000 UTC
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
