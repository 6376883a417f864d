package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

func serve(t *testing.T, o Options, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := NewClient(&rest.Config{Host: server.URL}, o)
	require.NoError(t, err)
	return c
}

func TestWaitsAsTheServerAsks(t *testing.T) {
	var waits []time.Duration
	calls := 0
	c := serve(t, Options{Wait: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }}, func(w http.ResponseWriter, _ *http.Request) {
		switch calls++; calls {
		case 1:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte(`{"metadata":{"name":"x"}}`))
		}
	})
	var o Object
	require.NoError(t, c.Get(t.Context(), ConfigMaps, "ns", "x", &o))
	assert.Equal(t, "x", o.Metadata.Name)
	assert.Equal(t, []time.Duration{2 * time.Second, maxRetryAfter}, waits)
	assert.EqualValues(t, 3, c.Stats().Requests)
}

func TestAListTooOldToContinueBeginsAnew(t *testing.T) {
	calls, restarts := 0, 0
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		calls++
		switch {
		case r.URL.Query().Get("continue") == "":
			_, _ = w.Write([]byte(`{"metadata":{"continue":"c"},"items":[{"n":1}]}`))
		case calls == 2:
			w.WriteHeader(http.StatusGone)
			_, _ = w.Write([]byte(`{"kind":"Status","message":"too old"}`))
		default:
			_, _ = w.Write([]byte(`{"metadata":{},"items":[{"n":2}]}`))
		}
	})
	var got []string
	err := c.ListJSON(t.Context(), Services, ListOptions{}, func() { got = nil; restarts++ }, func(raw json.RawMessage) error {
		got = append(got, string(raw))
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{`{"n":1}`, `{"n":2}`}, got)
	assert.Equal(t, 1, restarts)

	c = serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continue") != "" {
			w.WriteHeader(http.StatusGone)
			return
		}
		_, _ = w.Write([]byte(`{"metadata":{"continue":"c"},"items":[]}`))
	})
	err = c.ListJSON(t.Context(), Services, ListOptions{}, func() {}, func(json.RawMessage) error { return nil })
	assert.ErrorIs(t, err, ErrExpired, "but not for ever")
}

func TestFailuresAreToldApart(t *testing.T) {
	for status, want := range map[int]error{
		301: ErrRedirect, 400: ErrInvalid, 401: ErrUnauthorized, 403: ErrForbidden, 404: ErrNotFound, 409: ErrConflict,
		410: ErrExpired, 418: ErrNotAnAPI, 422: ErrInvalid, 429: ErrThrottled, 500: ErrServer, 503: ErrServer, 504: ErrTimeout,
	} {
		c := serve(t, Options{Attempts: 1}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"kind":"Status","message":"why \u001b[31m` + strings.Repeat("x", 1000) + `"}`))
		})
		var o Object
		err := c.Get(t.Context(), Secrets, "ns", "x", &o)
		require.ErrorIs(t, err, want, "%d", status)
		assert.Contains(t, err.Error(), "get secrets ns/x: ")
		assert.NotContains(t, err.Error(), "\x1b")
		assert.Less(t, len(err.Error()), 500)
		var api *APIError
		require.ErrorAs(t, err, &api)
		assert.Equal(t, status, api.Status)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c := serve(t, Options{MaxBytes: 1000}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"x":"` + strings.Repeat("x", 2000) + `"}`))
	})
	var o Object
	assert.ErrorIs(t, c.Get(t.Context(), Secrets, "ns", "x", &o), ErrTooLarge)
	err := c.List(t.Context(), Pods, ListOptions{}, func() {}, func([]byte) error { return nil })
	assert.ErrorIs(t, err, ErrNotAnAPI, "JSON where protobuf was asked for")
	cut := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"x":`))
	})
	assert.ErrorIs(t, cut.Get(t.Context(), Secrets, "ns", "x", &o), ErrUnreachable)
}

func TestCancellingIsNoFinding(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	var o Object
	err := c.Get(ctx, Secrets, "ns", "x", &o)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, CodeInterrupted, CodeOf(err))
	assert.NotErrorIs(t, err, ErrUnreachable)
}

func TestContextsOfAKubeconfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(`apiVersion: v1
kind: Config
current-context: a
contexts:
- {name: a, context: {cluster: a, user: u}}
- {name: b, context: {cluster: b, user: u}}
clusters:
- {name: a, cluster: {server: "https://a.example.com"}}
- {name: b, cluster: {server: "https://b.example.com"}}
users:
- {name: u, user: {token: t}}
`), 0o600))
	k := Kubeconfig{Path: file}
	names, current, err := k.Contexts()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"a", "b"}, names)
	assert.Equal(t, "a", current)
	for context, host := range map[string]string{"": "https://a.example.com", "b": "https://b.example.com"} {
		config, err := k.Config(context)
		require.NoError(t, err)
		assert.Equal(t, host, config.Host)
	}
	_, err = k.Config("c")
	assert.ErrorIs(t, err, ErrNoContext)
	_, _, err = Kubeconfig{Path: file + "x"}.Contexts()
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestIdentityIsKnownByEitherHalf(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "kube-system") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"metadata":{"uid":"s"}}`))
	})
	id, err := ReadIdentity(t.Context(), c)
	assert.Equal(t, Identity{ServiceUID: "s"}, id)
	assert.ErrorIs(t, err, ErrForbidden)
	assert.True(t, id.Same(Identity{UID: "x", ServiceUID: "s"}))
	assert.False(t, id.Same(Identity{UID: "x"}))
	assert.False(t, Identity{}.Same(Identity{}))

	f := &Fleet{Surveys: []*Survey{{Name: "a", Identity: Identity{UID: "1"}}, {Name: "b", Identity: Identity{UID: "2"}}, {Name: "c", Identity: Identity{UID: "1"}}, {Name: "d"}, {Name: "e"}}}
	require.Len(t, f.Twice(), 1)
	assert.Equal(t, "c", f.Twice()[0].Name)
}

