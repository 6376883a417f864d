package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"

	"github.com/windlass-mesh/windlass/examples"
	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/internal/testca"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"windlass": windlass})
}

// windlass is the command in a process of its own, with what scripts may set:
//
//	WINDLASS_TEST_NOW         the moment it is, RFC3339
//	WINDLASS_TEST_TERMINAL    output goes to a terminal
//	WINDLASS_TEST_PASSPHRASE  what a person at a terminal types, one line after the other
func windlass() {
	env := cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, Rand: rand.Reader,
	}
	if s := os.Getenv("WINDLASS_TEST_NOW"); s != "" {
		now, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		env.Now = func() time.Time { return now }
	}
	if os.Getenv("WINDLASS_TEST_TERMINAL") != "" {
		env.StdoutIsTerminal, env.StderrIsTerminal = true, true
	}
	if typed, ok := os.LookupEnv("WINDLASS_TEST_PASSPHRASE"); ok {
		lines := strings.Split(typed, ",")
		env.AskPassphrase = func(prompt string) ([]byte, error) {
			fmt.Fprintln(os.Stderr, prompt)
			line := lines[0]
			lines = lines[1:]
			return []byte(line), nil
		}
	}
	os.Exit(int(cli.Run(context.Background(), os.Args[1:], env)))
}

// scriptNow is when scripts run: a month after the fixtures were made.
const scriptNow = "2027-01-01T00:00:00Z"

// TestScript runs testdata/script: one file a feature. Each begins in a
// directory with the certificates of testdata/certs and the manifests of
// examples. Beyond testscript's own commands there are:
//
//	exits CODE COMMAND...   runs it and wants exactly this exit code
//	value FILE PATH WANT    looks up a value in JSON (or stdout, stderr): a.0.b, "len" is the length
//	values FILE PATH WANT   looks it up in YAML
//	pki                     makes ca.crt, ca.key and more when the script runs; see writePKI
//	remember, unchanged     the directory, hidden files too, is as it was
//	pair CERTIFICATE KEY    belong together
//	mode FILE PERMISSIONS   such as 0600
//	indent FILE COUNT       prints it indented, for manifests
//	fleet SCENARIO          starts clusters, and KUBECONFIG names them; see fleets
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("WINDLASS_TEST_NOW", scriptNow)
			env.Setenv("GOVERSION", runtime.Version())
			env.Setenv("newline", "\n")
			certs := os.DirFS(filepath.Join("testdata", "certs"))
			if err := copyInto(env.WorkDir, certs, "*.crt"); err != nil {
				return err
			}
			return copyInto(env.WorkDir, examples.Manifests, "*.yaml")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     scriptExits,
			"value":     lookUp(json.Unmarshal),
			"values":    lookUp(func(b []byte, v any) error { return yaml.Unmarshal(b, v) }),
			"pki":       func(ts *testscript.TestScript, _ bool, _ []string) { writePKI(ts.MkAbs(".")) },
			"remember":  func(ts *testscript.TestScript, _ bool, _ []string) { remembered.Store(ts, snapshot(ts.MkAbs("."))) },
			"unchanged": scriptUnchanged,
			"mode":      scriptMode,
			"pair": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(keyBelongs([]byte(ts.ReadFile(args[0])), []byte(ts.ReadFile(args[1]))))
			},
			"indent": scriptIndent,
			"fleet":  scriptFleet,
		},
	})
}

