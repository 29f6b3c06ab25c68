package mailbox

import (
	"crypto/sha256"
	"errors"
	"time"

	"posthouse/internal/db"

	"zombiezen.com/go/sqlite"
)

// keepNames is how long an Add's As is known.
const keepNames = 30 * 24 * time.Hour

// forgetNames forgets a few old ones with each new one.
const forgetNames = "DELETE FROM filed WHERE id IN (SELECT id FROM filed ORDER BY id LIMIT 4) AND at < ?"

// Who files a message, in its As: what the server files itself and what a client files meet, and are one message; what a client files
// twice is two.
const (
	byServer = "server "
	byClient = "client "
)

// ByServer is the Add of a message that the server files itself, unless a client has. The twin is what the two have in common (see
// mime.Twin); empty: nothing.
func (a Add) ByServer(twin string) Add { return a.named(twin, byServer, byClient) }

// ByClient is the Add of a message that a client files, unless the server has.
func (a Add) ByClient(twin string) Add { return a.named(twin, byClient, byServer) }

func (a Add) named(twin, by, other string) Add {
	if twin != "" {
		a.As, a.Unless = by+twin, other+twin
	}
	return a
}

// alreadyFiled is the message in the box that m is not to be added beside, with the marks of m; nothing if there is none, or it is gone.
func (c *change) alreadyFiled(m Add) (UIDSet, error) {
	sum := sha256.Sum256([]byte(m.Unless))
	s, err := c.conn.Prepare("SELECT uid FROM filed WHERE box = ? AND key = ? AND at >= ?")
	if err != nil {
		return nil, err
	}
	s.BindInt64(1, int64(m.Box))
	s.BindBytes(2, sum[:])
	s.BindInt64(3, c.now-int64(keepNames/time.Second))
	var uid UID
	found, err := s.Step()
	if found {
		uid = UID(s.ColumnInt64(0))
	}
	err = errors.Join(err, s.Reset())
	if err != nil || uid == 0 {
		return nil, err
	}
	r, err := c.setFlags(SetFlags{Box: m.Box, UIDs: UIDSet{{uid, uid}}, Op: AddFlags, Marks: m.Marks})
	return r.Source, err
}

// fileAs notes under which name a message was filed.
func (c *change) fileAs(m Add, uid UID) error {
	sum := sha256.Sum256([]byte(m.As))
	err := db.Exec(c.conn, "INSERT OR REPLACE INTO filed(box, key, uid, at) VALUES(?, ?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindInt64(1, int64(m.Box))
		s.BindBytes(2, sum[:])
		s.BindInt64(3, int64(uid))
		s.BindInt64(4, c.now)
	})
	if err != nil {
		return err
	}
	return exec(c.conn, forgetNames, c.now-int64(keepNames/time.Second))
}
