package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDemoShowsWhoTrustsWhom(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out bytes.Buffer
	require.NoError(t, run(&out, time.Now()))

	rows := regexp.MustCompile(`(?m)^ +leaf, (I|I, X) +(proxy|identity) +(ok|no) +(ok|no) +(ok|no)$`).FindAllStringSubmatch(out.String(), -1)
	require.Len(t, rows, 4, out.String())
	for _, r := range rows {
		underO := "no"
		if r[1] == "I, X" {
			underO = "ok"
		}
		require.Equal(t, []string{underO, "ok", "ok"}, r[3:], r[0])
	}
	require.NotContains(t, out.String(), "PRIVATE KEY")
	require.NotContains(t, out.String(), temp, "the demo names its own directory")

	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left, "the demo leaves nothing behind")
}

func TestDemoFailsWhereACommandFails(t *testing.T) {
	var out bytes.Buffer
	d := &demo{out: &out, dir: t.TempDir(), now: time.Now()}
	d.windlass("bundle", "show", "old-cluster.yaml")
	require.ErrorContains(t, d.err, "exit code 1, not 0")
	before := out.Len()
	d.say("more")
	d.windlass("version")
	require.Equal(t, before, out.Len(), "nothing happens after a failure")
}
