package mesh

import "time"

// Fleet is a set of clusters that are judged together.
type Fleet struct {
	Surveys []*Survey
}

// Survey is what was seen of one cluster.
type Survey struct {
	Name string // the cluster's, for people
	Identity
	Server string // address of the API server

	// Begun and Ended are moments of the API server's clock, to the second; zero
	// where it never answered.
	Begun, Ended time.Time
	Cost         Stats

	// Reached is false where the API server gave no answer at all. Then nothing
	// else is known, and Unknowns says why.
	Reached bool

	Installations []*Installation
	Workloads     []*Workload
	Classes       []*Class
	Peers         []Peer
	Finished      int // meshed pods that have run to their end, and are no peers

	Links        []*Link
	Gateways     []Gateway
	RemoteAccess []RemoteAccess

	Unknowns []Unknown
}

// Know adds what could not be seen.
func (s *Survey) Know(u ...Unknown) { s.Unknowns = append(s.Unknowns, u...) }

// Installation returns the control plane in a namespace, nil for none.
func (s *Survey) Installation(namespace string) *Installation {
	for _, i := range s.Installations {
		if i.Namespace == namespace {
			return i
		}
	}
	return nil
}

// Member returns the survey of a cluster, nil where it is not in the fleet.
func (f *Fleet) Member(id Identity) *Survey {
	for _, s := range f.Surveys {
		if s.Identity.Same(id) {
			return s
		}
	}
	return nil
}

// Twice returns the surveys that show a cluster which an earlier one shows
// already: two contexts of one cluster.
func (f *Fleet) Twice() (again []*Survey) {
	for i, s := range f.Surveys {
		for _, before := range f.Surveys[:i] {
			if before.Identity.Same(s.Identity) {
				again = append(again, s)
				break
			}
		}
	}
	return again
}
