package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/linkerd"
)

// The command starts itself again as the holder: here that is the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// up runs the command as a shell would, but for the process.
func up(ctx context.Context, t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	require.NoError(t, run(ctx, args, &out, &log), "%s", &log)
	return out.String(), log.String()
}

func TestABedInTheBackground(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a test bed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	at := place(filepath.Join(t.TempDir(), "testbed"))
	dir := "-dir=" + string(at)
	t.Cleanup(func() { _, _ = end(context.Background(), at) }) // where the test fails in between

	_, said := up(ctx, t, dir, "-down")
	require.Equal(t, "no test bed runs\n", said)

	// What it prints is all that it takes to survey the mesh in each cluster.
	stdout, said := up(ctx, t, dir, "-n", "2")
	require.Equal(t, "export KUBECONFIG="+at.kubeconfig()+"\n", stdout)
	require.Contains(t, said, "windlass survey --context east --context west\n")
	seen := map[string]bool{}
	for _, name := range []string{"east", "west"} {
		s := survey(ctx, t, at, name)
		seen[s.UID] = true
		require.Len(t, s.Installations, 1, "%v", s.Unknowns)
		require.Empty(t, s.Unknowns)
		apps := 0
		for _, p := range s.Peers {
			require.True(t, p.Proxy.Ready, "%s/%s has its first certificate", p.Namespace, p.Name)
			if p.Namespace == "linkerd" {
				continue
			}
			apps++
			require.NotNil(t, p.Class.Trust)
			require.Len(t, p.Class.Trust.Anchors, 1)
			require.Equal(t, "root of "+name, p.Class.Trust.Anchors[0].Subject())
		}
		require.Equal(t, 8, apps)
	}
	require.Len(t, seen, 2)

	// There is one at a time, and the second call says so.
	first, err := at.read()
	require.NoError(t, err)
	stdout, said = up(ctx, t, dir, "-n", "3")
	require.Equal(t, "export KUBECONFIG="+at.kubeconfig()+"\n", stdout)
	require.Contains(t, said, "runs already")
	require.Contains(t, said, "windlass survey --context east --context west\n")

	// No terminal can end it: it belongs to none.
	session, err := unix.Getsid(first.PID)
	require.NoError(t, err)
	require.Equal(t, first.PID, session)

	// One that dies is in nobody's way.
	require.NoError(t, syscall.Kill(first.PID, syscall.SIGKILL))
	require.NoError(t, testbed.Until(ctx, func(context.Context) (bool, error) {
		lock, err := at.lock() // free once the kernel has closed its files
		if errors.Is(err, errHeld) {
			return false, nil
		}
		return true, errors.Join(err, lock.Close())
	}))
	_, said = up(ctx, t, dir, "-names", "alone")
	require.NotContains(t, said, "runs already")
	second, err := at.read()
	require.NoError(t, err)
	require.NotEqual(t, first.PID, second.PID)
	require.NotContains(t, seen, survey(ctx, t, at, "alone").UID)
	beds, err := filepath.Glob(filepath.Join(string(at), "windlass-testbed-*", "bed-*"))
	require.NoError(t, err)
	require.Len(t, beds, 1, "the files of the dead one are gone")
	require.NotEmpty(t, processesIn(beds[0]))

	_, said = up(ctx, t, dir, "-down")
	require.Equal(t, "the test bed is gone\n", said)
	require.Empty(t, processesIn(string(at)))
	require.NoDirExists(t, string(at))
}

func survey(ctx context.Context, t *testing.T, at place, name string) *mesh.Survey {
	t.Helper()
	config, err := mesh.Kubeconfig{Path: at.kubeconfig()}.Config(name)
	require.NoError(t, err)
	client, err := mesh.NewClient(config, mesh.Options{})
	require.NoError(t, err)
	defer client.CloseIdle()
	return linkerd.Survey(ctx, &mesh.Cluster{Name: name, Client: client}, linkerd.Options{})
}

func TestOnlyOneHoldsAPlace(t *testing.T) {
	at := place(filepath.Join(t.TempDir(), "testbed"))
	lock, err := at.lock()
	require.NoError(t, err)
	_, err = at.lock()
	require.ErrorIs(t, err, errHeld)
	lock.Close()

	// A lock on a file that was removed keeps nobody out, and is not kept.
	lock, err = at.lock()
	require.NoError(t, err)
	require.NoError(t, os.Remove(at.lockFile()))
	other, err := at.lock()
	require.NoError(t, err)
	other.Close()
	lock.Close()

	// What a dead process says of itself is not believed, and nobody else is
	// signalled in its place.
	require.NoError(t, at.write(&state{PID: os.Getpid(), Ready: true}))
	what, err := end(t.Context(), at)
	require.NoError(t, err)
	require.Equal(t, "the test bed had died; what it left is gone", what)
	require.NoDirExists(t, string(at))
}
