// Command benchtable runs the project's benchmarks and ends with a table of
// the figures that are promised: figure, bound, met or not. Machines differ and
// are noisy, so nearly every figure is a ratio of two benchmarks of one run, and
// of several runs of a benchmark the fastest counts.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// figure is something that is promised: a time, or a ratio of two times.
type figure struct {
	what  string
	of    string // benchmark, or "version" for the command
	over  string // benchmark to divide by; "" for a plain time
	bound float64
}

// The promises. Bounds of ratios are plain numbers, of times nanoseconds.
var figures = []figure{
	{"merge two bundles of 1,000 anchors / parse their certificates", "Merge1000", "ParseCertificates", 1.5},
	{"read 200 anchors, half of them known / x509.ParseCertificate on all", "ReadKnown", "Parse200", 1},
	{"create root and issuer / bare keys and signatures", "RootAndIssuer", "BareKeygenAndSign", 1.5},
	{"windlass version, start to end", "version", "", 20e6},
}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	fastest, err := benchmarks(out)
	if err != nil {
		return err
	}
	if fastest["version"], err = startTime(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PROMISE\tFIGURE\tBOUND\t")
	var missing []error
	for _, f := range figures {
		a, ok := fastest[f.of]
		if !ok {
			missing = append(missing, fmt.Errorf("benchmark %s did not run", f.of))
			continue
		}
		value, bound := time.Duration(a).Round(10*time.Microsecond).String(), time.Duration(f.bound).String()
		met := a <= f.bound
		if f.over != "" {
			b, ok := fastest[f.over]
			if !ok {
				missing = append(missing, fmt.Errorf("benchmark %s did not run", f.over))
				continue
			}
			value, bound = fmt.Sprintf("%.2f", a/b), fmt.Sprintf("%.2f", f.bound)
			met = a/b <= f.bound
		}
		word := "met"
		if !met {
			word = "NOT MET"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", f.what, value, bound, word)
	}
	return errors.Join(append(missing, tw.Flush())...)
}

var benchLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// benchmarks runs all benchmarks, shows what they print, and returns the
// fastest run of each in nanoseconds.
func benchmarks(out io.Writer) (map[string]float64, error) {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", "300ms", "-count", "4", "./...")
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&buf, out), os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test -bench: %w", err)
	}
	fastest := make(map[string]float64)
	lines := bufio.NewScanner(&buf)
	for lines.Scan() {
		m := benchLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		if old, ok := fastest[m[1]]; !ok || ns < old {
			fastest[m[1]] = ns
		}
	}
	return fastest, lines.Err()
}

// startTime is how long the built command takes to say its version, the median
// of several runs, in nanoseconds.
func startTime() (float64, error) {
	const runs = 21
	var took []time.Duration
	for range runs {
		start := time.Now()
		if err := exec.Command("bin/windlass", "version").Run(); err != nil {
			return 0, fmt.Errorf("bin/windlass version: %w", err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return float64(took[runs/2]), nil
}
