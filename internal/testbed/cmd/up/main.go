// Command up runs a test bed until it is interrupted, and says how to reach it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

func main() {
	clusters := flag.Int("n", 3, "how many clusters")
	nodes := flag.Int("nodes", 1, "how many nodes each has")
	names := flag.String("names", "", "their names, separated by commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *clusters, *nodes, *names); err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, clusters, nodes int, names string) error {
	o := testbed.Options{Clusters: clusters, Nodes: nodes, Log: os.Stderr}
	if names != "" {
		o.Names = strings.Split(names, ",")
		o.Clusters = len(o.Names)
	}
	bed, err := testbed.Up(ctx, o)
	if err != nil {
		return err
	}
	defer bed.Stop()
	fmt.Fprintf(os.Stderr, "ready after %s; end it with Ctrl-C\n", bed.Took.Round(10*time.Millisecond))
	fmt.Printf("export KUBECONFIG=%s\n", bed.Kubeconfig)
	<-ctx.Done()
	return nil
}
