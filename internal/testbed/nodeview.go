package testbed

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// NodeView is what a node knows of the ConfigMaps and Secrets that its pods use.
// A kubelet does not see a change at once: it learns of it through a watch, and
// writes it into volumes when it next comes round to the pod, about a minute
// later. Whoever rotates trust must bear with that, so a test can set how far a
// view lags behind:
//
//	view.SetLag(ctx, time.Minute)   // each change arrives after a minute
//	view.Hold(ctx)                  // nothing arrives ...
//	view.Deliver(ctx)               // ... until told, then all there is
//	view.Release()                  // always current again, the default
//
// What no pod on the node used so far is read afresh whatever the lag, as a
// kubelet does when a pod comes that refers to it.
type NodeView struct {
	client kubernetes.Interface
	// notify tells the containers that use an object of a change.
	notify func(pods []types.UID)

	mu   sync.Mutex
	held bool
	lag  time.Duration
	used map[objectKey]*usedObject
	// era tells deliveries that were under way when the mode changed.
	era int
}

type objectKey struct{ kind, namespace, name string }

func (k objectKey) String() string { return fmt.Sprintf("%s %s/%s", k.kind, k.namespace, k.name) }

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

type usedObject struct {
	pods map[types.UID]bool
	// known is what the node has; unset while the view is current, when every
	// look goes to the API server.
	known *content
}

// content is the data of a ConfigMap or Secret; nil data means it is not there.
type content struct{ data map[string][]byte }

func newNodeView(client kubernetes.Interface, notify func([]types.UID)) *NodeView {
	return &NodeView{client: client, notify: notify, used: make(map[objectKey]*usedObject)}
}

// SetLag has every change from now on arrive d after it was made. Zero is the
// same as Release.
func (v *NodeView) SetLag(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		v.Release()
		return nil
	}
	return v.freeze(ctx, false, d)
}

// Hold keeps the view at what there is now until Deliver or Release.
func (v *NodeView) Hold(ctx context.Context) error { return v.freeze(ctx, true, 0) }

// Deliver brings the view up to date now; held changes arrive, and those made
// later are held again.
func (v *NodeView) Deliver(ctx context.Context) error {
	v.mu.Lock()
	held, lag := v.held, v.lag
	v.mu.Unlock()
	if !held && lag == 0 {
		return nil // always current
	}
	return v.freeze(ctx, held, lag)
}

// Release makes the view current, and keeps it so.
func (v *NodeView) Release() {
	v.mu.Lock()
	v.held, v.lag = false, 0
	v.era++
	var pods []types.UID
	for _, u := range v.used {
		u.known = nil
		pods = append(pods, u.users()...)
	}
	v.mu.Unlock()
	v.notify(pods)
}

// freeze reads all objects in use and sets how later changes arrive.
func (v *NodeView) freeze(ctx context.Context, held bool, lag time.Duration) error {
	v.mu.Lock()
	v.held, v.lag = held, lag
	v.era++
	keys := make([]objectKey, 0, len(v.used))
	for key := range v.used {
		keys = append(keys, key)
	}
	v.mu.Unlock()
	var pods []types.UID
	for _, key := range keys {
		now, err := v.fetch(ctx, key)
		if err != nil {
			return err
		}
		v.mu.Lock()
		if u := v.used[key]; u != nil {
			u.known = now
			pods = append(pods, u.users()...)
		}
		v.mu.Unlock()
	}
	v.notify(pods)
	return nil
}

// read returns an object's data as the node knows it; ok is false where there
// is no such object.
func (v *NodeView) read(ctx context.Context, key objectKey) (data map[string][]byte, ok bool, err error) {
	v.mu.Lock()
	u, current := v.used[key], !v.held && v.lag == 0
	if !current && u != nil && u.known != nil {
		defer v.mu.Unlock()
		return u.known.data, u.known.data != nil, nil
	}
	v.mu.Unlock()
	now, err := v.fetch(ctx, key)
	if err != nil {
		return nil, false, err
	}
	// What is not there is asked for again: kubelets retry, too.
	if !current && u != nil && now.data != nil {
		v.mu.Lock()
		if u.known == nil {
			u.known = now
		}
		now = u.known
		v.mu.Unlock()
	}
	return now.data, now.data != nil, nil
}

func (v *NodeView) fetch(ctx context.Context, key objectKey) (*content, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	switch key.kind {
	case kindConfigMap:
		cm, e := v.client.CoreV1().ConfigMaps(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
		if e == nil {
			return &content{configMapData(cm)}, nil
		}
		err = e
	case kindSecret:
		s, e := v.client.CoreV1().Secrets(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
		if e == nil {
			return &content{secretData(s)}, nil
		}
		err = e
	}
	if apierrors.IsNotFound(err) {
		return &content{}, nil
	}
	return nil, err
}

// use and unuse keep which pods of the node refer to what: a node forgets an
// object when the last pod that used it is gone.
func (v *NodeView) use(pod types.UID, keys []objectKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, key := range keys {
		u := v.used[key]
		if u == nil {
			u = &usedObject{pods: make(map[types.UID]bool)}
			v.used[key] = u
		}
		u.pods[pod] = true
	}
}

func (v *NodeView) unuse(pod types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, u := range v.used {
		if delete(u.pods, pod); len(u.pods) == 0 {
			delete(v.used, key)
		}
	}
}

// observe takes note of a change; nil data means that the object is gone.
func (v *NodeView) observe(key objectKey, data map[string][]byte) {
	v.mu.Lock()
	u := v.used[key]
	if u == nil || v.held {
		v.mu.Unlock()
		return
	}
	pods, lag, era := u.users(), v.lag, v.era
	v.mu.Unlock()
	if lag == 0 {
		v.notify(pods)
		return
	}
	time.AfterFunc(lag, func() {
		v.mu.Lock()
		u := v.used[key]
		if u == nil || v.era != era {
			v.mu.Unlock()
			return
		}
		u.known = &content{data}
		pods := u.users()
		v.mu.Unlock()
		v.notify(pods)
	})
}

// users needs the view's lock.
func (u *usedObject) users() []types.UID {
	out := make([]types.UID, 0, len(u.pods))
	for uid := range u.pods {
		out = append(out, uid)
	}
	return out
}
