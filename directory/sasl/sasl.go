// Package sasl has the mechanisms by which a client proves to be an account of the directory (RFC 4422), for every protocol that lets
// accounts in.
//
// It must not know protocols: how challenges and responses are framed, and what an error is called there. It keeps no secrets: what
// proves somebody to be an account is the directory's.
//
// The flow: a front describes its connection by a Channel; Offered names the mechanisms that may be used on it; Start → Exchange.Next,
// again with each response of the client, until it is done. A mechanism is a row of the table and a file: a step takes a response and
// gives a challenge and the next step. Whatever proves a name and may be guessed goes through guard.attempt, which makes those wait who
// guess.
package sasl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/mail"
)

// Errors of an exchange, beside those of the directory.
var (
	ErrMechanism     = errors.New("sasl: no such mechanism here")
	ErrUnprotected   = errors.New("sasl: not without TLS")
	ErrResponse      = errors.New("sasl: not a response of that mechanism")
	ErrBinding       = errors.New("sasl: the client sees another connection than we do")
	ErrAuthorization = errors.New("sasl: only as oneself")
	ErrThrottled     = errors.New("sasl: too many failures, not now")
	ErrBase64        = errors.New("sasl: not base64")
	ErrCanceled      = errors.New("sasl: the client gave up")
)

// Channel is what a mechanism has to know of a connection.
type Channel struct {
	TLS       *tls.ConnectionState // nil: none
	Plaintext bool                 // passwords may pass without TLS
	Scope     directory.Scope      // what the client wants
	Client    netip.Addr           // invalid: somebody beside us, who is not counted
}

// protected tells whether nobody else can read what is said, or nobody minds.
func (c *Channel) protected() bool { return c.TLS != nil || c.Plaintext }

// Options say what there is to prove oneself by; only Directory is needed.
type Options struct {
	Directory accounts
	// Tokens verifies the tokens of OAUTHBEARER and XOAUTH2. nil: they are not offered.
	Tokens tokens
	// Certificate is the one that a server shows to who asks for that name, for tls-server-end-point. nil: that binding is not taken.
	Certificate func(serverName string) *x509.Certificate
	// SHA1 offers SCRAM-SHA-1 too, for old clients. The directory must keep the keys.
	SHA1 bool
	// Trusted are networks whose failures are not counted for the network: hosts of webmail, from which everybody comes.
	Trusted []netip.Prefix
	Now     func() time.Time // nil: time.Now
}

// accounts is what we need of a directory.
type accounts interface {
	Authenticate(ctx context.Context, l directory.Login) (directory.Account, error)
	Challenge(ctx context.Context, name string) (directory.Challenge, error)
	Prove(ctx context.Context, p directory.Proof) (directory.Account, []byte, error)
	Account(ctx context.Context, login mail.Address) (directory.Account, error)
}

// Authenticator lets accounts in. All fronts share one, so that guesses at one door count at all. All methods may be called from many
// goroutines.
type Authenticator struct {
	opts  Options
	guard *guard
}

// New makes an Authenticator.
func New(o Options) *Authenticator {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Authenticator{o, newGuard(o)}
}

// mechanism is a row of the table.
type mechanism struct {
	name    string
	rfc     string
	offered func(*Authenticator, *Channel) bool // on a protected channel
	begin   func(*Exchange) step
}

// step takes a response of the client, nil if there was none yet, and gives a challenge and what takes the response to that. Without a
// next step, the client is who it said.
type step func(ctx context.Context, response []byte) (challenge []byte, next step, err error)

// mechanisms is the table, the best first. (It is a function, since a variable would be an initialization cycle.)
func mechanisms() []mechanism {
	return []mechanism{
		{"EXTERNAL", "RFC 4422 §A", externalOffered, external},
		{"SCRAM-SHA-256-PLUS", "RFC 7677", plusOffered, scram(password.SHA256, bound)},
		{"SCRAM-SHA-256", "RFC 7677", always, scram(password.SHA256, unbound)},
		{"SCRAM-SHA-1-PLUS", "RFC 5802", sha1PlusOffered, scram(password.SHA1, bound)},
		{"SCRAM-SHA-1", "RFC 5802", sha1Offered, scram(password.SHA1, unbound)},
		{"OAUTHBEARER", "RFC 7628", tokensOffered, oauthBearer},
		{"XOAUTH2", "of Google, before RFC 7628", tokensOffered, xoauth2},
		{"PLAIN", "RFC 4616", always, plain},
		{"LOGIN", "draft-murchison-sasl-login", always, login},
	}
}

func always(*Authenticator, *Channel) bool { return true }

