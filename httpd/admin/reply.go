package admin

import (
	"errors"
	"net/http"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
	"posthouse/spool"
)

// statuses is the one place where errors of the owners get a status.
func statuses() []struct {
	err    error
	status int
} {
	return []struct {
		err    error
		status int
	}{
		{errRequest, http.StatusBadRequest},
		{errNoBan, http.StatusNotFound},
		{mail.ErrAddress, http.StatusBadRequest},
		{mail.ErrID, http.StatusBadRequest},
		{spool.ErrNotFound, http.StatusNotFound},
		{directory.ErrNoAccount, http.StatusNotFound},
		{directory.ErrNoDomain, http.StatusNotFound},
		{directory.ErrNoAddress, http.StatusNotFound},
		{directory.ErrNotLocal, http.StatusNotFound},
		{directory.ErrNoEntry, http.StatusNotFound},
		{directory.ErrScope, http.StatusBadRequest},
		{directory.ErrExists, http.StatusConflict},
		{directory.ErrDeclared, http.StatusConflict},
		{directory.ErrShared, http.StatusConflict},
		{directory.ErrTooMany, http.StatusConflict},
		{directory.ErrAliasLoop, http.StatusConflict},
		{mailbox.ErrBoxName, http.StatusBadRequest},
		{mailbox.ErrOverQuota, http.StatusConflict},
		{mailbox.ErrLimit, http.StatusConflict},
		{spool.ErrLeaseLost, http.StatusConflict},
		{spool.ErrFull, http.StatusInsufficientStorage},
		{mailbox.ErrNoBox, http.StatusNotFound},
		{mailbox.ErrBoxName, http.StatusBadRequest},
		{mailbox.ErrGrantee, http.StatusBadRequest},
		{mailbox.ErrLimit, http.StatusConflict},
		{mailbox.ErrFull, http.StatusInsufficientStorage},
		{spool.ErrFailed, http.StatusServiceUnavailable},
		{spool.ErrClosed, http.StatusServiceUnavailable},
		{mailbox.ErrFailed, http.StatusServiceUnavailable},
		{mailbox.ErrClosed, http.StatusServiceUnavailable},
		{directory.ErrUnavailable, http.StatusServiceUnavailable},
	}
}

// reply is the status and the words for an error. The operator is told everything.
func reply(err error) (status int, text string) {
	for _, s := range statuses() {
		if errors.Is(err, s.err) {
			return s.status, err.Error()
		}
	}
	return http.StatusInternalServerError, err.Error()
}
