package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
)

// verdictJSON is one verdict in JSON: the contract's fields first, then what
// else is known. Add, never rename.
type verdictJSON struct {
	Rules    bundle.Rules `json:"rules"`
	OK       bool         `json:"ok"`
	Reason   string       `json:"reason"`
	Refusing []string     `json:"refusing,omitempty"` // releases whose proxies refuse
	Until    string       `json:"until,omitempty"`    // RFC3339: sound until then
	Path     []string     `json:"path,omitempty"`     // subjects, first certificate to anchor
	Skipped  []string     `json:"skipped,omitempty"`  // anchors that proxies pass over
	Checks   int          `json:"signatureChecks,omitempty"`
}

type verifyFlags struct {
	anchors, chain, issuer string
	rules, usage, name     string
	at                     timeFlag
	linkerd                releasesFlag
	failWithin             durationFlag
}

func (a *app) bundleVerifyCmd() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify --anchors SOURCE (--chain SOURCE | --issuer SOURCE)",
		Short: "Say whether a presented chain verifies under a trust set, and why not",
		Long: `Say whether a presented chain verifies under a trust set, and why not: exit 0 or 3.

The chain is given as presented, leaf first. The proxy rules judge all of it, as
the other side of a handshake does; the identity rules judge what follows the
leaf, as linkerd-identity judges its issuer file. --issuer gives an issuer alone
in place of a chain: the proxy rules then judge a faultless leaf below it.

PEM is read as each consumer reads it: what a proxy skips is skipped, and said.
Without --linkerd the proxies of every known release must accept.

` + sourceHelp,
		Example: example(
			"windlass bundle verify --anchors bundle.crt --issuer issuer.crt",
			"windlass bundle verify --anchors old-cluster.yaml --issuer new-cluster.yaml --rules proxy --linkerd 2.20",
			"windlass bundle verify --anchors bundle.crt --chain presented.pem --usage client --at 2027-01-01T00:00:00Z"),
		Args: args(cobra.NoArgs, "it takes no arguments, but --anchors and --chain or --issuer"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.verify(cmd, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.anchors, "anchors", "", "`SOURCE` of the trust set")
	fl.StringVar(&f.chain, "chain", "", "`SOURCE` of the chain as presented, leaf first")
	fl.StringVar(&f.issuer, "issuer", "", "`SOURCE` of an issuer and what stands above it, in place of --chain")
	f.rules, f.usage = "both", "server"
	fl.Var(&enumFlag{&f.rules, []string{"proxy", "identity", "both"}}, "rules", "whose rules")
	fl.Var(&enumFlag{&f.usage, []string{"server", "client"}}, "usage", "the side whose chain it is")
	fl.StringVar(&f.name, "identity", "", "the identity (`NAME`) that the leaf of --chain must carry")
	fl.Var(&f.at, "at", "moment of judgement, RFC3339 (default now)")
	fl.Var(&f.linkerd, "linkerd", "Linkerd release whose proxies judge (repeatable; default every known one)")
	fl.Var(&f.failWithin, "fail-within", "exit 4 where the chain stops to verify within this time, such as 30d")
	_ = c.MarkFlagRequired("anchors")
	c.MarkFlagsOneRequired("chain", "issuer")
	c.MarkFlagsMutuallyExclusive("chain", "issuer")
	c.MarkFlagsMutuallyExclusive("identity", "issuer")
	return c
}