func TestWhenAFieldChangedIsReadFromItsManagers(t *testing.T) {
	at := func(h int) *time.Time { x := time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC); return &x }
	entry := func(when *time.Time, fields string) ManagedFields {
		return ManagedFields{Time: when, FieldsV1: json.RawMessage(fields)}
	}
	m := ObjectMeta{ManagedFields: []ManagedFields{
		entry(at(1), `{"f:data":{".":{},"f:a":{}}}`), entry(at(3), `{"f:data":{"f:a":{}}}`), entry(at(5), `{"f:metadata":{}}`), entry(at(6), `not JSON`), entry(at(7), `{"f:data":{"f:b":{}}}`),
	}}
	got, ok := m.ChangedAt("data", "a")
	assert.True(t, ok)
	assert.Equal(t, *at(3), got)
	_, ok = m.ChangedAt("data", "c")
	assert.False(t, ok)
	m.ManagedFields[1].Time = nil
	_, ok = m.ChangedAt("data", "a")
	assert.False(t, ok, "one without a time leaves it open")
	_, ok = ObjectMeta{}.ChangedAt("data", "a")
	assert.False(t, ok)
}

func TestAFieldIsOriginalWhereItsOneWriteIsTheCreation(t *testing.T) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	entry := func(manager string, after time.Duration, fields string) ManagedFields {
		when := created.Add(after)
		return ManagedFields{Manager: manager, Time: &when, FieldsV1: json.RawMessage(fields)}
	}
	const data, labels = `{"f:data":{"f:a":{}}}`, `{"f:metadata":{"f:labels":{}}}`
	for name, c := range map[string]struct {
		entries []ManagedFields
		want    bool
	}{
		"created":                         {[]ManagedFields{entry("helm", 0, data)}, true},
		"created at the turn of a second": {[]ManagedFields{entry("helm", -time.Second, data)}, true},
		"something else changed":          {[]ManagedFields{entry("helm", 0, data), entry("x", time.Hour, labels)}, true},
		"written again":                   {[]ManagedFields{entry("helm", time.Second, data)}, false},
		"written by another":              {[]ManagedFields{entry("helm", 0, data), entry("x", time.Hour, data)}, false},
		"with a stamp from elsewhere":     {[]ManagedFields{entry("helm", -time.Hour, data)}, false},
		"with writers put together":       {[]ManagedFields{entry("ancient-changes", 0, data)}, false},
		"without a stamp":                 {[]ManagedFields{{Manager: "helm", FieldsV1: json.RawMessage(data)}}, false},
		"without managers":                {nil, false},
	} {
		assert.Equal(t, c.want, ObjectMeta{CreationTimestamp: created, ManagedFields: c.entries}.Original("data", "a"), name)
	}
	assert.False(t, ObjectMeta{ManagedFields: []ManagedFields{entry("helm", 0, data)}}.Original("data", "a"))
}

func TestTrustSetsAreEqualWhereProxiesTakeTheSame(t *testing.T) {
	pem := func(names ...string) (out string) {
		for _, n := range names {
			b, err := os.ReadFile(filepath.Join("..", "internal", "layout", "testdata", "certs", n+".pem"))
			require.NoError(t, err)
			out += string(b)
		}
		return out
	}
	var texts Texts
	a := texts.TrustSet(pem("root", "root2"), "2.18")
	assert.Same(t, a, texts.TrustSet(pem("root", "root2"), "stable-2.18.3"))
	b := texts.TrustSet("# turned\n"+pem("root2", "root"), "unheard-of")
	assert.Equal(t, a.ID, b.ID)
	assert.NotEqual(t, a.ID, texts.TrustSet(pem("root"), "2.18").ID)
	assert.NotEqual(t, a.ID, texts.TrustSet(pem("root", "root2", "root"), "2.18").ID, "one that stands twice costs twice")
	assert.NoError(t, a.Err)
	blank := texts.TrustSet(pem("root", "root2")+"\n", "2.18")
	assert.Error(t, blank.Err, "the program in front of the proxy fails on a blank line at the end")
	assert.NotEqual(t, a.ID, blank.ID)
	assert.Len(t, RulesOf("unheard-of"), len(RulesOf("")))
	assert.Len(t, RulesOf("edge-26.8.3"), 1)
}

func TestPatchNeedsTheStateThatWasRead(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	err := c.Patch(t.Context(), ConfigMaps, ObjectRef{Name: "x", UID: "u"}, nil, PatchOptions{}, nil)
	require.Error(t, err)
	assert.EqualValues(t, 0, c.Stats().Requests)
	err = c.Patch(t.Context(), ConfigMaps, ObjectRef{Name: "x", UID: "u", ResourceVersion: "1"}, nil, PatchOptions{}, nil)
	require.ErrorIs(t, err, ErrServer)
	assert.EqualValues(t, 1, c.Stats().Requests, "a write is sent once")
	assert.False(t, errors.Is(err, ErrConflict))
	assert.Equal(t, "/data/a~1b~0c", Pointer("data", "a/b~c"))
}
