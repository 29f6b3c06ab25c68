// Package directory knows who exists: domains, accounts, aliases, credentials.
//
// It must not know protocols, mailboxes or the queue. Everything is in one SQLite database, changed by commands and the admin API
// and visible at once. Passwords are kept as Argon2id hashes; verifying one runs on a bounded number of workers beside the session.
package directory

import (
	"context"
	"errors"
	"iter"
	"time"

	"posthouse/mail"
)

// Errors a Directory answers with.
var (
	ErrNotLocal    = errors.New("directory: not one of our domains")
	ErrNoAddress   = errors.New("directory: no such address here")
	ErrNoAccount   = errors.New("directory: no such account")
	ErrNoDomain    = errors.New("directory: no such domain")
	ErrExists      = errors.New("directory: it exists already")
	ErrCredentials = errors.New("directory: wrong name or password") // the same for an unknown name, in the same time
	ErrDisabled    = errors.New("directory: the account is disabled")
	ErrNotOwner    = errors.New("directory: the account does not own that address")
	ErrAliasLoop   = errors.New("directory: the alias leads to itself or to too many")
	ErrUnavailable = errors.New("directory: cannot answer now")
)

// Limits of aliases.
const (
	MaxAliasDepth   = 10
	MaxAliasTargets = 1000 // of one address, fully expanded
)

// Directory answers for the domains of this house. All methods may be called from many goroutines.
type Directory interface {
	// IsLocal tells whether mail for the domain ends here. ErrUnavailable if it cannot tell.
	IsLocal(ctx context.Context, domain string) (bool, error)
	// Resolve says where mail for an address goes: an account, or the addresses an alias stands for, fully expanded. In this order:
	// the account's own address, alias, both again without a "+detail", postmaster, the domain's catch-all.
	// ErrNotLocal, ErrNoAddress, ErrAliasLoop, ErrDisabled.
	Resolve(ctx context.Context, a mail.Address) (Resolution, error)
	// Authenticate checks a login name and password: ErrCredentials, ErrDisabled (only after the right password), ErrUnavailable.
	Authenticate(ctx context.Context, login, password string) (Account, error)
	// MaySend tells whether an account owns an address and so may send as it: nil, or ErrNotOwner.
	MaySend(ctx context.Context, id mail.AccountID, a mail.Address) error

	Domains(ctx context.Context) ([]Domain, error)
	AddDomain(ctx context.Context, d Domain) error
	RemoveDomain(ctx context.Context, name string) error

	Accounts(ctx context.Context) iter.Seq2[Account, error]
	Account(ctx context.Context, login mail.Address) (Account, error)
	// AddAccount makes an account, with its login name as its address. ErrExists, ErrNoDomain.
	AddAccount(ctx context.Context, login mail.Address, password string) (Account, error)
	SetPassword(ctx context.Context, login mail.Address, password string) error
	SetDisabled(ctx context.Context, login mail.Address, at time.Time) error
	// RemoveAccount forgets the account and the aliases that lead to nobody else.
	RemoveAccount(ctx context.Context, login mail.Address) (Account, error)
	Aliases(ctx context.Context) iter.Seq2[Alias, error]
	// AddAlias makes one more target of an alias. An alias of one account of ours is an address the account owns.
	AddAlias(ctx context.Context, a Alias) error
	RemoveAlias(ctx context.Context, a Alias) error
	Close() error
}

// Domain is one whose mail ends here.
type Domain struct {
	Name     string       `json:"name"`
	CatchAll mail.Address `json:"catch_all,omitzero"` // zero: none
}

// Account is somebody with mailboxes.
type Account struct {
	ID       mail.AccountID `json:"id"`
	Login    mail.Address   `json:"login"`
	Created  time.Time      `json:"created"`
	Disabled time.Time      `json:"disabled,omitzero"` // zero: not disabled
}

// Alias is an address of ours that stands for another, of ours or elsewhere.
type Alias struct {
	Address mail.Address `json:"address"`
	Target  mail.Address `json:"target"`
}

// Resolution is where mail for an address goes: to Account, or on to Targets.
type Resolution struct {
	Account mail.AccountID
	Login   mail.Address   // of Account
	Detail  string         // what followed the "+" of the address
	Targets []mail.Address // of an alias, expanded as far as this house knows; each once
}
