package spool

import (
	"context"
	"time"

	"posthouse/internal/db"
	"posthouse/mail"
)

// idBlock is how many IDs one write reserves: a minute of them, since an ID is the clock's microsecond or the next free one.
const idBlock = uint64(time.Minute / time.Microsecond)

// epochBits are the leases of one run: epochs go on from the count of runs, so that no later run gives a smaller one.
const epochBits = 40

// nextID gives an ID greater than every ID before it, also if the clock was set back or the machine crashed meanwhile: what was
// reserved before a crash is never given after it.
func (s *SQLite) nextID(ctx context.Context) (mail.ID, error) {
	for {
		last := s.lastID.Load()
		id := max(last+1, uint64(time.Now().UnixMicro()))
		if id >= s.idLimit.Load() {
			if err := s.reserve(ctx, id+idBlock); err != nil {
				return 0, err
			}
			continue
		}
		if s.lastID.CompareAndSwap(last, id) {
			return mail.ID(id), nil
		}
	}
}

func (s *SQLite) reserve(ctx context.Context, limit uint64) error {
	return s.write(ctx, func(tx *db.Tx) error {
		tx.OnCommit(func() { s.idLimit.Store(max(limit, s.idLimit.Load())) })
		return prepare(tx.Conn, "UPDATE meta SET value = max(value, ?) WHERE name = 'next_id'").int(int64(limit)).run()
	})
}
