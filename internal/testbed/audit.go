package testbed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Call is one call to an API server, from its audit log. Calls are there as soon
// as they are answered; a watch is there when it ends.
type Call struct {
	// User is who called, and Impersonated as whom, if as another.
	User, Impersonated string
	UserAgent          string
	// Verb is get, list, watch, create, update, patch, delete or
	// deletecollection; a server-side apply is a patch.
	Verb string
	// Resource is in the plural. What is no resource has only a URI.
	Group, Resource, Subresource string
	Namespace, Name              string
	URI                          string
	// Code is the HTTP status of the answer.
	Code int
	// Time is when the call came in.
	Time time.Time
}

// Writes is true for a call that asks for a change.
func (c Call) Writes() bool {
	switch c.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

// String is the call in a few words: "patch deployments ns/name 200".
func (c Call) String() string {
	what := c.URI
	if c.Resource != "" {
		what = c.Resource
		if c.Group != "" {
			what += "." + c.Group
		}
		if c.Subresource != "" {
			what += "/" + c.Subresource
		}
		what += " " + c.Namespace + "/" + c.Name
	}
	return fmt.Sprintf("%s %s %d", c.Verb, what, c.Code)
}

// Mark is a moment in the audit log of a cluster; the zero Mark is its start.
type Mark struct{ offset int64 }

// AuditMark returns the present moment, so that later calls can be told from
// earlier ones.
func (c *Cluster) AuditMark() (Mark, error) {
	info, err := os.Stat(c.AuditLog())
	if errors.Is(err, os.ErrNotExist) {
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, err
	}
	return Mark{info.Size()}, nil
}

// Calls returns the calls since a mark for which match is true, in the order in
// which they were answered. Calls of the API server to itself and to its health
// endpoints are not recorded.
func (c *Cluster) Calls(since Mark, match func(Call) bool) ([]Call, error) {
	f, err := os.Open(c.AuditLog())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(since.offset, io.SeekStart); err != nil {
		return nil, err
	}
	var out []Call
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil // half a line is being written
		}
		if err != nil {
			return nil, err
		}
		call, done, err := parseCall(line)
		if err != nil {
			return nil, fmt.Errorf("read the audit log of %s: %w", c.Name, err)
		}
		if done && match(call) {
			out = append(out, call)
		}
	}
}

// ByUserAgent matches the calls of a user agent.
func ByUserAgent(agent string) func(Call) bool {
	return func(c Call) bool { return c.UserAgent == agent }
}

// ByUser matches the calls of a user, impersonated or not.
func ByUser(name string) func(Call) bool {
	return func(c Call) bool { return c.User == name || c.Impersonated == name }
}

// Count counts calls by what key says of them, for instance Call.Verb.
func Count(calls []Call, key func(Call) string) map[string]int {
	out := make(map[string]int)
	for _, c := range calls {
		out[key(c)]++
	}
	return out
}

func parseCall(line []byte) (_ Call, done bool, err error) {
	var e struct {
		Stage, Verb, UserAgent, RequestURI string
		User                               struct{ Username string }
		ImpersonatedUser                   struct{ Username string }
		ObjectRef                          struct{ APIGroup, Resource, Subresource, Namespace, Name string }
		ResponseStatus                     struct{ Code int }
		RequestReceivedTimestamp           time.Time
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Call{}, false, err
	}
	return Call{
		User: e.User.Username, Impersonated: e.ImpersonatedUser.Username, UserAgent: e.UserAgent,
		Verb: e.Verb, URI: e.RequestURI, Code: e.ResponseStatus.Code, Time: e.RequestReceivedTimestamp,
		Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Subresource: e.ObjectRef.Subresource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
	}, e.Stage == "ResponseComplete" || e.Stage == "Panic", nil
}
