// Command demo runs the main job on the example manifests: from the anchors of
// two clusters to a new root, a cross-signed root, issuers, one bundle, and the
// table of who would trust whom. It prints each command it runs; all work
// happens in a temporary directory that is removed at the end.
//
// The manifests in the examples hold certificates without keys. A root can be
// cross-signed only with the key of the old one, so the demo first puts
// certificates of its own, with keys made for this run, in their place.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/examples"
	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func main() {
	if err := run(os.Stdout, time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run: where it prints, and the directory its commands work in.
type demo struct {
	out io.Writer
	dir string
	now time.Time
	err error // the first failure; later steps do nothing
}

func run(out io.Writer, now time.Time) error {
	dir, err := os.MkdirTemp("", "windlass-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{out: out, dir: dir, now: now}

	d.say("Two clusters, each with a trust anchor of its own. The older one (Linkerd 2.7)\n" +
		"keeps it as JSON in linkerd-config, the newer one (2.14) as YAML.")
	d.clusters()
	d.windlass("bundle", "show", "old-cluster.yaml", "new-cluster.yaml")

	d.say("Neither trusts the other: no link between them would carry traffic.")
	d.refused("bundle", "verify", "--anchors", "old-cluster.yaml", "--issuer", "new-cluster.yaml")

	d.say("A new root for both (N), and the same root signed by the old cluster's root O,\nwhose key is at hand (X, the cross-signed root).")
	d.windlass("root", "create", "--name", "root.linkerd.cluster.local", "--out-cert", "n.crt", "--out-key", "n.key")
	d.windlass("root", "cross-sign", "--cert", "n.crt", "--by", "old-cluster.yaml", "--by-key", "o.key", "--out", "x.crt")

	d.say("One bundle of all anchors. Every certificate of every input is in it, and both of\nLinkerd's readers take all of them back.")
	d.windlass("bundle", "merge", "old-cluster.yaml", "new-cluster.yaml", "n.crt", "--out", "bundle.crt")
	d.windlass("bundle", "show", "--read-as", "identity", "bundle.crt")
	d.windlass("bundle", "show", "--read-as", "proxy", "bundle.crt")

	d.say("An issuer (I) for each cluster under the new root. The old cluster's presents\nX too, for peers that know only O; the new cluster's does not.")
	d.windlass("issuer", "create", "--root", "n.crt", "--root-key", "n.key", "--cross-signed", "x.crt", "--out-cert", "issuer-old.crt", "--out-key", "issuer-old.key")
	d.windlass("issuer", "create", "--root", "n.crt", "--root-key", "n.key", "--out-cert", "issuer-new.crt", "--out-key", "issuer-new.key")

	d.say("Who would trust whom? Each issuer signs a workload certificate, and both rule\nsets judge what a proxy would present, under three trust sets: the old root\nalone {O}, both {O,N}, the new root alone {N}.")
	d.verdicts()

	d.say("So the old cluster can switch its issuer to N before anybody's trust set has\nchanged, and no handshake within it fails; without X every proxy would first\nhave to be restarted with a new bundle.")
	return d.err
}

func (d *demo) say(text string) {
	if d.err == nil {
		fmt.Fprintf(d.out, "\n%s\n\n", text)
	}
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) write(name string, data []byte) {
	if d.err == nil {
		d.err = os.WriteFile(d.path(name), data, 0o600)
	}
}

func (d *demo) windlass(args ...string) { d.command(cli.ExitOK, args...) }

func (d *demo) refused(args ...string) { d.command(cli.ExitNo, args...) }

// command prints a command line as a user types it, runs it, and prints what it
// printed.
func (d *demo) command(want cli.ExitCode, args ...string) {
	if d.err != nil {
		return
	}
	fmt.Fprintln(d.out, "$ windlass", strings.Join(args, " "))
	output, code := d.execute(args)
	// The files are named as the user would name them.
	fmt.Fprintln(d.out, strings.TrimRight(strings.ReplaceAll(output, d.dir+string(filepath.Separator), ""), "\n"))
	if code != want {
		d.err = fmt.Errorf("windlass %s: exit code %d, not %d", strings.Join(args, " "), code, want)
	}
}

// execute runs a command line in the demo's directory.
func (d *demo) execute(args []string) (string, cli.ExitCode) {
	var out bytes.Buffer
	located := make([]string, len(args))
	for i, a := range args {
		located[i] = a
		if strings.HasSuffix(a, ".crt") || strings.HasSuffix(a, ".key") || strings.HasSuffix(a, ".yaml") || strings.HasSuffix(a, ".pem") {
			located[i] = d.path(a)
		}
	}
	code := cli.Run(context.Background(), located, cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		Getenv: func(string) string { return "" }, Now: func() time.Time { return d.now }, Rand: rand.Reader,
	})
	return out.String(), code
}

// clusters writes the two example manifests with certificates whose keys this
// run has, and the key of the old cluster's root.
func (d *demo) clusters() {
	lab := testca.New(d.now)
	for _, name := range []string{"old-cluster.yaml", "new-cluster.yaml"} {
		text, err := examples.Manifests.ReadFile(name)
		if err != nil {
			d.err = err
			return
		}
		src, err := bundle.ReadSource(name, text)
		if err != nil {
			d.err = err
			return
		}
		anchors, err1 := src.Anchors()
		chain, err2 := src.Chain()
		if d.err = errors.Join(err1, err2); d.err != nil {
			return
		}
		root := lab.Root(anchors.Certificates()[0].Subject())
		iss := root.Issuer(chain[0].Subject())
		manifest := replaceCertificate(string(text), bundle.MarshalPEM(anchors.Certificates()[0]), []byte(root.PEM()))
		manifest = replaceCertificate(manifest, bundle.MarshalPEM(chain[0]), []byte(iss.PEM()))
		d.write(name, []byte(manifest))
		if name == "old-cluster.yaml" {
			d.write("o.crt", []byte(root.PEM()))
			key, err := issuer.EncodeKey(root.Key, nil)
			d.err = errors.Join(d.err, err)
			d.write("o.key", key)
		}
	}
}

// replaceCertificate exchanges a certificate in every form a manifest has it:
// JSON string, indented block, base64.
func replaceCertificate(manifest string, old, fresh []byte) string {
	quoted := func(b []byte) string {
		q, _ := json.Marshal(string(b)) // a string can always be marshalled
		return string(q)
	}
	pairs := []string{
		quoted(old), quoted(fresh),
		base64.StdEncoding.EncodeToString(old), base64.StdEncoding.EncodeToString(fresh),
	}
	for _, indent := range []string{"    ", "      ", "            "} {
		block := func(b []byte) string {
			return "\n" + indent + strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "\n"+indent) + "\n"
		}
		pairs = append(pairs, block(old), block(fresh))
	}
	return strings.NewReplacer(pairs...).Replace(manifest)
}

// verdicts prints the table, asking `windlass bundle verify` for each cell.
func (d *demo) verdicts() {
	trustSets := []struct{ name, file string }{{"{O}", "o.crt"}, {"{O,N}", "both.crt"}, {"{N}", "n.crt"}}
	chains := []struct{ name, file, issuer string }{
		{"leaf, I", "without-x.pem", "issuer-new"},
		{"leaf, I, X", "with-x.pem", "issuer-old"},
	}
	if d.err == nil {
		fmt.Fprintf(d.out, "$ windlass bundle verify --anchors o.crt --chain with-x.pem --rules proxy      (one for each cell)\n\n")
	}
	if _, code := d.execute([]string{"bundle", "merge", "o.crt", "n.crt", "--out", "both.crt"}); code != cli.ExitOK && d.err == nil {
		d.err = errors.New("merge o.crt and n.crt")
	}
	var explained []string
	tw := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "  PRESENTED\tRULES\t{O}\t{O,N}\t{N}")
	for _, c := range chains {
		d.present(c.file, c.issuer)
		why := make(map[string]string) // trust set and verdict to the reason
		for _, rules := range []string{"proxy", "identity"} {
			row := []string{"  " + c.name, rules}
			for _, t := range trustSets {
				ok, reason := d.verdict(t.file, c.file, rules)
				word := "no"
				if ok {
					word = "ok"
				}
				row = append(row, word)
				key := fmt.Sprintf("  %s under %s: %s", c.name, t.name, word)
				if why[key] == "" {
					why[key] = reason
					explained = append(explained, key+", "+reason)
				}
			}
			fmt.Fprintln(tw, strings.Join(row, "\t"))
		}
	}
	if d.err == nil {
		d.err = tw.Flush()
		fmt.Fprintf(d.out, "\n%s\n", strings.Join(explained, "\n"))
	}
}

