// Command tools builds the programs of the test bed ahead of the tests, and
// says what it built and how long that took. Without arguments it builds what a
// bed needs; kube-scheduler and kwok are built when named.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	names := os.Args[1:]
	if len(names) == 0 {
		names = binaries.ControlPlane
	}
	began := time.Now()
	dir, err := binaries.Build(ctx, os.Stderr, names...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			fmt.Fprintln(os.Stderr, "tools:", err)
			os.Exit(1)
		}
		fmt.Printf("%-24s %4d MB  %s\n", name, info.Size()>>20, filepath.Join(dir, name))
	}
	fmt.Printf("ready after %s\n", time.Since(began).Round(100*time.Millisecond))
}
