package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Limits of the suppression list.
const (
	MaxSuppressed = 1_000_000 // addresses; each day the oldest go that are more
	MaxReason     = 500       // octets
)

// Suppression is an address that nothing is sent to, and why.
type Suppression struct {
	Address mail.Address `json:"address"`
	Reason  string       `json:"reason"` // the words of the one who refused it
	Since   time.Time    `json:"since"`
	Expires time.Time    `json:"expires,omitzero"` // zero: never
}

// Suppress is Directory.
func (s *SQLite) Suppress(ctx context.Context, p Suppression) error {
	if p.Address.IsNull() {
		return fmt.Errorf("%w: nothing bounces from the null address", mail.ErrAddress)
	}
	if p.Since.IsZero() {
		p.Since = s.opts.Now()
	}
	const text = `INSERT INTO suppression(address, reason, since, expires) VALUES(?, ?, ?, ?) ON CONFLICT(address) DO UPDATE
		SET reason=excluded.reason, since=excluded.since, expires=excluded.expires WHERE expires<>0 OR excluded.expires=0`
	return s.write(ctx, func(tx *db.Tx) error {
		return exec(tx, text, p.Address.FoldLocal().String(), cut(p.Reason, MaxReason), p.Since.Unix(), unix(p.Expires))
	})
}

// cut is the beginning of a text, in whole characters.
func cut(text string, most int) string { return strings.ToValidUTF8(text[:min(len(text), most)], "") }

// Suppressed is Directory.
func (s *SQLite) Suppressed(ctx context.Context, a mail.Address) (p Suppression, err error) {
	err = s.each(ctx, "SELECT "+suppressionColumns+" FROM suppression WHERE address=? AND "+notOver, []any{a.FoldLocal().String(), s.opts.Now().Unix()},
		func(r *sqlite.Stmt) (err error) {
			p, err = scanSuppression(r)
			return err
		})
	return p, err
}

const (
	suppressionColumns = "address, reason, since, expires"
	notOver            = "(expires=0 OR expires>?)"
)

func scanSuppression(r *sqlite.Stmt) (p Suppression, err error) {
	p.Reason, p.Since, p.Expires = r.ColumnText(1), time.Unix(r.ColumnInt64(2), 0), fromUnix(r.ColumnInt64(3))
	return p, p.Address.UnmarshalText([]byte(r.ColumnText(0)))
}

// Suppressions is Directory.
func (s *SQLite) Suppressions(ctx context.Context) iter.Seq2[Suppression, error] {
	return rows(ctx, s, "SELECT "+suppressionColumns+" FROM suppression WHERE "+notOver+" ORDER BY address", scanSuppression, s.opts.Now().Unix())
}

// Unsuppress is Directory.
func (s *SQLite) Unsuppress(ctx context.Context, a mail.Address) error {
	err := s.change(ctx, "DELETE FROM suppression WHERE address=?", a.FoldLocal().String())
	if errors.Is(err, errNoRow) {
		return ErrNoEntry
	}
	return err
}
