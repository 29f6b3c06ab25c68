package sasl

import (
	"context"
	"strings"
)

// plain is PLAIN: RFC 4616 §2. The server has nothing to say first.
func plain(x *Exchange) step {
	take := func(ctx context.Context, response []byte) ([]byte, step, error) {
		f := strings.Split(string(response), "\x00")
		if len(f) != 3 || f[1] == "" {
			return nil, nil, ErrResponse
		}
		return nil, nil, x.password(ctx, identities{name: f[1], as: f[0]}, f[2])
	}
	return orAsk(take)
}

// orAsk is a step for a client that speaks first: one that sent nothing with its command is asked by an empty challenge (RFC 4422 §3).
func orAsk(take step) step {
	return func(ctx context.Context, response []byte) ([]byte, step, error) {
		if response == nil {
			return []byte{}, take, nil
		}
		return take(ctx, response)
	}
}

// login is LOGIN, from a draft that never became an RFC: the name and the password, each asked for. Old clients know nothing else.
func login(x *Exchange) step {
	name := func(_ context.Context, name []byte) ([]byte, step, error) {
		return []byte("Password:"), func(ctx context.Context, password []byte) ([]byte, step, error) {
			return nil, nil, x.password(ctx, identities{name: string(name)}, string(password))
		}, nil
	}
	return func(ctx context.Context, response []byte) ([]byte, step, error) {
		if response == nil {
			return []byte("Username:"), name, nil
		}
		return name(ctx, response)
	}
}
