package testbed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

// newEtcd describes the one etcd that holds all clusters of a bed, each under a
// prefix of its own. Etcd must be of the 3.6 line: with the older ones the
// controllers of Kubernetes 1.36 stall for want of progress notifications.
func newEtcd(dir, bin string, p *port) *Process {
	url := fmt.Sprintf("http://127.0.0.1:%d", p.number)
	// A name made up here tells our etcd from one that a dead run left behind.
	name := "etcd-" + strings.ToLower(rand.Text())
	return &Process{
		Name:    "etcd",
		LogFile: filepath.Join(dir, "etcd.log"),
		path:    filepath.Join(bin, binaries.Etcd),
		args: []string{
			"--name=" + name,
			"--data-dir=" + filepath.Join(dir, "etcd"),
			"--listen-client-urls=" + url,
			"--advertise-client-urls=" + url,
			"--listen-peer-urls=http://127.0.0.1:0",
			"--initial-advertise-peer-urls=http://127.0.0.1:0",
			"--initial-cluster=" + name + "=http://127.0.0.1:0",
			"--socket-reuse-port", // see port
			"--unsafe-no-fsync",   // nothing here has to survive the machine
			"--snapshot-count=10000",
			"--quota-backend-bytes=2147483648",
			"--log-level=warn",
		},
		ready: func(ctx context.Context) error { return etcdAnswers(ctx, url, name) },
	}
}

// etcdAnswers asks the member for its name: /health says nothing of who answers.
func etcdAnswers(ctx context.Context, url, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v3/cluster/member/list", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var list struct{ Members []struct{ Name string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return fmt.Errorf("list the members of etcd: %w", err)
	}
	if len(list.Members) != 1 || list.Members[0].Name != name {
		return fmt.Errorf("another etcd answers at %s: %v", url, list.Members)
	}
	return nil
}
