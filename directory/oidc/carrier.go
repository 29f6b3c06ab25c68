package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Limits of asking an issuer.
const (
	fetchTime   = 10 * time.Second
	fetchEvery  = 30 * time.Second // no URL is asked more often, whatever tokens come
	maxDocument = 1 << 20          // octets of an answer
	maxURLs     = 100
)

// errFetch is why there are no keys.
var errFetch = errors.New("oidc: the issuer cannot be asked")

// carrier asks an issuer, not too often, and believes short answers in JSON only. Who brings tokens with made-up keys so gains nothing.
type carrier struct {
	base http.RoundTripper
	now  func() time.Time

	mu    sync.Mutex
	asked map[string]time.Time // by URL
}

func newCarrier(base http.RoundTripper, now func() time.Time) *carrier {
	return &carrier{base: base, now: now, asked: map[string]time.Time{}}
}

// RoundTrip is http.RoundTripper.
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	if !c.mayAsk(r.URL.String()) {
		return nil, fmt.Errorf("%w: it was, less than %s ago", errFetch, fetchEvery)
	}
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFetch, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errFetch, err)
	case resp.StatusCode != http.StatusOK || len(body) > maxDocument || !json.Valid(body):
		return nil, fmt.Errorf("%w: %s has status %d and %d octets, which are no document", errFetch, r.URL, resp.StatusCode, len(body))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (c *carrier) mayAsk(url string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if last, ok := c.asked[url]; ok && now.Sub(last) < fetchEvery {
		return false
	}
	if len(c.asked) >= maxURLs { // an issuer that moves its keys all the time
		clear(c.asked)
	}
	c.asked[url] = now
	return true
}
