package sasl

import (
	"errors"

	"posthouse/directory"
)

// outcomes name what may come of an attempt, for metrics.
var outcomes = [...]struct {
	err  error
	name string
}{
	{nil, "ok"},
	{directory.ErrCredentials, "wrong"},
	{ErrAuthorization, "wrong"},
	{directory.ErrDisabled, "disabled"},
	{ErrBinding, "intercepted"},
	{ErrThrottled, "throttled"},
	{ErrResponse, "malformed"},
	{ErrBase64, "malformed"},
	{ErrCanceled, "malformed"},
	{ErrMechanism, "malformed"},
	{ErrUnprotected, "malformed"},
}

// Outcome is a word for how an attempt ended: ok, wrong, disabled, intercepted, throttled, malformed, or unavailable for whatever is no
// fault of the client's.
func Outcome(err error) string {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	return "unavailable"
}
