package linkerdtest

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
	"time"
)

// Object is the data of a ConfigMap or a Secret, as the API holds it and as
// kubelets come to see it: with its history, since each reader lags behind by
// its own time. It is safe for concurrent use.
type Object struct {
	clock Clock

	mu       sync.Mutex
	versions []version
	mounts   map[*Mount]struct{}
}

type version struct {
	at   time.Time
	data map[string][]byte
}

// NewObject returns an object that the API does not hold yet.
func NewObject(clock Clock) *Object {
	return &Object{clock: clock, mounts: make(map[*Mount]struct{})}
}

// Write replaces the data. Nil means that the object was deleted: what has seen
// it before goes on seeing what it saw, as a mounted volume does.
func (o *Object) Write(data map[string][]byte) {
	clone := maps.Clone(data)
	for k, v := range clone {
		clone[k] = slices.Clone(v)
	}
	o.mu.Lock()
	o.versions = append(o.versions, version{o.clock.Now(), clone})
	mounts := slices.Collect(maps.Keys(o.mounts))
	o.mu.Unlock()
	for _, m := range mounts {
		m.schedule()
	}
}

// Read returns what the API holds, nil if there is no such object. The caller
// must not change it.
func (o *Object) Read() map[string][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.versions) == 0 {
		return nil
	}
	return o.versions[len(o.versions)-1].data
}

// At returns what a reader sees that lags behind by that much, nil if it has
// never seen the object. The first version is seen at once: a pod does not start
// before the kubelet has what it mounts.
func (o *Object) At(lag time.Duration) map[string][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := o.visible(lag); i >= 0 {
		return o.versions[i].data
	}
	return nil
}

// visible returns the index of the latest version with data that is seen at that
// lag, or -1. The lock is held.
func (o *Object) visible(lag time.Duration) int {
	now, first := o.clock.Now(), -1
	for i := len(o.versions) - 1; i >= 0; i-- {
		v := o.versions[i]
		if v.data == nil {
			continue
		}
		if !v.at.Add(lag).After(now) {
			return i
		}
		first = i
	}
	return first
}

// Mount shows the object in a directory of a container, lagging behind by lag
// from now on. The container may read it as files and watch it.
func (o *Object) Mount(dir string, lag time.Duration) *Mount {
	m := &Mount{object: o, dir: dir, lag: lag}
	o.mu.Lock()
	defer o.mu.Unlock()
	m.shown = o.visible(lag)
	o.mounts[m] = struct{}{}
	for i := m.shown + 1; i < len(o.versions); i++ {
		m.refreshAt(o.versions[i].at.Add(lag))
	}
	return m
}

// Mount is a ConfigMap or Secret in a container: the files change together (the
// kubelet swaps the symbolic link ..data), some time after the object did.
type Mount struct {
	object *Object
	dir    string

	// Guarded by object.mu.
	watch  func() // called when the files have changed
	lag    time.Duration
	shown  int // the version that the files are
	closed bool
}

// ReadFile returns the content of a file in the mounted directory.
func (m *Mount) ReadFile(name string) ([]byte, error) {
	m.object.mu.Lock()
	defer m.object.mu.Unlock()
	if m.shown >= 0 {
		if b, ok := m.object.versions[m.shown].data[name]; ok {
			return b, nil
		}
	}
	// The text of package os for a file that is not there.
	return nil, fmt.Errorf("open %s: no such file or directory%w", path.Join(m.dir, name), hidden{fs.ErrNotExist})
}

// SetLag changes how far the files lag behind, for changes that are not shown
// yet too. A very long time makes a reader that is stuck.
func (m *Mount) SetLag(lag time.Duration) {
	m.object.mu.Lock()
	m.lag = max(lag, 0)
	m.object.mu.Unlock()
	m.schedule()
}

// Close ends the mount with its container.
func (m *Mount) Close() {
	m.object.mu.Lock()
	defer m.object.mu.Unlock()
	m.closed = true
	delete(m.object.mounts, m)
}

// Watch has f called whenever the files have changed.
func (m *Mount) Watch(f func()) {
	m.object.mu.Lock()
	defer m.object.mu.Unlock()
	m.watch = f
}

// schedule sees to it that every version is shown when it is due.
func (m *Mount) schedule() {
	m.object.mu.Lock()
	now := m.object.clock.Now()
	for i := m.shown + 1; i < len(m.object.versions); i++ {
		if due := m.object.versions[i].at.Add(m.lag); due.After(now) {
			m.refreshAt(due)
		}
	}
	m.object.mu.Unlock()
	m.refresh()
}

func (m *Mount) refreshAt(at time.Time) {
	m.object.clock.AfterFunc(at.Sub(m.object.clock.Now()), m.refresh)
}

// refresh shows the latest version that is due and tells the watch.
func (m *Mount) refresh() {
	m.object.mu.Lock()
	i := m.object.visible(m.lag)
	if m.closed || i <= m.shown {
		m.object.mu.Unlock()
		return
	}
	m.shown = i
	tell := m.watch
	m.object.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// hidden adds an error to a chain without adding to its text.
type hidden struct{ error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.error }