// present signs a workload certificate with an issuer and writes what its proxy
// would present.
func (d *demo) present(file, name string) {
	if d.err != nil {
		return
	}
	key, _, err := issuer.OpenKey(d.path(name+".key"), issuer.OpenKeyOptions{})
	if err != nil {
		d.err = err
		return
	}
	chain, err := os.ReadFile(d.path(name + ".crt"))
	if err != nil {
		d.err = err
		return
	}
	certs, err := bundle.ReadIssuer(chain)
	if err != nil {
		d.err = err
		return
	}
	parent, err := certs[0].X509()
	if err != nil {
		d.err = err
		return
	}
	leaf := testca.New(d.now).Adopt(parent, key).Leaf("web.emojivoto")
	d.write(file, append([]byte(leaf.PEM()), chain...))
}

func (d *demo) verdict(anchors, chain, rules string) (ok bool, reason string) {
	if d.err != nil {
		return false, ""
	}
	output, _ := d.execute([]string{"bundle", "verify", "--anchors", anchors, "--chain", chain, "--rules", rules, "-o", "json"})
	var out struct {
		Verdicts []struct {
			OK     bool
			Reason string
		}
	}
	if err := json.Unmarshal([]byte(output), &out); err != nil || len(out.Verdicts) != 1 {
		d.err = fmt.Errorf("bundle verify: %s", output)
		return false, ""
	}
	return out.Verdicts[0].OK, out.Verdicts[0].Reason
}
