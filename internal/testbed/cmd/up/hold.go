package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/internal/testbed/linkerdtest"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// lockFD is where the command that starts the holder leaves it the lock: the
// first file beyond the standard ones.
const lockFD = 3

// patience bounds the start of everything; the very first builds the programs,
// which takes minutes.
const patience = 10 * time.Minute

// apps are the meshed workloads of every cluster, a Deployment each.
var apps = []struct {
	namespace, name string
	replicas        int
}{
	{"emojivoto", "web", 2}, {"emojivoto", "emoji", 1}, {"emojivoto", "voting", 1},
	{"books", "webapp", 3}, {"books", "authors", 1},
}

// hold runs a bed until it is asked to end. Its output is the log.
func hold(ctx context.Context, at place, o testbed.Options) error {
	// The programs of the control planes must not inherit the lock, or it would
	// outlive this process with them.
	unix.CloseOnExec(lockFD)
	if err := unix.Flock(lockFD, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("nobody handed over the lock, call it without -serve: %w", err)
	}
	st := &state{PID: os.Getpid(), Started: time.Now(), Kubeconfig: at.kubeconfig()}
	if err := at.write(st); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	// Time is the real one: leaves are renewed while people look on.
	fleet := linkerdtest.NewFleet(linkerdtest.Real(time.Now))
	meshLog, err := os.OpenFile(at.meshLog(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer meshLog.Close()
	fleet.Log(func(line string) { fmt.Fprintln(meshLog, line) })
	fleet.Configure(&o)
	o.Dir, o.Log = string(at), os.Stdout
	bed, err := testbed.Up(starting, o)
	if err != nil {
		return err
	}
	defer bed.Stop()
	lab := testca.New(time.Now())
	meshes := make([]*linkerdtest.Mesh, len(bed.Clusters))
	defer func() {
		for _, m := range meshes {
			if m != nil {
				m.Close()
			}
		}
	}()
	group, starting := errgroup.WithContext(starting)
	st.Clusters = make([]cluster, len(bed.Clusters))
	for i, c := range bed.Clusters {
		st.Clusters[i] = cluster{Name: c.Name, URL: c.URL, Anchor: "root of " + c.Name}
		group.Go(func() (err error) {
			meshes[i], err = populate(starting, fleet, c, lab.Root(st.Clusters[i].Anchor))
			return err
		})
		for _, a := range apps {
			st.Clusters[i].Workloads = append(st.Clusters[i].Workloads, a.namespace+"/"+a.name)
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := publish(at, bed); err != nil {
		return err
	}
	st.Ready = true
	if err := at.write(st); err != nil {
		return err
	}
	fmt.Printf("ready after %s\n", time.Since(st.Started).Round(10*time.Millisecond))
	<-ctx.Done()
	fmt.Println("asked to end")
	return nil
}

// populate installs a mesh with an anchor of its own, and what uses it.
func populate(ctx context.Context, fleet *linkerdtest.Fleet, c *testbed.Cluster, root *testca.Cert) (*linkerdtest.Mesh, error) {
	issuer := root.Issuer("identity.linkerd.cluster.local")
	mesh, err := linkerdtest.Install(ctx, fleet, c, linkerdtest.Options{
		Roots: root.PEM(), Issuer: issuer.PEM(), IssuerKey: issuer.KeyPEM(),
	})
	if err != nil {
		return nil, fmt.Errorf("install a mesh in %s: %w", c.Name, err)
	}
	for _, a := range apps {
		if err := mesh.Deploy(ctx, a.namespace, a.name, a.replicas); err != nil {
			return mesh, fmt.Errorf("deploy %s/%s in %s: %w", a.namespace, a.name, c.Name, err)
		}
	}
	fmt.Printf("the mesh in %s is ready\n", c.Name)
	return mesh, nil
}

// publish puts the kubeconfig where the next bed's will be, too, so that a shell
// that has it goes on with that.
func publish(at place, bed *testbed.Bed) error {
	b, err := os.ReadFile(bed.Kubeconfig)
	if err != nil {
		return err
	}
	return os.WriteFile(at.kubeconfig(), b, 0o600)
}
