package linkerd

import (
	"context"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
)

// Outside surveys the target of a Link with the Link's own credentials, for
// targets that are no members of the fleet. What the stock permissions of a Link
// show is less than an operator's: pods' own anchors (2.14 and later) and
// linkerd-config, whose copy of the issuer then stands in for the Secret, as one
// that may be older than what is in use: no moment of its last change is given.
// The answer of each request is bounded, and all of them together by ctx. It
// returns nil where no credentials may be used.
func Outside(ctx context.Context, l *mesh.Link, opts mesh.Options, o Options) *mesh.Survey {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	opts.MaxBytes, opts.Attempts = outsideBytes, 1
	if l.TargetNamespace != "" {
		o.Namespaces = []string{l.TargetNamespace}
	}
	var last *mesh.Survey
	for _, c := range l.Credentials {
		if c.Config == nil || c.TargetErr != nil {
			continue
		}
		client, err := mesh.NewClient(c.Config, opts)
		if err != nil {
			continue
		}
		last = Survey(ctx, &mesh.Cluster{Name: l.Target, Identity: c.Target, Client: client}, o)
		for _, i := range last.Installations {
			if i.Issuer == nil {
				i.Issuer = renderedIssuer(ctx, client, i)
			}
		}
		client.CloseIdle()
		if last.Reached {
			return last
		}
	}
	return last
}

// outsideBytes bounds one answer, one page of pods, of a server that a Link's
// credentials lead to.
const outsideBytes = 64 << 20

// renderedIssuer reads the copy of the issuer that linkerd-config has carried
// since it was rendered, nil where there is none: with an issuer from elsewhere,
// and in the JSON layout.
func renderedIssuer(ctx context.Context, c *mesh.Client, i *mesh.Installation) *mesh.Issuer {
	var cm configMap
	if c.Get(ctx, mesh.ConfigMaps, i.Namespace, configName, &cm) != nil {
		return nil
	}
	config, err := layout.LinkerdConfig(cm.Data)
	if err != nil || config.IssuerCrtPEM == "" {
		return nil
	}
	out := &mesh.Issuer{Object: cm.Metadata.Ref("ConfigMap"), Scheme: config.Scheme, PEM: config.IssuerCrtPEM}
	out.Chain, out.Err = bundle.ReadIssuer([]byte(config.IssuerCrtPEM))
	return out
}