func copyInto(dir string, from fs.FS, pattern string) error {
	names, err := fs.Glob(from, pattern)
	if err != nil || len(names) == 0 {
		return errors.Join(err, fmt.Errorf("no %s", pattern))
	}
	for _, name := range names {
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writePKI makes certificates with their keys around the scripts' moment:
//
//	ca, ca-new, ca-expired    roots
//	cross-signed.crt          ca-new signed by ca
//	issuer                    an issuer under ca-new
//	leaf                      a workload under issuer
func writePKI(dir string) {
	now, _ := time.Parse(time.RFC3339, scriptNow)
	lab := testca.New(now)
	ca, fresh := lab.Root("old root"), lab.Root("new root")
	iss := fresh.Issuer("identity.linkerd.cluster.local")
	for name, c := range map[string]*testca.Cert{
		"ca": ca, "ca-new": fresh, "issuer": iss, "leaf": iss.Leaf("web.emojivoto"),
		"ca-expired":   lab.Root("expired root", testca.From(-48*time.Hour), testca.Until(-24*time.Hour)),
		"cross-signed": fresh.CrossSignedBy(ca),
	} {
		write(filepath.Join(dir, name+".crt"), []byte(c.PEM()), 0o644)
		if name != "cross-signed" {
			write(filepath.Join(dir, name+".key"), []byte(c.KeyPEM()), 0o600)
		}
	}
	write(filepath.Join(dir, "bundle.crt"), []byte(ca.PEM()+fresh.PEM()), 0o644)
	presented := testca.PEM(iss.Leaf("web.emojivoto").Chain(fresh.CrossSignedBy(ca))...)
	write(filepath.Join(dir, "presented.pem"), []byte(presented), 0o644)
	write(filepath.Join(dir, "pass.txt"), []byte("correct horse\n"), 0o600)
}

func write(path string, data []byte, mode fs.FileMode) {
	if err := os.WriteFile(path, data, mode); err != nil {
		panic(err)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

func lookUp(parse func([]byte, any) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 3 {
			ts.Fatalf("usage: value FILE PATH WANT")
		}
		var v any
		if err := parse([]byte(ts.ReadFile(args[0])), &v); err != nil {
			ts.Fatalf("%s does not parse: %v", args[0], err)
		}
		for _, key := range strings.Split(args[1], ".") {
			switch at := v.(type) {
			case map[string]any:
				v = at[key]
				if key == "len" {
					v = len(at)
				}
			case []any:
				if key == "len" {
					v = len(at)
				} else if i, err := strconv.Atoi(key); err != nil || i >= len(at) {
					ts.Fatalf("%s: no element %s in %v", args[1], key, at)
				} else {
					v = at[i]
				}
			default:
				ts.Fatalf("%s: nothing below %v", args[1], v)
			}
		}
		if got := fmt.Sprint(v); got != args[2] {
			ts.Fatalf("%s is %q, not %q", args[1], got, args[2])
		}
	}
}

func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); (got != args[1]) != neg {
		ts.Fatalf("%s has mode %s", args[0], got)
	}
}

func scriptIndent(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		_, err := fmt.Fprint(ts.Stdout(), strings.Repeat(" ", n), line)
		ts.Check(err)
	}
}

// snapshot is everything in a directory: names, modes, contents by their hash.
func snapshot(dir string) []string {
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(path, dir) + " " + info.Mode().String()
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " " + to
		case info.Mode().IsRegular() && info.Size() < 1<<20 && info.Mode().Perm()&0o400 != 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x", len(data), sha256.Sum256(data))
		case info.Mode().IsRegular():
			line += fmt.Sprint(" ", info.Size(), " ", info.ModTime())
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		panic(err)
	}
	return all
}

var remembered sync.Map // of a *testscript.TestScript to its snapshot

func scriptUnchanged(ts *testscript.TestScript, neg bool, _ []string) {
	stored, _ := remembered.Load(ts)
	before, ok := stored.([]string)
	if !ok {
		ts.Fatalf("unchanged since when? remember comes first")
	}
	if same := slices.Equal(before, snapshot(ts.MkAbs("."))); same == neg {
		ts.Fatalf("the directory is changed: %v; before:\n%s\nnow:\n%s", !same, strings.Join(before, "\n"), strings.Join(snapshot(ts.MkAbs(".")), "\n"))
	}
}

// keyBelongs tells whether the first certificate of a text has the key of a
// text in clear.
func keyBelongs(certPEM, keyPEM []byte) error {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return errors.New("no PEM")
	}
	cert, err1 := x509.ParseCertificate(certBlock.Bytes)
	key, err2 := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if pub := key.(*ecdsa.PrivateKey).PublicKey; !pub.Equal(cert.PublicKey) {
		return errors.New("the key is not that of the certificate")
	}
	return nil
}
