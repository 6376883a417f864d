package portforward

import (
	"errors"
	"fmt"
	"strings"
)

// What can go wrong. Every [*Error] wraps one of them.
var (
	ErrForbidden    = errors.New("no permission for pods/portforward")
	ErrUnauthorized = errors.New("not authenticated")
	ErrNoPod        = errors.New("there is no such pod")
	// ErrNotRunning: its node does not run the pod, or its containers have ended.
	ErrNotRunning = errors.New("the pod does not run")
	// ErrNoPort: the pod runs, and nothing listens there.
	ErrNoPort      = errors.New("nothing listens on the port")
	ErrThrottled   = errors.New("the API server asks to come back later")
	ErrServer      = errors.New("the API server or the pod's node failed")
	ErrUnreachable = errors.New("the API server cannot be reached")
	ErrTimeout     = errors.New("no answer in time")
	// ErrForward: the node gave another reason, in Message.
	ErrForward = errors.New("the connection into the pod failed")
)

// Error is a connection that did not come about, or broke.
type Error struct {
	Op      string // "port-forward to pod emojivoto/web-0"
	Status  int    // HTTP status, 0 where there was no answer
	Message string // the server's or node's own words, or the transport's
	Kind    error  // one of the Err values
}

// Error says what was done, what kind of failure it was, and the details.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.Error()
	if e.Status >= 300 {
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// gone reports whether a node says that what it was to connect to has ended.
// Words of the kubelet, containerd and CRI-O.
func gone(message string) bool {
	m := strings.ToLower(message)
	for _, words := range []string{"not running", "not found", "does not exist", "no such container", "network namespace", "netns"} {
		if strings.Contains(m, words) {
			return true
		}
	}
	return false
}

// forwardError words what came on an error stream.
func forwardError(op, message string) *Error {
	e := &Error{Op: op, Kind: ErrForward, Message: clip(message)}
	switch {
	case strings.Contains(strings.ToLower(message), "connection refused"):
		e.Kind = ErrNoPort // it stands inside "network namespace", too
	case gone(message):
		e.Kind = ErrNotRunning
	}
	return e
}

// clip keeps a stranger's words short and from steering a terminal.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(s), "?"))
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "..."
	}
	return s
}
