package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// pollEvery is how often the command looks whether the holder is done.
const pollEvery = 50 * time.Millisecond

// start returns the bed that runs, and starts one if none does: fresh is true
// then.
func start(ctx context.Context, at place, args []string, log io.Writer) (_ *state, fresh bool, err error) {
	for {
		lock, err := at.lock()
		if err == nil {
			st, err := launch(ctx, at, lock, args, log)
			return st, true, err
		}
		if !errors.Is(err, errHeld) {
			return nil, false, err
		}
		// It runs, starts or ends: whatever it is gets clear before long.
		if st, err := at.read(); err == nil && st.Ready && syscall.Kill(st.PID, 0) == nil {
			return st, false, nil
		}
		if err := pause(ctx); err != nil {
			return nil, false, err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pollEvery):
		return nil
	}
}

// launch starts the holder and waits until the bed is ready.
func launch(ctx context.Context, at place, lock *os.File, args []string, log io.Writer) (*state, error) {
	defer lock.Close()
	if err := tidy(ctx, at); err != nil { // after one that died
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(at.logFile(), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	holder := exec.Command(self, append([]string{"-serve"}, args...)...)
	holder.Stdout, holder.Stderr = out, out
	holder.ExtraFiles = []*os.File{lock}
	// A session of its own: no terminal, and so no signals from one.
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("start the holder: %w", err)
	}
	died := make(chan error, 1)
	go func() { died <- holder.Wait() }()
	for shown := int64(0); ; {
		shown += show(out, shown, log)
		if st, err := at.read(); err == nil && st.Ready {
			return st, nil
		}
		select {
		case err := <-died:
			show(out, shown, log)
			return nil, errors.Join(fmt.Errorf("the bed did not get ready: %w", err), tidy(ctx, at))
		case <-ctx.Done():
			_ = holder.Process.Signal(syscall.SIGTERM) // it may have ended by itself
			<-died
			return nil, errors.Join(context.Cause(ctx), tidy(context.WithoutCancel(ctx), at))
		case <-time.After(pollEvery):
		}
	}
}

// show copies what a log says beyond what was shown of it, in whole lines.
func show(from io.ReaderAt, shown int64, to io.Writer) int64 {
	b, err := io.ReadAll(io.NewSectionReader(from, shown, 1<<20))
	if err != nil {
		return 0 // there is more of it next time
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	_, _ = to.Write(b)
	return int64(len(b))
}
