// Package binaries builds the programs of a Kubernetes control plane from the
// Go module registry and keeps them outside the checkout, so that tests run
// against the real thing with nothing installed but Go:
//
//	dir, err := binaries.Build(ctx, os.Stderr, binaries.ControlPlane...)
//	exec.Command(filepath.Join(dir, binaries.KubeAPIServer), ...)
//
// What is built, and from which versions, stands in the nested module
// internal/testbed/tools: its go.sum holds every source to a hash. The nested
// module is one of its own because Kubernetes wants some thirty replace
// directives that have no business in the product's go.mod.
//
// A build lands in a directory named by a hash of that module, the Go version
// and the platform; a second call with the same hash builds nothing. Callers in
// several processes wait for one another, so that each program is built once,
// and a program appears under its name only when it is complete.
package binaries

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The programs that can be built.
const (
	Etcd                  = "etcd"
	KubeAPIServer         = "kube-apiserver"
	KubeControllerManager = "kube-controller-manager"
	KubeScheduler         = "kube-scheduler"
	Kwok                  = "kwok"
)

// ControlPlane lists what a bed needs.
var ControlPlane = []string{Etcd, KubeAPIServer, KubeControllerManager}

// KubernetesVersion is what the API servers report. It is stamped in at link
// time, because an unstamped server says v0.0.0-master, which clients that
// compare versions refuse. A test holds it against tools/go.mod.
const KubernetesVersion = "v1.36.3"

// CacheEnv names the environment variable that moves the cache.
const CacheEnv = "WINDLASS_TOOLS_CACHE"

var packages = map[string]string{
	Etcd:                  "go.etcd.io/etcd/server/v3",
	KubeAPIServer:         "k8s.io/kubernetes/cmd/kube-apiserver",
	KubeControllerManager: "k8s.io/kubernetes/cmd/kube-controller-manager",
	KubeScheduler:         "k8s.io/kubernetes/cmd/kube-scheduler",
	Kwok:                  "sigs.k8s.io/kwok/cmd/kwok",
}

// recipe changes when the way of building does, so that an old build is not
// taken for a new one.
const recipe = "1"

// Dir is where the binaries of this checkout, Go version and platform are kept;
// it need not exist.
func Dir() (string, error) {
	tools, err := toolsModule()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(tools, name))
		if err != nil {
			return "", fmt.Errorf("read the list of tools: %w", err)
		}
		h.Write(b)
	}
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, KubernetesVersion, recipe)
	cache := os.Getenv(CacheEnv)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place to keep binaries, set %s: %w", CacheEnv, err)
		}
		cache = filepath.Join(user, "windlass", "tools")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return "", err
	}
	return filepath.Join(cache, hex.EncodeToString(h.Sum(nil))[:16], "bin"), nil
}

// Build returns the directory that holds the named programs, after building
// those that are missing. Progress goes to log in lines; nothing is written
// when there is nothing to do.
func Build(ctx context.Context, log io.Writer, names ...string) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if packages[name] == "" {
			return "", fmt.Errorf("no program is called %q", name)
		}
	}
	if len(missing(dir, names)) == 0 {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(filepath.Dir(dir), "lock"), log)
	if err != nil {
		return "", err
	}
	defer unlock()
	// Who waited for the lock finds the work done.
	todo := missing(dir, names)
	if len(todo) == 0 {
		return dir, nil
	}
	return dir, build(ctx, log, dir, todo)
}

func missing(dir string, names []string) []string {
	var out []string
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			out = append(out, name)
		}
	}
	return out
}

// build compiles beside dir and renames into it: a program that was cut off
// half-way is never found under its name.
func build(ctx context.Context, log io.Writer, dir string, names []string) error {
	beside := filepath.Join(filepath.Dir(dir), "build")
	if err := os.RemoveAll(beside); err != nil { // of a build that was killed
		return err
	}
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(beside)
	for _, name := range names {
		fmt.Fprintf(log, "building %s\n", name)
		if err := goBuild(ctx, log, filepath.Join(beside, name), packages[name]); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
		if err := os.Rename(filepath.Join(beside, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

const progressEvery = 15 * time.Second

func goBuild(ctx context.Context, log io.Writer, out, pkg string) error {
	tools, err := toolsModule()
	if err != nil {
		return err
	}
	const version = "k8s.io/component-base/version"
	major, minor, _ := strings.Cut(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	ldflags := fmt.Sprintf("-s -w -X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s",
		version, KubernetesVersion, version, major, version, minor)
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-mod=readonly", "-buildvcs=false", "-ldflags", ldflags, "-o", out, pkg)
	cmd.Dir = tools
	// The caller's flags (a race detector, a vendor directory, a workspace) are
	// about the caller's code.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var compiled atomic.Int64
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(log, "building %s: %d packages compiled, %s\n", filepath.Base(out), compiled.Load(), time.Duration(n)*progressEvery)
			}
		}
	}()
	// go build -v names a package a line; what else it says is an error.
	var said bytes.Buffer
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		compiled.Add(1)
		if strings.ContainsAny(lines.Text(), " :") {
			fmt.Fprintln(&said, lines.Text())
		}
	}
	err = cmd.Wait()
	close(done)
	<-stopped
	if err != nil {
		return fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	return nil
}

// lock takes the file lock at path. The lock goes with the process that holds
// it, so a killed build does not block the next.
func lock(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			fmt.Fprintln(log, "another process builds the binaries, waiting for it")
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// toolsModule finds the nested module: beside this source file where the
// compiler left its path, else below the working directory's module.
func toolsModule() (string, error) {
	isTools := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "go.sum"))
		return err == nil
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if dir := filepath.Join(filepath.Dir(file), "..", "tools"); isTools(dir) {
			return filepath.Clean(dir), nil
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := wd; ; at = filepath.Dir(at) {
		if dir := filepath.Join(at, "internal", "testbed", "tools"); isTools(dir) {
			return dir, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("internal/testbed/tools not found above %s", wd)
		}
	}
}