func (a *app) verify(cmd *cobra.Command, f verifyFlags) error {
	q := bundle.Query{Name: f.name, At: a.Now(), Usage: bundle.Server, Releases: f.linkerd.releases}
	if f.usage == "client" {
		q.Usage = bundle.Client
	}
	if !f.at.t.IsZero() {
		q.At = f.at.t
	}
	rules := []bundle.Rules{bundle.Proxy, bundle.Identity}
	if f.rules != "both" {
		rules = []bundle.Rules{bundle.Rules(f.rules)}
	}
	presented := f.chain
	if f.issuer != "" {
		presented = f.issuer
	}
	sources, err := a.readSources([]string{f.anchors, presented})
	if err != nil {
		return err
	}
	if sources[0].Manifest && len(sources[0].AnchorTexts()) == 0 {
		_, err := sources[0].Anchors()
		return explainSource(err)
	}
	text, err := sources[1].ChainText()
	if err != nil {
		return explainSource(err)
	}

	var verdicts []verdictJSON
	code := ExitOK
	for _, r := range rules {
		q.Rules = r
		v := judge(q, sources[0], text, f.issuer != "")
		verdicts = append(verdicts, v)
		end, _ := time.Parse(time.RFC3339, v.Until)
		switch {
		case !v.OK:
			code = ExitNo
		case code == ExitOK && cmd.Flags().Changed("fail-within") && end.Before(q.At.Add(f.failWithin.d)):
			code = ExitExpiring
		}
	}
	err = a.print(struct {
		Verdicts []verdictJSON `json:"verdicts"`
	}{verdicts}, func(w io.Writer) error { return a.verdictText(w, verdicts, q.At) })
	if err == nil && code == ExitExpiring {
		return a.expiring(f.failWithin)
	}
	if err == nil && code != ExitOK {
		return answer(code)
	}
	return err
}

// judge reads anchors and chain as the consumer reads them, then asks for its
// verdict. What it cannot read, it refuses.
func judge(q bundle.Query, anchors *bundle.Source, presented bundle.Text, issuerAlone bool) verdictJSON {
	refuse := func(format string, args ...any) verdictJSON {
		return verdictJSON{Rules: q.Rules, Reason: fmt.Sprintf(format, args...)}
	}
	var err error
	if q.Anchors, err = anchors.AnchorsAs(q.Rules); err != nil {
		return refuse("%s does not start on this trust set: %v", consumer(q.Rules), err)
	}
	chain, err := bundle.ReadChain(presented.PEM)
	if err != nil {
		return refuse("the chain cannot be read: %v", err)
	}
	file := presented.PEM // what linkerd-identity would have as its issuer file
	if !issuerAlone {
		file = bundle.AfterFirst(file)
	}
	if q.Rules == bundle.Identity && (issuerAlone || len(bytes.TrimSpace(file)) > 0) {
		issuer, err := bundle.ReadIssuer(file)
		if err != nil {
			return refuse("linkerd-identity cannot read this issuer file: %v", err)
		}
		q.Issuer = issuer
	} else if issuerAlone {
		q.Issuer = chain
	} else {
		q.Chain = chain
	}
	v := bundle.Verify(q)
	j := verdictJSON{Rules: v.Rules, OK: v.OK, Reason: v.Reason, Checks: v.SignatureChecks}
	for _, r := range v.Refusing {
		j.Refusing = append(j.Refusing, r.String())
	}
	for _, c := range v.Path {
		j.Path = append(j.Path, c.Subject())
	}
	for _, s := range v.Skipped {
		j.Skipped = append(j.Skipped, fmt.Sprintf("%s: %v", s.Certificate, s.Reason))
	}
	if v.OK {
		j.Until = bundle.SoundUntil(q).UTC().Format(time.RFC3339)
	}
	return j
}

func (a *app) verdictText(w io.Writer, verdicts []verdictJSON, at time.Time) error {
	var rows []row
	for _, v := range verdicts {
		word, paint := "no", a.outStyle().bad
		reason := v.Reason
		if v.OK {
			word, paint = "ok", a.outStyle().good
			if end, err := time.Parse(time.RFC3339, v.Until); err == nil {
				reason += "; until " + until(end, at)
			}
		}
		rows = append(rows, row{[]string{string(v.Rules), word, reason}, paint})
	}
	if err := table(w, []string{"RULES", "VERDICT", "REASON"}, rows); err != nil {
		return err
	}
	for _, v := range verdicts {
		for _, s := range v.Skipped {
			a.note("%s rules: anchor passed over: %s", v.Rules, strings.TrimSpace(s))
		}
	}
	return nil
}
