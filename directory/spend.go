package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/mail"
)

// AnyNumber in an Allowance is no bound.
const AnyNumber = -1

// Allowance is how much an account may send in a day of UTC. A zero field is the default, or any number where there is none.
type Allowance struct {
	Messages      int `json:"messages"`
	Recipients    int `json:"recipients"`
	NewRecipients int `json:"new_recipients"` // whom the account has not sent to in a year
}

// or fills in what is not said.
func (a Allowance) or(other Allowance) Allowance {
	fill := func(n, other int) int {
		if n == 0 {
			return other
		}
		return n
	}
	return Allowance{fill(a.Messages, other.Messages), fill(a.Recipients, other.Recipients), fill(a.NewRecipients, other.NewRecipients)}
}

func (a Allowance) plus(b Allowance) Allowance {
	return Allowance{a.Messages + b.Messages, a.Recipients + b.Recipients, a.NewRecipients + b.NewRecipients}
}

// covers tells whether what was sent is within what may be.
func (a Allowance) covers(sent Allowance) bool {
	within := func(most, n int) bool { return most <= 0 || n <= most }
	return within(a.Messages, sent.Messages) && within(a.Recipients, sent.Recipients) && within(a.NewRecipients, sent.NewRecipients)
}

// Spent is what an account may send and has sent.
type Spent struct {
	Own     Allowance `json:"own"`     // as it was set
	Allowed Allowance `json:"allowed"` // with the defaults
	Today   Allowance `json:"today"`   // what was sent since midnight, UTC
}

// acquaintance is how many days an account knows whom it has sent to.
const acquaintance = 365

// day counts days since 1970, UTC.
func (s *SQLite) day() int64 { return s.opts.Now().Unix() / int64(24*time.Hour/time.Second) }

// Spend is Directory. The database is only read; the ledger counts.
func (s *SQLite) Spend(ctx context.Context, id mail.AccountID, to []mail.Address) error {
	to = distinct(to)
	digests := make([]correspondent, len(to))
	for i, a := range to {
		digests[i] = s.correspondent(id, a)
	}
	stored, err := s.readSpent(ctx, id, digests)
	if err != nil {
		return err
	}
	return s.ledger.spend(id, stored, len(to))
}

func distinct(list []mail.Address) (out []mail.Address) {
	seen := make(map[mail.Address]bool, len(list))
	for _, a := range list {
		if a = a.FoldLocal(); !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

// correspondent is whom an account has sent to, by a keyed digest: the database need not tell who writes to whom.
type correspondent struct {
	account mail.AccountID
	digest  [16]byte
}

func (s *SQLite) correspondent(id mail.AccountID, a mail.Address) correspondent {
	m := hmac.New(sha256.New, s.house.secret)
	m.Write([]byte("correspondent\x00" + string(id) + "\x00" + a.String()))
	return correspondent{id, [16]byte(m.Sum(nil))}
}

// storedSpent is what the database says of an account.
type storedSpent struct {
	own       Allowance
	day       int64
	today     Allowance
	known     []correspondent // of those asked for; their day is too long ago to be of today
	strangers []correspondent
}

func (s *SQLite) readSpent(ctx context.Context, id mail.AccountID, asked []correspondent) (st storedSpent, err error) {
	return st, unavailable(s.db.Read(ctx, func(c *sqlite.Conn) error {
		err := query(c, "SELECT messages, recipients, new_recipients FROM allowance WHERE account=?", []any{string(id)}, func(r *sqlite.Stmt) error {
			st.own = scanAllowance(r)
			return nil
		})
		if err != nil {
			return err
		}
		err = query(c, "SELECT messages, recipients, new_recipients, day FROM spent WHERE account=?", []any{string(id)}, func(r *sqlite.Stmt) error {
			st.today, st.day = scanAllowance(r), r.ColumnInt64(3)
			return nil
		})
		if err != nil {
			return err
		}
		for _, who := range asked {
			last := int64(-acquaintance)
			err := query(c, "SELECT day FROM correspondent WHERE account=? AND digest=?", []any{string(id), who.digest[:]}, func(r *sqlite.Stmt) error {
				last = r.ColumnInt64(0)
				return nil
			})
			if err != nil {
				return err
			}
			switch today := s.day(); {
			case last <= today-acquaintance:
				st.strangers = append(st.strangers, who)
			case last < today:
				st.known = append(st.known, who)
			}
		}
		return nil
	}))
}

func scanAllowance(r *sqlite.Stmt) Allowance {
	return Allowance{r.ColumnInt(0), r.ColumnInt(1), r.ColumnInt(2)}
}

// Spent is Directory.
func (s *SQLite) Spent(ctx context.Context, login mail.Address) (Spent, error) {
	account, err := s.Account(ctx, login)
	if err != nil {
		return Spent{}, err
	}
	stored, err := s.readSpent(ctx, account.ID, nil)
	if err != nil {
		return Spent{}, err
	}
	return Spent{stored.own, stored.own.or(s.opts.Allowance), s.ledger.today(account.ID, stored)}, nil
}

// SetAllowance is Directory.
func (s *SQLite) SetAllowance(ctx context.Context, login mail.Address, a Allowance) error {
	account, err := s.Account(ctx, login)
	if err != nil {
		return err
	}
	return s.change(ctx, "INSERT OR REPLACE INTO allowance(account, messages, recipients, new_recipients) VALUES(?, ?, ?, ?)",
		string(account.ID), a.Messages, a.Recipients, a.NewRecipients)
}
