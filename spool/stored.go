package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/vfs"
	"posthouse/mail"
)

// stored is one message as its rows say it, for those who doubt them.
type stored struct {
	id         mail.ID
	size       int64
	large      bool
	envelope   []byte
	sum        *checksum // nil: an earlier format wrote it
	whole      bool      // it has a row in body
	prefix     []byte
	body       []byte
	recipients []storedRecipient
}

type storedRecipient struct {
	Recipient
	priority mail.Priority
	sum      *checksum
}

const storedPage = 64 // messages read at a time, each with its body

// selectStored yields messages without their recipients.
const selectStored = `SELECT m.id, m.size, m.large, m.envelope, m.sum, b.message, b.prefix, b.body FROM message m
	LEFT JOIN body b ON b.message = m.id `

func scanStored(q *query) stored {
	return stored{
		id: mail.ID(q.stmt.ColumnInt64(0)), size: q.stmt.ColumnInt64(1), large: q.stmt.ColumnInt64(2) != 0,
		envelope: q.bytes(3), sum: q.sumAt(4), whole: !q.stmt.ColumnIsNull(5), prefix: q.bytes(6), body: q.bytes(7),
	}
}

// readStored reads the next messages after an ID, damaged or not.
func readStored(c *sqlite.Conn, after mail.ID) (page []stored, err error) {
	q := prepare(c, selectStored+"WHERE m.id > ? ORDER BY m.id LIMIT ?").int(int64(after)).int(storedPage)
	for q.next() {
		page = append(page, scanStored(q))
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	for i := range page {
		if err := page[i].readRecipients(c); err != nil {
			return nil, err
		}
	}
	return page, nil
}

func (m *stored) readRecipients(c *sqlite.Conn) error {
	q := prepare(c, "SELECT "+recipientColumns+", priority, sum FROM recipient WHERE message = ? ORDER BY n").int(int64(m.id))
	for q.next() {
		_, r, _ := scanRecipient(q.stmt) // an address that cannot be read is not the envelope's
		m.recipients = append(m.recipients, storedRecipient{r, mail.Priority(q.stmt.ColumnInt(14)), q.sumAt(15)})
	}
	return q.done()
}

// sumAt is a column's checksum; nil if the row has none.
func (q *query) sumAt(column int) *checksum {
	if q.stmt.ColumnIsNull(column) {
		return nil
	}
	sum := checksum(q.stmt.ColumnInt64(column))
	return &sum
}

// damage says what of a message is not as it was written; "": nothing. It reads a large body from its file.
func (m *stored) damage(files vfs.FS, large string) (string, error) {
	if !m.whole {
		return "its body has no row", nil
	}
	body, octets := checksum(0).bytes(m.body), int64(len(m.body))
	if m.large {
		var err error
		if body, octets, err = sumFile(files, large); err != nil {
			return "", err
		}
	}
	switch {
	case octets+int64(len(m.prefix)) != m.size:
		return fmt.Sprintf("it has %d octets, and should have %d", octets+int64(len(m.prefix)), m.size), nil
	case m.sum != nil && *m.sum != messageSum(body, m.prefix, m.envelope, int64(m.id), m.size, bit(m.large)):
		return "its checksum is wrong", nil
	}
	return "", nil
}

// sumFile reads a large body once.
func sumFile(files vfs.FS, name string) (sum checksum, octets int64, err error) {
	f, err := files.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 128<<10)
	for octets < size {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-octets)], octets)
		sum, octets = sum.bytes(buf[:n]), octets+int64(n)
		if err != nil && (!errors.Is(err, io.EOF) || n == 0) {
			return sum, octets, err
		}
	}
	return sum, octets, nil
}

// damagedRecipients are the numbers of those that are missing, or not as they were written, with the words for each.
func (m *stored) damagedRecipients(e *mail.Envelope) map[int]string {
	damaged := make(map[int]string)
	for n := range e.To {
		damaged[n] = "its row is missing"
	}
	for _, r := range m.recipients {
		switch {
		case r.N < 0 || r.N >= len(e.To):
			damaged[r.N] = "the envelope does not have it"
		case r.sum != nil && *r.sum != r.Recipient.sum(m.id):
			damaged[r.N] = "its checksum is wrong"
		case r.Recipient.Recipient != e.To[r.N] || r.priority != e.Priority:
			damaged[r.N] = "it is not what the envelope says"
		case r.State > Done || r.State == Leased:
			damaged[r.N] = "it has a state that there is not"
		default:
			delete(damaged, r.N)
		}
	}
	return damaged
}

// open decodes the envelope, recipients included.
func (m *stored) open() (e mail.Envelope, err error) {
	err = json.Unmarshal(m.envelope, &e)
	return e, err
}

// eachStored runs f on every message, a page in a transaction of its own.
func eachStored(ctx context.Context, read func(context.Context, func(*sqlite.Conn) error) error, f func(*stored) error) error {
	for after := mail.ID(0); ; {
		var page []stored
		err := read(ctx, func(c *sqlite.Conn) (err error) {
			page, err = readStored(c, after)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := f(&page[i]); err != nil {
				return err
			}
		}
		after = page[len(page)-1].id
	}
}
