package admin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"posthouse/directory"
	"posthouse/mail"
)

// NewAccount is the request to add an account, Password alone the one to change a password.
type NewAccount struct {
	Login    string `json:"login,omitempty"`
	Password string `json:"password"`
	Shared   bool   `json:"shared,omitempty"` // nobody logs in to it: it has no password
}

// check looks at the password.
func (n NewAccount) check() error {
	if n.Password == "" || len(n.Password) > directory.MaxPassword {
		return fmt.Errorf("%w: the password is empty, or longer than %d octets", errRequest, directory.MaxPassword)
	}
	return nil
}

func login(r *http.Request) (mail.Address, error) { return mail.ParseAddress(r.PathValue("login")) }

func (a *api) domains(r *http.Request) (any, error) {
	domains, err := a.Directory.Domains(r.Context())
	if err != nil {
		return nil, err
	}
	return many(func(yield func(directory.Domain, error) bool) {
		for _, d := range domains {
			if !yield(d, nil) {
				return
			}
		}
	})
}

func (a *api) addDomain(r *http.Request) (any, error) {
	var d directory.Domain
	if err := decode(r, &d); err != nil {
		return nil, err
	}
	return done{}, a.Directory.AddDomain(r.Context(), d)
}

func (a *api) removeDomain(r *http.Request) (any, error) {
	return done{}, a.Directory.RemoveDomain(r.Context(), r.PathValue("name"))
}

func (a *api) accounts(r *http.Request) (any, error) {
	return many(a.Directory.Accounts(r.Context()))
}

func (a *api) account(r *http.Request) (any, error) {
	who, err := login(r)
	if err != nil {
		return nil, err
	}
	return a.Directory.Account(r.Context(), who)
}

func (a *api) addAccount(r *http.Request) (any, error) {
	var n NewAccount
	if err := decode(r, &n); err != nil {
		return nil, err
	}
	who, err := mail.ParseAddress(n.Login)
	if err != nil {
		return nil, err
	}
	if n.Shared {
		return a.Directory.AddSharedAccount(r.Context(), who)
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	return a.Directory.AddAccount(r.Context(), who, n.Password)
}

func (a *api) setPassword(r *http.Request) (any, error) {
	var n NewAccount
	who, err := about(r, &n)
	if err != nil {
		return nil, err
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := a.Directory.SetPassword(r.Context(), who, n.Password); err != nil {
		return nil, err
	}
	return done{}, a.disconnect(r, who)
}

// switchAccount disables or enables an account, or says who keeps copies of what it sends, or what it may do. The sessions of one that is
// disabled end with the commands they run, and those of another take up the change at their next login.
func (a *api) switchAccount(r *http.Request) (any, error) {
	who, err := login(r)
	if err != nil {
		return nil, err
	}
	switch r.PathValue("switch") {
	case "enable":
		return done{}, a.Directory.SetDisabled(r.Context(), who, time.Time{})
	case "disable":
		if err := a.Directory.SetDisabled(r.Context(), who, time.Now()); err != nil {
			return nil, err
		}
		return done{}, a.disconnect(r, who)
	}
	if role, ok := map[string]directory.Role{"promote": directory.Administrator, "demote": directory.User}[r.PathValue("switch")]; ok {
		return done{}, a.Directory.SetRole(r.Context(), who, role)
	}
	by, ok := map[string]directory.SentCopies{"keep-sent": directory.SentByServer, "leave-sent": directory.SentByClient}[r.PathValue("switch")]
	if !ok {
		return nil, fmt.Errorf("%w: an account has switches enable, disable, keep-sent, leave-sent, promote and demote", errRequest)
	}
	return done{}, a.Directory.SetSentCopies(r.Context(), who, by)
}

// setQuota says how much an account may hold. Sessions take it up at their next login.
func (a *api) setQuota(r *http.Request) (any, error) {
	var q directory.Quota
	who, err := about(r, &q)
	if err != nil {
		return nil, err
	}
	if q.Octets < 0 || q.Messages < 0 {
		return nil, fmt.Errorf("%w: a quota is 0, which is any number, or more", errRequest)
	}
	return done{}, a.Directory.SetQuota(r.Context(), who, q)
}

// Without is the request for an account's clients not to be offered some extensions of IMAP.
type Without struct {
	Extensions []string `json:"extensions"`
}

// setWithout takes names in any case. Sessions take it up at their next login.
func (a *api) setWithout(r *http.Request) (any, error) {
	var w Without
	who, err := about(r, &w)
	if err != nil {
		return nil, err
	}
	for i, name := range w.Extensions {
		known := slices.IndexFunc(a.Extensions, func(e string) bool { return strings.EqualFold(e, name) })
		if known < 0 {
			return nil, fmt.Errorf("%w: %q is none of %s", errRequest, name, strings.Join(a.Extensions, " "))
		}
		w.Extensions[i] = a.Extensions[known]
	}
	return done{}, a.Directory.SetWithout(r.Context(), who, w.Extensions...)
}

func (a *api) disconnect(r *http.Request, who mail.Address) error {
	account, err := a.Directory.Account(r.Context(), who)
	if err == nil && a.Disconnect != nil {
		a.Disconnect(account.ID)
	}
	return err
}

// removeAccount forgets the account first, so that nobody can come in, then its sessions, its mail and what others granted it.
func (a *api) removeAccount(r *http.Request) (any, error) {
	who, err := login(r)
	if err != nil {
		return nil, err
	}
	account, err := a.Directory.Account(r.Context(), who)
	if err != nil {
		return nil, err
	}
	owners, err := a.Directory.SharedWith(r.Context(), account.ID)
	if err != nil {
		return nil, err
	}
	if account, err = a.Directory.RemoveAccount(r.Context(), who); err != nil {
		return nil, err
	}
	if a.Disconnect != nil {
		a.Disconnect(account.ID)
	}
	return done{}, errors.Join(a.Store.Remove(r.Context(), account.ID), a.forgetGrantee(r.Context(), account.ID, owners))
}

func (a *api) aliases(r *http.Request) (any, error) { return many(a.Directory.Aliases(r.Context())) }

func (a *api) addAlias(r *http.Request) (any, error) {
	var alias directory.Alias
	if err := decode(r, &alias); err != nil {
		return nil, err
	}
	return done{}, a.Directory.AddAlias(r.Context(), alias)
}

func (a *api) removeAlias(r *http.Request) (any, error) {
	address, err := mail.ParseAddress(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	target, err := mail.ParseAddress(r.PathValue("target"))
	if err != nil {
		return nil, err
	}
	return done{}, a.Directory.RemoveAlias(r.Context(), directory.Alias{Address: address, Target: target})
}
