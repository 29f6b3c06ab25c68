package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxDocument is the longest answer of an issuer that is read.
const maxDocument = 1 << 20

var errFetch = errors.New("oidc: the issuer cannot be asked")

// carrier believes answers that are short documents in JSON, and no others. It is beneath the library, which reads without a bound. What
// the issuer refers to is asked for as the issuer is: keys that come without TLS may be anybody's.
type carrier struct {
	base   http.RoundTripper
	scheme string
}

// RoundTrip is http.RoundTripper.
func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && r.URL.Scheme != c.scheme {
		return nil, fmt.Errorf("%w: its keys are at %s, which is not https", errFetch, r.URL)
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
