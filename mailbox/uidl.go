package mailbox

import (
	"context"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// MaxUIDL is the longest UIDL, in octets: RFC 1939 §7.
const MaxUIDL = 70

// UIDL is the name by which POP3 knows a message of the box (RFC 1939 §7), unless an Add gave it another: UID and UIDVALIDITY, 8 digits
// each in hexadecimal. It is Dovecot's (pop3_uidl_format = %08Xu%08Xv, its default), so that an import that keeps both keeps it.
func (b *Box) UIDL(uid UID) string { return string(b.AppendUIDL(nil, uid)) }

// AppendUIDL appends UIDL.
func (b *Box) AppendUIDL(to []byte, uid UID) []byte {
	for _, n := range [...]uint32{uint32(uid), b.UIDValidity} {
		for shift := 28; shift >= 0; shift -= 4 {
			to = append(to, "0123456789abcdef"[n>>shift&0xf])
		}
	}
	return to
}

// mayHave tells UIDLs that can be kept: those that are well-formed, and no message of the box has without our doing, now or later.
func (b *Box) mayHave(uidl string) bool {
	if uidl == "" || len(uidl) > MaxUIDL || strings.ContainsFunc(uidl, func(r rune) bool { return r < '!' || r > '~' }) {
		return false
	}
	uid, err := strconv.ParseUint(uidl[:min(8, len(uidl))], 16, 32)
	return err != nil || uidl != b.UIDL(UID(uid))
}

// nameUIDL gives a message its UIDL. The one who has it already keeps it.
func (c *change) nameUIDL(b *box, uid UID, uidl string) error {
	if !b.mayHave(uidl) {
		return nil
	}
	return db.Exec(c.conn, "INSERT OR IGNORE INTO uidl(box, uid, uidl) VALUES(?, ?, ?)", func(s *sqlite.Stmt) {
		db.Ints(int64(b.ID), int64(uid))(s)
		s.BindText(3, uidl)
	})
}

// UIDLs is Account.
func (a *account) UIDLs(ctx context.Context, box BoxID) (names map[UID]string, err error) {
	err = a.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			names = make(map[UID]string)
			return rows(conn, "SELECT uid, uidl FROM uidl WHERE box = ?", func(s *sqlite.Stmt) error {
				names[UID(s.ColumnInt64(0))] = s.ColumnText(1)
				return nil
			}, int64(box))
		})
	})
	return names, err
}

// eraseUIDLs forgets those of messages that left the box. Most boxes have none: it costs as much as there are.
func (c *change) eraseUIDLs(box BoxID) error {
	for _, gone := range c.gone[box] {
		var uids []UID
		err := rows(c.conn, "SELECT uid FROM uidl WHERE box = ? AND uid BETWEEN ? AND ?", func(s *sqlite.Stmt) error {
			if uid := UID(s.ColumnInt64(0)); gone.Contains(uid) {
				uids = append(uids, uid)
			}
			return nil
		}, int64(box), int64(gone[0].First), int64(gone[len(gone)-1].Last))
		if err != nil {
			return err
		}
		for _, uid := range uids {
			if err := exec(c.conn, "DELETE FROM uidl WHERE box = ? AND uid = ?", int64(box), int64(uid)); err != nil {
				return err
			}
		}
	}
	return nil
}