// Offered are the mechanisms that may be used on a channel, the best first: none at all without TLS, unless it does not matter there.
func (a *Authenticator) Offered(ch Channel) (names []string) {
	if !ch.protected() {
		return nil
	}
	for _, m := range mechanisms() {
		if m.offered(a, &ch) {
			names = append(names, m.name)
		}
	}
	return names
}

// Start begins an exchange by a mechanism, named in capitals.
func (a *Authenticator) Start(name string, ch Channel) (*Exchange, error) {
	for _, m := range mechanisms() {
		if m.name != name {
			continue
		}
		if !ch.protected() {
			return nil, ErrUnprotected
		}
		if !m.offered(a, &ch) {
			return nil, ErrMechanism
		}
		x := &Exchange{auth: a, channel: ch, Mechanism: name}
		x.next = m.begin(x)
		return x, nil
	}
	return nil, ErrMechanism
}

// Password lets in who gives a name and a password outside any mechanism: the exchange is done.
func (a *Authenticator) Password(ctx context.Context, ch Channel, name, password string) (*Exchange, error) {
	if !ch.protected() {
		return nil, ErrUnprotected
	}
	x := &Exchange{auth: a, channel: ch}
	return x, x.password(ctx, identities{name: name}, password)
}

// Exchange is one run of a mechanism. It is used by one goroutine.
type Exchange struct {
	Mechanism string
	Account   directory.Account // who it is, when it is done
	// Name is whom the client says to be, for the log; it may be anybody's words.
	Name string

	auth    *Authenticator
	channel Channel
	next    step
	proof   func(context.Context) (directory.Account, error) // what has proved who it is
}

// Next takes the client's next response and gives the challenge to answer it with. The first response is nil if the client sent none
// with its command; later ones, and an empty first one, are not. Done, the client is Account, and there is no challenge.
func (x *Exchange) Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	challenge, x.next, err = x.next(ctx, response)
	if err != nil {
		x.next, x.Account = refuse, directory.Account{}
		return nil, false, err
	}
	if x.next == nil {
		x.next = refuse
		return nil, true, nil
	}
	return challenge, false, nil
}

// Confirm looks once more whether what let the client in still does. A front calls it when it has put the session where a disconnect
// of the account finds it: proving takes a while, and a client of SCRAM may keep its last response back for minutes, in which the account
// may have been disabled or its password changed.
func (x *Exchange) Confirm(ctx context.Context) error {
	who, err := x.proof(ctx)
	if err == nil && who.ID != x.Account.ID { // of the same name, made anew
		err = directory.ErrCredentials
	}
	return err
}

// refuse is the step after the last.
func refuse(context.Context, []byte) ([]byte, step, error) { return nil, nil, ErrResponse }

// identities are whom a client says to be, and whom it wants to act as: empty, or the same (RFC 4422 §3.4.1).
type identities struct{ name, as string }

// admit finishes an exchange: nobody acts as another.
func (x *Exchange) admit(who directory.Account, as string) error {
	if as != "" {
		if a, err := mail.ParseAddress(as); err != nil || a.FoldLocal() != who.Login {
			return ErrAuthorization
		}
	}
	x.Account = who
	return nil
}

// password is the end of every mechanism that sends one.
func (x *Exchange) password(ctx context.Context, i identities, secret string) error {
	x.Name = i.name
	x.proof = func(ctx context.Context) (directory.Account, error) {
		return x.auth.opts.Directory.Authenticate(ctx, directory.Login{Name: i.name, Password: secret, Scope: x.channel.Scope})
	}
	who, err := x.auth.guard.attempt(subject{i.name, x.channel.Client, secret}, func() (directory.Account, error) { return x.proof(ctx) })
	if err != nil {
		return err
	}
	return x.admit(who, i.as)
}

// account is one that was proved by something other than a password: it has to be there, and enabled.
func (x *Exchange) account(ctx context.Context, name string) (directory.Account, error) {
	address, err := mail.ParseAddress(name)
	if err != nil {
		return directory.Account{}, directory.ErrCredentials
	}
	who, err := x.auth.opts.Directory.Account(ctx, address)
	switch {
	case errors.Is(err, directory.ErrNoAccount), err == nil && who.Shared:
		return directory.Account{}, directory.ErrCredentials
	case err == nil && !who.Disabled.IsZero():
		return directory.Account{}, directory.ErrDisabled
	}
	return who, err
}

// admitNamed finishes an exchange that has proved a name without a password.
func (x *Exchange) admitNamed(ctx context.Context, name, as string) error {
	x.proof = func(ctx context.Context) (directory.Account, error) { return x.account(ctx, name) }
	who, err := x.proof(ctx)
	if err != nil {
		return err
	}
	return x.admit(who, as)
}
