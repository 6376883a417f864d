package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

// Options say what a bed is like. The zero value gives one cluster with one
// node whose pods are ready at once.
type Options struct {
	// Clusters is how many there are; one if it is zero and Names is empty.
	Clusters int
	// Names are the clusters' names. Those without one are called east, west,
	// north, south, center and then by number.
	Names []string
	// Nodes is how many nodes each cluster has; one if it is zero. With a
	// negative number there are none, and pods stay Pending.
	Nodes int
	// Runtime gives the runtime of a cluster's pods, before the cluster starts:
	// AlwaysReady if it is nil.
	Runtime func(*Cluster) PodRuntime
	// APIServerFlags and ControllerFlags are added to the command lines.
	APIServerFlags, ControllerFlags []string
	// Dir is where the bed keeps its files, in a directory of its own:
	// os.TempDir() if it is empty.
	Dir string
	// Log takes progress in lines; none if it is nil.
	Log io.Writer
	// Now is the clock of certificates and pods: time.Now if it is nil.
	Now func() time.Time
}

var defaultNames = []string{"east", "west", "north", "south", "center"}

func (o *Options) complete() error {
	if o.Clusters == 0 {
		o.Clusters = max(1, len(o.Names))
	}
	if o.Clusters > maxClusters {
		return fmt.Errorf("a bed holds %d clusters at most", maxClusters)
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	o.Nodes = max(0, o.Nodes)
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Names = slices.Clone(o.Names)
	for i := len(o.Names); i < o.Clusters; i++ {
		name := fmt.Sprintf("cluster-%d", i+1)
		if i < len(defaultNames) {
			name = defaultNames[i]
		}
		o.Names = append(o.Names, name)
	}
	for i, name := range o.Names {
		if slices.Contains(o.Names[:i], name) || name == "" || strings.ContainsAny(name, "/ ,") {
			return fmt.Errorf("%q is no name for a cluster, or is there twice", name)
		}
	}
	return nil
}

// Bed is a number of clusters that run.
type Bed struct {
	Clusters []*Cluster
	// Kubeconfig is a file with one context per cluster, the first of which is
	// the current one.
	Kubeconfig string
	// Etcd holds all clusters.
	Etcd *Process
	// Took is how long the bed took to get ready, building aside.
	Took time.Duration

	options  Options
	bin      string
	space    *space
	etcdPort *port
	stopOnce sync.Once
}

// Up starts a bed and returns when all of its clusters are ready. The context
// bounds the start only. Stop ends the bed; and should this process end without
// it, in whatever way, the kernel ends the bed's processes, and the next bed
// removes its files.
func Up(ctx context.Context, o Options) (_ *Bed, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	b := &Bed{options: o}
	if b.bin, err = binaries.Build(ctx, o.Log, binaries.ControlPlane...); err != nil {
		return nil, err
	}
	began := o.Now()
	defer func() {
		if err != nil {
			b.Stop()
		}
	}()
	if b.space, err = newSpace(o.Dir); err != nil {
		return nil, err
	}
	if b.etcdPort, err = reservePort(); err != nil {
		return nil, err
	}
	b.Etcd = newEtcd(b.space.dir, b.bin, b.etcdPort)
	if err := b.Etcd.launch(); err != nil {
		return nil, err
	}
	for i, name := range o.Names {
		c, err := b.newCluster(name, i)
		if err != nil {
			return nil, fmt.Errorf("prepare cluster %s: %w", name, err)
		}
		b.Clusters = append(b.Clusters, c)
	}
	if err := b.Etcd.awaitReady(ctx); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range b.Clusters {
		group.Go(func() error {
			if err := c.start(ctx, o.Nodes); err != nil {
				return err
			}
			fmt.Fprintf(o.Log, "cluster %s is ready at %s\n", c.Name, c.URL)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := b.writeKubeconfig(); err != nil {
		return nil, err
	}
	b.Took = o.Now().Sub(began)
	return b, nil
}

func (b *Bed) writeKubeconfig() error {
	var all []namedConfig
	for _, c := range b.Clusters {
		all = append(all, namedConfig{c.Name, c.Config})
	}
	content, err := encodeKubeconfig(all...)
	if err != nil {
		return err
	}
	b.Kubeconfig = filepath.Join(b.space.dir, "kubeconfig")
	return os.WriteFile(b.Kubeconfig, content, 0o600)
}

// Cluster returns the cluster of that name, nil if there is none.
func (b *Bed) Cluster(name string) *Cluster {
	for _, c := range b.Clusters {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Stop ends all processes of the bed and removes its files. It may be called
// twice.
func (b *Bed) Stop() {
	b.stopOnce.Do(func() {
		// Nothing has to be kept, so nothing is asked to end in good order; and
		// etcd goes last, since an API server without it does not end for long.
		var clusters sync.WaitGroup
		for _, c := range b.Clusters {
			clusters.Go(c.close)
		}
		clusters.Wait()
		if b.Etcd != nil {
			b.Etcd.Kill()
		}
		if b.etcdPort != nil {
			b.etcdPort.release()
		}
		if b.space != nil {
			b.space.release()
		}
	})
}

// WriteLogs writes the ends of the components' logs, at most n bytes of each.
func (b *Bed) WriteLogs(w io.Writer, n int64) error {
	all := []*Process{b.Etcd}
	for _, c := range b.Clusters {
		all = append(all, c.API, c.Controllers)
	}
	var errs []error
	for _, p := range all {
		_, err := fmt.Fprintf(w, "--- the log of %s ends:\n%s", p.Name, tail(p.LogFile, n))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
