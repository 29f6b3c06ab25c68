package admin

import (
	"fmt"
	"net/http"
	"time"

	"posthouse/directory"
	"posthouse/mail"
)

func (a *api) appPasswords(r *http.Request) (any, error) {
	account, err := a.account(r)
	if err != nil {
		return nil, err
	}
	return many(a.Directory.AppPasswords(r.Context(), account.(directory.Account).Login))
}

// addAppPassword takes label, scope and expires of an AppPassword; its answer is the only one that has the password.
func (a *api) addAppPassword(r *http.Request) (any, error) {
	var p directory.AppPassword
	who, err := about(r, &p)
	if err != nil {
		return nil, err
	}
	if err := ahead(p.Expires); err != nil {
		return nil, err
	}
	return a.Directory.AddAppPassword(r.Context(), who, p)
}

// ahead tells whether what begins now may end then. Zero is never.
func ahead(expires time.Time) error {
	if !expires.IsZero() && !expires.After(time.Now()) {
		return fmt.Errorf("%w: it would be over already at %s", errRequest, expires)
	}
	return nil
}

// revokeAppPassword ends one, and the account's sessions, since nobody knows which of them it opened.
func (a *api) revokeAppPassword(r *http.Request) (any, error) {
	who, err := login(r)
	if err != nil {
		return nil, err
	}
	if err := a.Directory.RevokeAppPassword(r.Context(), who, r.PathValue("id")); err != nil {
		return nil, err
	}
	return done{}, a.disconnect(r, who)
}

func (a *api) spent(r *http.Request) (any, error) {
	who, err := login(r)
	if err != nil {
		return nil, err
	}
	return a.Directory.Spent(r.Context(), who)
}

func (a *api) setAllowance(r *http.Request) (any, error) {
	var allowance directory.Allowance
	who, err := about(r, &allowance)
	if err != nil {
		return nil, err
	}
	return done{}, a.Directory.SetAllowance(r.Context(), who, allowance)
}

func (a *api) suppressions(r *http.Request) (any, error) {
	return many(a.Directory.Suppressions(r.Context()))
}

func (a *api) suppress(r *http.Request) (any, error) {
	var s directory.Suppression
	if err := decode(r, &s); err != nil {
		return nil, err
	}
	if err := ahead(s.Expires); err != nil {
		return nil, err
	}
	return done{}, a.Directory.Suppress(r.Context(), s)
}

func (a *api) unsuppress(r *http.Request) (any, error) {
	address, err := mail.ParseAddress(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	return done{}, a.Directory.Unsuppress(r.Context(), address)
}
