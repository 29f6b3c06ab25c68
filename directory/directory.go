// Package directory knows who exists: domains, accounts, aliases, credentials; what an account may send in a day, and to whom nothing
// is sent any more. How a client proves to be an account is for its sub-package sasl.
//
// It must not know protocols, mailboxes or the queue. Everything is in one SQLite database, changed by commands and the admin API
// and visible at once. Passwords are kept as Argon2id hashes; verifying one runs on a bounded number of workers beside the session.
// The keys of SCRAM are kept beside the hash and never leave the package: Challenge gives the salt, Prove checks a proof.
//
// What is answered was durable before, but for what costs nothing to lose: when a credential was used last, and what was sent today, are
// written every few seconds (ledger).
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
	ErrTooMany     = errors.New("directory: there are as many already as there may be")
	ErrNoEntry     = errors.New("directory: there is no such entry")
	ErrDeclared    = errors.New("directory: the configuration declares it; change it there")
	ErrShared      = errors.New("directory: nobody logs in to a shared account")
	ErrRate        = errors.New("directory: the account has sent enough for a day")
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
	// MaySend tells whether an account owns an address and so may send as it: nil, or ErrNotOwner.
	MaySend(ctx context.Context, id mail.AccountID, a mail.Address) error

	Domains(ctx context.Context) ([]Domain, error)
	AddDomain(ctx context.Context, d Domain) error
	RemoveDomain(ctx context.Context, name string) error

	Accounts(ctx context.Context) iter.Seq2[Account, error]
	Account(ctx context.Context, login mail.Address) (Account, error)
	// AddAccount makes an account, with its login name as its address. ErrExists, ErrNoDomain.
	AddAccount(ctx context.Context, login mail.Address, password string) (Account, error)
	// SetPassword changes an account's own password. ErrNoAccount; ErrShared; ErrDeclared: the next start would bring the old one back.
	SetPassword(ctx context.Context, login mail.Address, password string) error
	SetDisabled(ctx context.Context, login mail.Address, at time.Time) error
	// SetSentCopies says who files copies of what the account sends. ErrNoAccount.
	SetSentCopies(ctx context.Context, login mail.Address, by SentCopies) error
	// SetRole says what an account may do beside reading and sending its mail. ErrNoAccount.
	SetRole(ctx context.Context, login mail.Address, r Role) error
	// SetQuota says how much an account may hold. ErrNoAccount.
	SetQuota(ctx context.Context, login mail.Address, q Quota) error
	// SetWithout says which extensions of IMAP the account's clients are not offered. ErrNoAccount.
	SetWithout(ctx context.Context, login mail.Address, extensions ...string) error
	// RemoveAccount forgets the account and the aliases that lead to nobody else. ErrNoAccount, ErrDeclared.
	RemoveAccount(ctx context.Context, login mail.Address) (Account, error)
	Aliases(ctx context.Context) iter.Seq2[Alias, error]
	// AddAlias makes one more target of an alias. An alias of one account of ours is an address the account owns.
	AddAlias(ctx context.Context, a Alias) error
	RemoveAlias(ctx context.Context, a Alias) error

	Credentials
	Sharing
	Spending
	Suppressions
	Close() error
}

// Credentials are what proves somebody to be an account. All of them say ErrCredentials for what is wrong, ErrDisabled only after what is
// right, and ErrUnavailable.
type Credentials interface {
	// Authenticate checks a name and a password: the account's own, or an app password.
	Authenticate(ctx context.Context, l Login) (Account, error)
	// Challenge is what SCRAM tells a client of the name it gave, whether there is such an account or not.
	Challenge(ctx context.Context, name string) (Challenge, error)
	// Prove checks a client's proof of SCRAM, by any of the account's passwords, and signs the same message.
	Prove(ctx context.Context, p Proof) (Account, []byte, error)

	// AddAppPassword makes an app password, which is told here and never again. ErrNoAccount, ErrShared, ErrTooMany.
	AddAppPassword(ctx context.Context, login mail.Address, p AppPassword) (AppPassword, error)
	AppPasswords(ctx context.Context, login mail.Address) iter.Seq2[AppPassword, error]
	// RevokeAppPassword ends one. ErrNoEntry.
	RevokeAppPassword(ctx context.Context, login mail.Address, id string) error
}

