package admin

import (
	"iter"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// bans are those of the fixture: two, of which each can be lifted once.
func (f *fixture) bans() Bans {
	all := []Ban{
		{netip.MustParsePrefix("192.0.2.1/32"), "unknown recipients", time.Unix(1, 0), time.Unix(2, 0)},
		{netip.MustParsePrefix("2001:db8::/64"), "faulty sessions", time.Unix(1, 0), time.Unix(2, 0)},
	}
	return Bans{
		All: func() iter.Seq[Ban] { return slices.Values(all) },
		Lift: func(network netip.Prefix) bool {
			i := slices.IndexFunc(all, func(b Ban) bool { return b.Network.Contains(network.Addr()) })
			if i >= 0 {
				all = slices.Delete(all, i, i+1)
			}
			return i >= 0
		},
	}
}

func TestBans(t *testing.T) {
	f := newFixture(t)
	f.want(200, `{"network":"192.0.2.1/32","why":"unknown recipients"`, "GET", "/v1/bans", "")
	f.want(200, "", "DELETE", "/v1/bans?network=192.0.2.1", "")
	f.want(404, "no such ban: 192.0.2.1/32", "DELETE", "/v1/bans?network=192.0.2.1/32", "")
	f.want(200, "", "DELETE", "/v1/bans?network=2001:db8::/64", "")
	f.want(400, "malformed", "DELETE", "/v1/bans?network=here", "")
	f.want(400, "malformed", "DELETE", "/v1/bans?network=192.0.2.1/99", "")
	f.want(200, "", "GET", "/v1/bans", "")
}
