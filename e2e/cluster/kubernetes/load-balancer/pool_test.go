package main

import (
	"net/netip"
	"testing"
)

func TestAddressesAreGivenOnce(t *testing.T) {
	p := pool{prefix: netip.MustParsePrefix("192.0.2.0/30"), owners: map[netip.Addr]string{}}
	steps := []struct {
		ask, owner, want string
	}{
		{"192.0.2.2", "a", "192.0.2.2"},
		{"192.0.2.2", "a", "192.0.2.2"},
		{"192.0.2.2", "b", ""},
		{"192.0.2.0", "b", ""},
		{"192.0.2.3", "b", ""},
		{"198.51.100.1", "b", ""},
		{"", "b", "192.0.2.1"},
		{"", "c", ""},
	}
	for i, step := range steps {
		var got netip.Addr
		var err error
		if step.ask == "" {
			got, err = p.next(step.owner)
		} else {
			got = netip.MustParseAddr(step.ask)
			err = p.claim(got, step.owner)
		}
		switch {
		case step.want == "" && err == nil:
			t.Errorf("step %d: %s got %v, which is not to be had", i, step.owner, got)
		case step.want != "" && (err != nil || got.String() != step.want):
			t.Errorf("step %d: %s got %v (%v), not %s", i, step.owner, got, err, step.want)
		}
	}
}
