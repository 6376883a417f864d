package binaries

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheStampedVersionIsTheOneThatIsBuilt(t *testing.T) {
	mod, err := os.ReadFile("../tools/go.mod")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^(?:require)?\s+k8s\.io/kubernetes (v\S+)`).FindSubmatch(mod)
	require.Equal(t, KubernetesVersion, string(found[1]))
	// All of Kubernetes' own modules are of one release.
	want := "v0." + strings.TrimPrefix(KubernetesVersion, "v1.")
	for _, r := range regexp.MustCompile(`(?m)^replace (\S+) => (\S+) (\S+)`).FindAllStringSubmatch(string(mod), -1) {
		require.Equal(t, []string{r[1], want}, []string{r[2], r[3]})
	}
	for name, pkg := range packages {
		require.Contains(t, string(mod), "\t"+pkg+"\n", "%s has a tool directive", name)
	}
}

// fill stands in for a build.
func fill(t *testing.T, names ...string) string {
	t.Helper()
	t.Setenv(CacheEnv, t.TempDir())
	dir, err := Dir()
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o755))
	}
	return dir
}

func TestWhatIsThereIsNotBuiltAgain(t *testing.T) {
	dir := fill(t, ControlPlane...)
	var said bytes.Buffer
	got, err := Build(t.Context(), &said, ControlPlane...)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	require.Empty(t, said.String())
}

func TestAnUnknownProgramIsRefused(t *testing.T) {
	fill(t)
	_, err := Build(t.Context(), &bytes.Buffer{}, "kube-proxy")
	require.ErrorContains(t, err, `no program is called "kube-proxy"`)
}

func TestWhoComesSecondWaitsAndFindsTheWorkDone(t *testing.T) {
	dir := fill(t)
	unlock, err := lock(t.Context(), filepath.Join(filepath.Dir(dir), "lock"), &bytes.Buffer{})
	require.NoError(t, err)
	done := make(chan error)
	told := make(lineChan, 1)
	go func() {
		_, err := Build(t.Context(), told, Etcd)
		done <- err
	}()
	require.Equal(t, "another process builds the binaries, waiting for it\n", <-told)
	require.NoError(t, os.WriteFile(filepath.Join(dir, Etcd), nil, 0o755))
	unlock()
	require.NoError(t, <-done)
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	dir := fill(t)
	unlock, err := lock(t.Context(), filepath.Join(filepath.Dir(dir), "lock"), &bytes.Buffer{})
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = Build(ctx, &bytes.Buffer{}, Etcd)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

type lineChan chan string

func (c lineChan) Write(p []byte) (int, error) {
	c <- string(p)
	return len(p), nil
}
