package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is one component of a bed: a program with its arguments, which can be
// stopped, started again and frozen. Its output goes to a file that survives
// restarts.
type Process struct {
	// Name says which component of which cluster it is.
	Name string
	// LogFile is where its output goes.
	LogFile string

	path string
	args []string
	env  []string
	// ready reports whether the process answers as itself.
	ready func(context.Context) error

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has been reaped
}

// errExited is the cause of a failed start when the process ended by itself.
var errExited = errors.New("the process has ended")

// starter runs functions on one operating system thread that lives as long as
// the program. The kernel delivers a parent death signal when the thread that
// forked ends, not the process: a child started from just any goroutine may be
// killed at any moment because the runtime retired a thread.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // and never unlocked
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts the process and returns when it answers. A process that runs is
// left alone.
func (p *Process) Start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return err
	}
	return p.awaitReady(ctx)
}

func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return nil
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
	return nil
}

// running needs p.mu.
func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// pollEvery is how often the bed looks again where nothing tells it of a change.
const pollEvery = 20 * time.Millisecond

func (p *Process) awaitReady(ctx context.Context) error {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	for {
		var err error
		if p.ready != nil {
			err = p.ready(ctx)
		}
		// In this order: an answer counts only from a process that lives.
		select {
		case <-exited:
			return fmt.Errorf("start %s: %w, its log ends:\n%s", p.Name, errExited, tail(p.LogFile, 2048))
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w (%w), its log ends:\n%s", p.Name, context.Cause(ctx), err, tail(p.LogFile, 2048))
		case <-exited:
		case <-time.After(pollEvery):
		}
	}
}

// PID is the process's id, 0 when it does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Stop asks the process to end and waits until it has. When ctx is done first
// the process is killed.
func (p *Process) Stop(ctx context.Context) error { return p.end(ctx, syscall.SIGTERM) }

// Kill ends the process at once, as a crash would, and returns when it is gone.
func (p *Process) Kill() { _ = p.end(context.Background(), syscall.SIGKILL) }

func (p *Process) end(ctx context.Context, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	// A frozen process takes notice of SIGTERM only when it runs.
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("stop %s: %w", p.Name, context.Cause(ctx))
	}
}

// Pause freezes the process: its connections stay open and nobody answers. It
// returns when that is so.
func (p *Process) Pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitFrozen(p.PID())
}

// Resume lets a frozen process go on.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("signal %s: %w", p.Name, errExited)
	}
	return p.cmd.Process.Signal(sig)
}

// tail returns the end of a file in whole lines, at most n bytes.
func tail(name string, n int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(0, info.Size()-n)
	b, _ := io.ReadAll(io.NewSectionReader(f, from, n))
	if from > 0 {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return b
}