// Sharing is which accounts may have granted others rights to their boxes. It is a hint, so that nobody has to look into every account:
// what is granted is kept with the box. Who grants says so here before, so that the hint names too many rather than too few; who takes
// the last right away may say so after.
type Sharing interface {
	// AddSharedAccount makes an account that nobody logs in to, whose boxes others use. ErrExists, ErrNoDomain.
	AddSharedAccount(ctx context.Context, login mail.Address) (Account, error)
	// AccountByID is the account. ErrNoAccount.
	AccountByID(ctx context.Context, id mail.AccountID) (Account, error)
	// Share notes that an account shares with another, or with Anyone. ErrNoAccount, ErrTooMany.
	Share(ctx context.Context, owner, with mail.AccountID) error
	// Unshare forgets it. It is no error if it was not known.
	Unshare(ctx context.Context, owner, with mail.AccountID) error
	// MayShare tells whether an account shares with another, or with Anyone.
	MayShare(ctx context.Context, owner, with mail.AccountID) (bool, error)
	// SharedWith is the other accounts that share with an account, or with Anyone, by login: the first MaxOwners.
	SharedWith(ctx context.Context, id mail.AccountID) ([]Account, error)
}

// Spending is what accounts may send in a day of UTC.
type Spending interface {
	// Spend counts a message to so many recipients, if the account may send it; otherwise it counts nothing and says ErrRate. It waits for
	// no disk: what is counted is durable a few seconds later.
	Spend(ctx context.Context, id mail.AccountID, to []mail.Address) error
	// Spent is what an account may send and has sent today.
	Spent(ctx context.Context, login mail.Address) (Spent, error)
	// SetAllowance says what an account may send; 0 is the default, AnyNumber no bound.
	SetAllowance(ctx context.Context, login mail.Address, a Allowance) error
}

// Suppressions are addresses that nothing is sent to: their mail came back for good.
type Suppressions interface {
	// Suppress adds an address, or brings its reason and times up to date. One that is there for good stays for good: that its mail came
	// back does not undo what a person has said.
	Suppress(ctx context.Context, s Suppression) error
	// Suppressed finds an address; zero: it is not suppressed, or not any more.
	Suppressed(ctx context.Context, a mail.Address) (Suppression, error)
	Suppressions(ctx context.Context) iter.Seq2[Suppression, error]
	// Unsuppress takes an address off the list. ErrNoEntry.
	Unsuppress(ctx context.Context, a mail.Address) error
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
	// SentCopies says who files a copy of what the account sends in its Sent box.
	SentCopies SentCopies `json:"sent_copies,omitempty"`
	Quota      Quota      `json:"quota,omitzero"`
	Role       Role       `json:"role,omitempty"`
	// Without are the extensions of IMAP that its clients are not offered, divided by spaces: they have bugs.
	Without string `json:"without,omitempty"`
	// Shared is an account that nobody logs in to: others use its boxes.
	Shared bool `json:"shared,omitempty"`
	// Until is when what proved somebody to be the account ends, and with it what it has opened: an app password. Zero: never.
	Until time.Time `json:"-"`
}

// Quota is how much an account's mailboxes may hold; a zero field: any number.
type Quota struct {
	Octets   int64 `json:"octets"`
	Messages int64 `json:"messages"`
}

// SentCopies is who files copies of what an account sends.
type SentCopies uint8

// The zero value leaves it to the clients.
const (
	SentByClient SentCopies = iota
	SentByServer            // and what a client files itself becomes the same message
)

// Role is what an account may do beside reading and sending its mail.
type Role uint8

// The zero value may do nothing else.
const (
	User          Role = iota
	Administrator      // sets quotas, over IMAP
)

// Alias is an address of ours that stands for another, of ours or elsewhere.
type Alias struct {
	Address mail.Address `json:"address"`
	Target  mail.Address `json:"target"`
}

// Resolution is where mail for an address goes: to Account, or on to Targets.
type Resolution struct {
	Account mail.AccountID
	Login   mail.Address   // of Account
	Quota   Quota          // of Account
	Detail  string         // what followed the "+" of the address
	Targets []mail.Address // of an alias, expanded as far as this house knows; each once
}
