package admin

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Ban is a network whose clients are not let in for a time.
type Ban struct {
	Network netip.Prefix `json:"network"`
	Why     string       `json:"why"`
	Since   time.Time    `json:"since"`
	Until   time.Time    `json:"until"`
}

// Bans is who keeps them.
type Bans struct {
	All  func() iter.Seq[Ban]
	Lift func(netip.Prefix) (lifted bool)
}

var errNoBan = errors.New("there is no such ban")

func (a *api) bans(*http.Request) (any, error) {
	return many(func(yield func(Ban, error) bool) {
		for ban := range a.Bans.All() {
			if !yield(ban, nil) {
				return
			}
		}
	})
}

// liftBan takes network=, an address or a prefix.
func (a *api) liftBan(r *http.Request) (any, error) {
	text := r.URL.Query().Get("network")
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errRequest, err)
		}
		text = netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if !a.Bans.Lift(network) {
		return nil, fmt.Errorf("%w: %s", errNoBan, network)
	}
	return done{}, nil
}
