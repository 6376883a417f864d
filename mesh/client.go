package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/windlass-mesh/windlass/mesh/internal/wire"
)

// Options tune a [Client]. The zero value works.
type Options struct {
	// Timeout bounds one request, its answer included. Default 30 s.
	Timeout time.Duration
	// PageSize is how many items are asked for at once. Default 500, as kubectl.
	PageSize int
	// MaxBytes bounds one answer, one page of a list. Default 256 MiB: a page of
	// the largest pods that etcd takes is not expected, but possible.
	MaxBytes int64
	// Compress asks for gzip, which makes lists of pods some twenty times smaller.
	// It is off by default: unpacking costs as much CPU as the shorter way through
	// TLS saves, and packing costs the server a third more at least (make soak).
	// Worth it on slow lines.
	Compress bool
	// Attempts is how often a reading request is tried when the server answers
	// 429 or 5xx. Default 3.
	Attempts int
	// Wait waits before another attempt; tests replace it. By default it sleeps.
	Wait func(ctx context.Context, d time.Duration) error
	// UserAgent is what audit logs will show. Default "windlass".
	UserAgent string
}

// maxRetryAfter bounds what a server may ask for: who wants longer is down.
const maxRetryAfter = 10 * time.Second

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.PageSize <= 0 {
		o.PageSize = 500
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Attempts <= 0 {
		o.Attempts = 3
	}
	if o.UserAgent == "" {
		o.UserAgent = "windlass"
	}
	if o.Wait == nil {
		o.Wait = func(ctx context.Context, d time.Duration) error {
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-t.C:
				return nil
			}
		}
	}
	return o
}

// Client speaks to one API server. It is safe for concurrent use.
type Client struct {
	http   *http.Client
	base   *url.URL
	opts   Options
	config *rest.Config

	requests, bytes atomic.Int64
	serverTime      atomic.Int64 // unix seconds of the last Date header
}

// NewClient makes a client of a configuration from a kubeconfig or a pod. It
// opens no connection.
func NewClient(config *rest.Config, opts Options) (*Client, error) {
	opts = opts.withDefaults()
	config = rest.CopyConfig(config)
	config.DisableCompression = !opts.Compress
	// Requests come one after the other, and pages of pods are megabytes: HTTP/2
	// would cut them into frames of 16 KiB, hand each from one goroutine to
	// another and answer it with window updates, which is a third of the CPU that
	// a survey takes (make soak).
	config.NextProtos = []string{"http/1.1"}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", base.Host, err)
	}
	own := *h
	own.Timeout = 0 // each request has its own
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{http: &own, base: base, opts: opts, config: config}, nil
}

// Config returns what the client connects with, its credentials included.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Server returns the address of the API server.
func (c *Client) Server() string { return c.base.String() }

// Stats is what a client has cost so far.
type Stats struct {
	Requests int64
	Bytes    int64 // read from answers, after decompression
}

// Stats returns what the client has cost so far.
func (c *Client) Stats() Stats { return Stats{c.requests.Load(), c.bytes.Load()} }

// ServerTime returns the server's clock as its last answer gave it, to the
// second, and the zero time before the first.
func (c *Client) ServerTime() time.Time {
	if s := c.serverTime.Load(); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// CloseIdle closes the connections that are not in use.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

const jsonType = "application/json"

// Get reads one object, as JSON, into the value given.
func (c *Client) Get(ctx context.Context, r Resource, namespace, name string, into any) error {
	op := "get " + r.describe(namespace, name)
	return c.do(ctx, request{op: op, method: http.MethodGet, path: r.Path(namespace, name), accept: jsonType}, decodeJSON(into))
}

// GetPath reads whatever JSON stands at a path, such as the discovery document
// of an API group.
func (c *Client) GetPath(ctx context.Context, path string, into any) error {
	return c.do(ctx, request{op: "get " + path, method: http.MethodGet, path: path, accept: jsonType}, decodeJSON(into))
}

// PatchOp is one operation of a JSON patch (RFC 6902).
type PatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Pointer makes a JSON pointer of keys.
func Pointer(keys ...string) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k))
	}
	return b.String()
}

// PatchOptions tune a patch.
type PatchOptions struct {
	DryRun bool // the server judges it and keeps nothing
}

// Patch changes one object, if it still is the one and in the state that the
// reference says: another UID or resourceVersion is ErrConflict. What the
// operations do not name stays as it is. The object as it is then goes into
// into, unless that is nil. A patch is sent once: whether one that got no answer
// took effect has to be read.
func (c *Client) Patch(ctx context.Context, r Resource, ref ObjectRef, ops []PatchOp, o PatchOptions, into any) error {
	op := "patch " + r.describe(ref.Namespace, ref.Name)
	if ref.UID == "" || ref.ResourceVersion == "" {
		return fmt.Errorf("%s: without the UID and resourceVersion that were read", op)
	}
	all := append([]PatchOp{
		// Replacing these makes the server compare them. A failed "test" would be
		// refused without a word on what failed.
		{"replace", "/metadata/resourceVersion", ref.ResourceVersion},
		{"replace", "/metadata/uid", ref.UID},
	}, ops...)
	body, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	q := url.Values{"fieldManager": {c.opts.UserAgent}}
	if o.DryRun {
		q.Set("dryRun", "All")
	}
	if into == nil {
		into = &struct{}{}
	}
	err = c.do(ctx, request{op: op, method: http.MethodPatch, path: r.Path(ref.Namespace, ref.Name), query: q,
		accept: jsonType, contentType: "application/json-patch+json", body: body}, decodeJSON(into))
	var api *APIError
	if errors.As(err, &api) && errors.Is(err, ErrInvalid) && strings.Contains(api.Message, "metadata.uid") {
		api.Kind = ErrConflict // it is another object by the same name
	}
	return err
}

