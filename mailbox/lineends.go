package mailbox

import (
	"bytes"
	"context"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// lineEnds counts what a content lacks to be lines that all end in CRLF. The zero value has seen nothing.
type lineEnds struct {
	bare int64 // LFs without a CR before
	mid  bool  // inside a line
	cr   bool  // after a CR
}

func (l *lineEnds) write(p []byte) {
	if len(p) == 0 {
		return
	}
	for rest := p; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i > 0 {
			l.cr = rest[i-1] == '\r'
		}
		if !l.cr {
			l.bare++
		}
		l.cr, rest = false, rest[i+1:]
	}
	last := p[len(p)-1]
	l.mid, l.cr = last != '\n', last == '\r'
}

// missing is how many octets are missing, after the content's last.
func (l *lineEnds) missing() int64 {
	if l.mid {
		return l.bare + int64(len("\r\n"))
	}
	return l.bare
}

// LineEnds is Account.
func (a *account) LineEnds(ctx context.Context) (missing map[BlobID]int64, err error) {
	err = a.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			missing = make(map[BlobID]int64)
			return rows(conn, "SELECT blob, missing FROM line_ends", func(s *sqlite.Stmt) error {
				missing[BlobID(s.ColumnInt64(0))] = s.ColumnInt64(1)
				return nil
			})
		})
	})
	return missing, err
}
