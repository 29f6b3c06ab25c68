package sasl

import (
	"context"

	"posthouse/directory"
)

// externalOffered: to who showed a certificate that was verified, on this very connection.
func externalOffered(_ *Authenticator, ch *Channel) bool { return len(names(ch)) > 0 }

// names are the addresses in the client's certificate (rfc822Name: RFC 5280 §4.2.1.6), if it was verified.
func names(ch *Channel) []string {
	if ch.TLS == nil || len(ch.TLS.VerifiedChains) == 0 || len(ch.TLS.VerifiedChains[0]) == 0 {
		return nil
	}
	return ch.TLS.VerifiedChains[0][0].EmailAddresses
}

// external is EXTERNAL: RFC 4422 §A. The certificate has proved the name; the response is whom to act as, or nothing. Of several
// addresses the first that is an account counts, or the one that is named.
func external(x *Exchange) step {
	return orAsk(func(ctx context.Context, response []byte) ([]byte, step, error) {
		err := directory.ErrCredentials
		for _, name := range names(&x.channel) {
			x.Name = name
			if err = x.admitNamed(ctx, name, string(response)); err == nil {
				return nil, nil, nil
			}
		}
		return nil, nil, err
	})
}