// ListOptions narrow a list.
type ListOptions struct {
	Namespace       string // "" for all
	Labels, Fields  string // selectors
	MetadataOnly    bool   // items carry their metadata and nothing else
	ResourceVersion string
}

// List reads all items of a list page by page as protobuf, and calls item with
// the bytes of each, valid only during the call. Where a list grows too old to
// be continued it begins anew, after a call of restart, which has to forget what
// was read so far.
func (c *Client) List(ctx context.Context, r Resource, o ListOptions, restart func(), item func([]byte) error) error {
	accept := wire.ContentType
	if o.MetadataOnly {
		accept += ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	}
	return c.pages(ctx, r, o, restart, accept, func(body io.Reader) (string, error) {
		meta, err := wire.ReadList(body, item)
		return meta.Continue, err
	})
}

// ListJSON is [Client.List] for kinds that know no protobuf, which custom
// resources are.
func (c *Client) ListJSON(ctx context.Context, r Resource, o ListOptions, restart func(), item func(json.RawMessage) error) error {
	accept := jsonType
	if o.MetadataOnly {
		accept += ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	}
	return c.pages(ctx, r, o, restart, accept, func(body io.Reader) (string, error) {
		var list struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []json.RawMessage `json:"items"`
		}
		if err := decodeJSON(&list)(body); err != nil {
			return "", err
		}
		for _, i := range list.Items {
			if err := item(i); err != nil {
				return "", err
			}
		}
		return list.Metadata.Continue, nil
	})
}

// maxRestarts bounds how often a list is begun anew.
const maxRestarts = 2

func (c *Client) pages(ctx context.Context, r Resource, o ListOptions, restart func(), accept string, read func(io.Reader) (string, error)) error {
	op := "list " + r.describe(o.Namespace, "")
	restarts, next := 0, ""
	for {
		q := url.Values{"limit": {strconv.Itoa(c.opts.PageSize)}}
		for k, v := range map[string]string{"labelSelector": o.Labels, "fieldSelector": o.Fields, "continue": next} {
			if v != "" {
				q.Set(k, v)
			}
		}
		var token string
		err := c.do(ctx, request{op: op, method: http.MethodGet, path: r.Path(o.Namespace, ""), query: q, accept: accept}, func(body io.Reader) (err error) {
			token, err = read(body)
			return err
		})
		switch {
		case errors.Is(err, ErrExpired) && restarts < maxRestarts:
			restarts++
			next = ""
			restart()
			continue
		case err != nil:
			return err
		case token == "":
			return nil
		}
		next = token
	}
}

// request is one request, tried as often as it takes.
type request struct {
	op, method, path, accept, contentType string
	query                                 url.Values
	body                                  []byte
}

func (c *Client) do(ctx context.Context, r request, read func(io.Reader) error) error {
	for attempt := 1; ; attempt++ {
		after, err := c.once(ctx, r, read)
		if err == nil || attempt >= c.opts.Attempts || r.method != http.MethodGet {
			return err
		}
		if !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrServer) {
			return err
		}
		if after <= 0 {
			after = time.Duration(1<<attempt) * 125 * time.Millisecond
		}
		if werr := c.opts.Wait(ctx, min(after, maxRetryAfter)); werr != nil {
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, r request, read func(io.Reader) error) (retryAfter time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + r.path
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.op, err)
	}
	req.Header.Set("Accept", r.accept)
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	c.requests.Add(1)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, transportError(ctx, r.op, err)
	}
	defer resp.Body.Close()
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.serverTime.Store(t.Unix())
	}
	body := &limited{r: resp.Body, left: c.opts.MaxBytes, count: &c.bytes}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return retryAfterOf(resp), statusError(r.op, resp.StatusCode, body)
	}
	if err := read(body); err != nil {
		var format *json.SyntaxError
		switch {
		case errors.Is(err, wire.ErrFormat), errors.As(err, &format):
			return 0, &APIError{Op: r.op, Status: resp.StatusCode, Kind: ErrNotAnAPI, Message: err.Error()}
		case body.err != nil || errors.Is(err, io.ErrUnexpectedEOF):
			return 0, transportError(ctx, r.op, err)
		}
		return 0, fmt.Errorf("%s: %w", r.op, err)
	}
	return 0, nil
}

func retryAfterOf(resp *http.Response) time.Duration {
	s, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(s) * time.Second
}

// statusError reads the metav1.Status that an API server explains itself with.
func statusError(op string, code int, body io.Reader) error {
	var status struct {
		Kind, Message string
	}
	text, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	message := ""
	if words, ok := wire.StatusMessage(text); ok {
		message = clip(words)
	} else if json.Unmarshal(text, &status) == nil && status.Kind == "Status" {
		message = clip(status.Message)
	}
	return &APIError{Op: op, Status: code, Kind: kindOf(code), Message: message}
}

// clip keeps a stranger's words short and from steering a terminal.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "..."
	}
	return s
}

func decodeJSON(into any) func(io.Reader) error {
	return func(r io.Reader) error {
		dec := json.NewDecoder(r)
		if err := dec.Decode(into); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		return nil
	}
}

// limited bounds an answer and counts it.
type limited struct {
	r     io.Reader
	left  int64
	count *atomic.Int64
	err   error
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		l.err = ErrTooLarge
		return 0, l.err
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	l.count.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}
