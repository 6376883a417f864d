package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// What a caller may want to act on. Every error of a [Client] wraps one of them
// where one fits.
var (
	ErrForbidden    = errors.New("no permission")
	ErrUnauthorized = errors.New("not authenticated")
	ErrNotFound     = errors.New("not found")
	ErrNoCRD        = errors.New("the cluster does not know this kind of object")
	ErrConflict     = errors.New("changed since it was read")
	ErrInvalid      = errors.New("refused as invalid")
	ErrThrottled    = errors.New("the API server asks to come back later")
	ErrServer       = errors.New("the API server failed")
	ErrExpired      = errors.New("the list is too old to be continued")
	ErrUnreachable  = errors.New("cannot be reached")
	ErrTimeout      = errors.New("no answer in time")
	ErrRedirect     = errors.New("the server redirects, which is not followed")
	ErrTooLarge     = errors.New("the answer is too large")
	ErrNotAnAPI     = errors.New("the answer is not one of an API server")
)

// APIError is a request that failed. It never holds credentials.
type APIError struct {
	Op      string // "list pods", "get configmaps linkerd/linkerd-config"
	Status  int    // HTTP status, 0 where there was no answer
	Message string // the server's own words, or the transport's
	Kind    error  // one of the Err values
}

// Error says what was done, what kind of failure it was, and the details.
func (e *APIError) Error() string {
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
func (e *APIError) Unwrap() error { return e.Kind }

func kindOf(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusConflict:
		return ErrConflict
	case status == http.StatusGone:
		return ErrExpired
	case status == http.StatusUnprocessableEntity, status == http.StatusBadRequest:
		return ErrInvalid
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case status == http.StatusGatewayTimeout:
		return ErrTimeout
	case status >= 300 && status < 400:
		return ErrRedirect
	case status >= 500:
		return ErrServer
	}
	return ErrNotAnAPI
}

// transportError words a request that got no answer.
func transportError(ctx context.Context, op string, err error) error {
	for _, ours := range []error{ErrTooLarge, ErrRedirect, ErrNotAnAPI} {
		if errors.Is(err, ours) {
			return &APIError{Op: op, Kind: ours, Message: afterKind(err, ours)}
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%s: %w", op, cause)
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return &APIError{Op: op, Kind: ErrTimeout}
	}
	var u *url.Error // it repeats the address with its query; what is in it says why
	if errors.As(err, &u) {
		err = u.Err
	}
	return &APIError{Op: op, Kind: ErrUnreachable, Message: err.Error()}
}

func afterKind(err, kind error) string {
	if _, after, ok := strings.Cut(err.Error(), kind.Error()+": "); ok {
		return after
	}
	return ""
}

// Code is the stable, machine-readable reason of an [Unknown].
type Code string

// Why something is unknown.
const (
	CodeForbidden     Code = "forbidden"      // the credentials may not read it
	CodeUnauthorized  Code = "unauthorized"   // the credentials are not accepted
	CodeUnreachable   Code = "unreachable"    // no connection
	CodeTimeout       Code = "timeout"        // no answer in time
	CodeThrottled     Code = "throttled"      // 429 until patience ended
	CodeServerError   Code = "server-error"   // 5xx, or an answer that makes no sense
	CodeNotFound      Code = "not-found"      // named, but not there
	CodeNoCRD         Code = "no-crd"         // the kind is not installed
	CodeNoLinkerd     Code = "no-linkerd"     // no control plane in the cluster
	CodeUnreadable    Code = "unreadable"     // read, but it does not parse
	CodeReference     Code = "reference"      // stands elsewhere, and that could not be followed
	CodeNotObserved   Code = "not-observed"   // nothing was asked that would have shown it
	CodeCredentials   Code = "credentials"    // the credentials of a Link were refused or are missing
	CodeNoProxy       Code = "no-proxy"       // a pod that says it is meshed has no proxy
	CodeOwner         Code = "owner"          // the owner of a pod is not to be seen
	CodeTwoInstalls   Code = "two-installs"   // more than one control plane
	CodeNoPlane       Code = "no-plane"       // pods name a control plane that is not there
	CodeFlag          Code = "flag"           // a process runs with a setting that does not parse
	CodeUnexplained   Code = "unexplained"    // in use, and no Link of the fleet explains it
	CodeDisagreement  Code = "disagreement"   // copies that should be equal are not
	CodeMissingCopy   Code = "missing-copy"   // a place that should hold anchors is not there
	CodeOutside       Code = "outside"        // belongs to something outside of the clusters
	CodeInterrupted   Code = "interrupted"    // the caller ended the survey
	CodeIdentityOff   Code = "identity-off"   // the control plane runs without identity
	CodeNotRunning    Code = "not-running"    // a proxy that was to be asked does not run, or ended meanwhile
	CodeHandshake     Code = "handshake"      // a proxy was reached, and showed no certificate
	CodeAddress       Code = "address"        // an address that is not dialed
	CodeAmbiguousTime Code = "ambiguous-time" // started too close to a change to know which side of it
)

// CodeOf returns the code for an error of a [Client].
func CodeOf(err error) Code {
	for _, c := range []struct {
		err  error
		code Code
	}{
		{ErrForbidden, CodeForbidden}, {ErrUnauthorized, CodeUnauthorized}, {ErrNoCRD, CodeNoCRD}, {ErrNotFound, CodeNotFound},
		{ErrUnreachable, CodeUnreachable}, {ErrTimeout, CodeTimeout}, {ErrThrottled, CodeThrottled},
		{context.Canceled, CodeInterrupted}, {context.DeadlineExceeded, CodeTimeout},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return CodeServerError
}

// Unknown is something that could not be seen. It counts as unsafe.
type Unknown struct {
	Code   Code
	About  string // what is unknown: "pods", "Secret linkerd/linkerd-identity-issuer"
	Reason string
	Err    error // nil where nothing failed
}

// String returns what is unknown and why.
func (u Unknown) String() string { return u.About + ": " + u.Reason }

// UnknownFrom makes an Unknown of an error.
func UnknownFrom(about string, err error) Unknown {
	return Unknown{Code: CodeOf(err), About: about, Reason: err.Error(), Err: err}
}
