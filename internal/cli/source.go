package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/bundle"
)

// sourceHelp is what every command that takes a SOURCE says of it.
const sourceHelp = `A SOURCE is a PEM file, "-" for standard input, or a Kubernetes manifest in YAML
or JSON (one object, many documents, or a List) holding linkerd-config of any
release, linkerd-identity-trust-roots, linkerd-config-overrides, an issuer or TLS
Secret, Istio's cacerts or istio-ca-root-cert, or pods and workloads with an
injected proxy. What it is is told by its content, never by its name.`

// readSource reads one SOURCE argument.
func (a *app) readSource(arg string) (*bundle.Source, error) {
	data, name, err := a.readData(arg)
	if err != nil {
		return nil, err
	}
	src, err := bundle.ReadSource(name, data)
	if err != nil {
		return nil, withHints(err, "the source has to be PEM or a Kubernetes manifest in YAML or JSON")
	}
	return src, nil
}

func (a *app) readSources(names []string) ([]*bundle.Source, error) {
	var out []*bundle.Source
	for _, name := range names {
		s, err := a.readSource(name)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// readData reads a file or standard input, never more than a source may hold.
func (a *app) readData(arg string) (data []byte, name string, err error) {
	if ctx, ok := strings.CutPrefix(arg, "context:"); ok {
		if ctx == "" {
			return nil, "", usagef("context: names no context")
		}
		return nil, "", withHints(fmt.Errorf("read %s: live clusters are not read by this version", arg),
			fmt.Sprintf("kubectl --context %s get cm,secret,pod -A -o yaml | windlass ... -", ctx))
	}
	name = arg
	if arg == "-" {
		name = "standard input"
	}
	// A pipe or a terminal may keep us waiting for ever.
	data, err = interruptible(a.ctx, func() ([]byte, error) {
		if arg == "-" {
			return readBounded(name, a.Stdin)
		}
		return readFile(name)
	})
	return data, name, err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError("read", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fileError("read", name, err)
	case info.Size() > bundle.MaxSourceSize && info.Mode().IsRegular():
		return nil, tooLarge(name)
	}
	return readBounded(name, f)
}

func readBounded(name string, in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, bundle.MaxSourceSize+1))
	switch {
	case err != nil:
		return nil, fileError("read", name, err)
	case len(data) > bundle.MaxSourceSize:
		return nil, tooLarge(name)
	}
	return data, nil
}

// interruptible runs f and gives up on it when the context ends.
func interruptible(ctx context.Context, f func() ([]byte, error)) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := f()
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, errors.New("interrupted; nothing was written")
	}
}

func tooLarge(name string) error {
	return withHints(fmt.Errorf("read %s: %w", name, bundle.ErrSourceTooLarge),
		"select what holds the anchors: `kubectl -n linkerd get cm,secret -o yaml`")
}

// anchorsOf reads the union of the anchors of several sources, strictly.
func (a *app) anchorsOf(sources []*bundle.Source) (*bundle.Bundle, []bundle.Finding, error) {
	var all []*bundle.Bundle
	var findings []bundle.Finding
	for _, s := range sources {
		b, err := s.Anchors()
		if err != nil {
			if errors.Is(err, bundle.ErrNoCertificate) && s.Manifest && len(s.ChainTexts()) > 0 {
				return nil, nil, withHints(err, "it holds an issuer, which is no anchor: `windlass bundle verify --issuer` judges it")
			}
			return nil, nil, explainSource(err)
		}
		all = append(all, b)
		findings = append(findings, s.Notes...)
		findings = append(findings, s.Disagreements()...)
	}
	return bundle.Merge(all...), findings, nil
}

// explainSource adds what can be done about a source that cannot be read.
func explainSource(err error) error {
	var bad *bundle.SourceError
	if errors.As(err, &bad) {
		const most = 5
		hints := bad.Lines()[1:]
		if n := len(hints); n > most {
			hints = append(slices.Clone(hints[:most]), fmt.Sprintf("and %d more places", n-most))
		}
		for i := range hints {
			hints[i] = "also " + hints[i]
		}
		return withHints(err, append(hints, "`windlass bundle lint` lists everything; `windlass bundle show --read-as proxy` shows what a proxy makes of it")...)
	}
	return err
}
