// Command up keeps clusters with a mesh in the background, to play with by hand:
// real API servers, and in each a running double of Linkerd with workloads.
//
//	up           starts them, unless they run, and says how to reach them
//	up -down     ends them and removes everything
//
// They live in a process of their own, which outlasts the command and the
// terminal. Who it is stands in the user's cache directory (-dir), under a lock
// that the process holds as long as it lives: when it dies, in whatever way, the
// kernel drops the lock, and the next call, of either kind, tidies up after it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

func main() {
	// Nobody's terminal ends the process that holds the bed; for the command
	// itself SIGHUP is an interrupt like others.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "up:", err)
		}
		os.Exit(1)
	}
}

// settings are the flags that say what the bed is like.
type settings struct {
	clusters, nodes int
	names           string
}

func (s settings) options() testbed.Options {
	o := testbed.Options{Clusters: s.clusters, Nodes: s.nodes}
	if s.names != "" {
		o.Names = strings.Split(s.names, ",")
		o.Clusters = len(o.Names)
	}
	return o
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	fs := flag.NewFlagSet("up", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&s.clusters, "n", 3, "how many clusters")
	fs.IntVar(&s.nodes, "nodes", 1, "how many nodes each has")
	fs.StringVar(&s.names, "names", "", "their names, separated by commas")
	down := fs.Bool("down", false, "end what runs and remove it")
	serve := fs.Bool("serve", false, "hold the bed; the command starts itself so")
	dir := fs.String("dir", "", "where to keep it (default the user's cache directory)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no place to keep the bed, set -dir: %w", err)
		}
		*dir = filepath.Join(cache, "windlass", "testbed")
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	at := place(abs)
	switch {
	case *serve:
		return hold(ctx, at, s.options())
	case *down:
		what, err := end(ctx, at)
		if err == nil {
			fmt.Fprintln(stderr, what)
		}
		return err
	}
	st, fresh, err := start(ctx, at, args, stderr)
	if err != nil {
		return err
	}
	if !fresh {
		fmt.Fprintf(stderr, "A test bed runs already, since %s; end it first for another:\n", st.Started.Format("15:04:05"))
	}
	st.show(stdout, stderr)
	return nil
}
