package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/internal/vfs"
	"posthouse/mail"
)

// ErrDraft is a draft used wrongly: twice, without recipients, or in another spool.
var ErrDraft = errors.New("spool: the draft cannot be committed")

// draft is a Draft of a SQLite spool: its body is in memory until that would hold more than MaxInlineBody, then in a file.
type draft struct {
	spool   *SQLite
	env     mail.Envelope
	id      mail.ID
	prefix  []byte
	body    []byte   // all of it, while file is nil
	file    vfs.File // made when the body grows large
	written int64
	sum     checksum // of what is in the file
	err     error    // of a Write; sticky
	closed  bool     // committed or aborted
}

// Create is Spool.
func (s *SQLite) Create(ctx context.Context, env mail.Envelope) (Draft, error) {
	id, err := s.nextID(ctx)
	if err != nil {
		return nil, err
	}
	env.ID = id
	env.To = slices.Clone(env.To)
	if env.Received.IsZero() {
		env.Received = time.Now()
	}
	return &draft{spool: s, env: env, id: id}, nil
}

func (d *draft) Envelope() *mail.Envelope { return &d.env }

func (d *draft) Size() int64 { return d.written }

func (d *draft) Prepend(fields []byte) { d.prefix = slices.Concat(fields, d.prefix) }

func (d *draft) Write(p []byte) (int, error) {
	if d.err == nil && d.closed {
		d.err = ErrDraft
	}
	if d.err == nil && d.file == nil && len(d.body)+len(p) > MaxInlineBody {
		d.err = d.spill()
	}
	if d.err == nil && d.file != nil {
		d.err = d.toFile(p)
	}
	if d.err != nil {
		return 0, d.err
	}
	if d.file == nil {
		d.body = append(d.body, p...)
	}
	d.written += int64(len(p))
	return len(p), nil
}

// spill moves what was written so far to a file.
func (d *draft) spill() error {
	if err := d.spool.failed.Load(); err != nil {
		return *err
	}
	f, err := d.spool.opts.FS.Create(d.spool.largePath(d.id))
	if err != nil {
		return fmt.Errorf("spool: a large body: %w", noSpace(err))
	}
	d.file = f
	err = d.toFile(d.body)
	d.body = nil
	return err
}

func (d *draft) toFile(p []byte) error {
	if _, err := d.file.Write(p); err != nil {
		return d.spool.storageError(err)
	}
	d.sum = d.sum.bytes(p)
	return nil
}

func (d *draft) ReadAt(p []byte, off int64) (int, error) {
	if d.file != nil {
		return d.file.ReadAt(p, off)
	}
	if off >= int64(len(d.body)) {
		return 0, io.EOF
	}
	n := copy(p, d.body[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Commit is Draft.
func (d *draft) Commit(ctx context.Context) (mail.ID, error) {
	row, err := d.seal()
	if err != nil {
		return 0, err
	}
	if err := d.spool.write(ctx, row.insert); err != nil {
		return 0, err
	}
	return row.finish()
}

// Abort is Draft.
func (d *draft) Abort() error {
	if d.closed {
		return nil
	}
	file := d.file
	d.release()
	if file == nil || d.spool.Failed() != nil { // then the row may have become durable: the next start knows
		return nil
	}
	return d.spool.opts.FS.Remove(d.spool.largePath(d.id))
}

// release lets go of the memory and the open file. What matters of the file is on stable storage by then, or does not matter.
func (d *draft) release() {
	d.closed = true
	d.body = nil
	if d.file == nil {
		return
	}
	if err := d.file.Close(); err != nil {
		d.spool.opts.Log.Warn("spool: closing a large body", "mid", d.id, "err", err)
	}
	d.file = nil
}

// sealed is a draft ready for the writer's transaction: a large body is on stable storage, and everything is encoded.
type sealed struct {
	*draft
	large        bool
	envelope     []byte
	destinations []string // of each recipient
	contents     checksum // of the whole message
	earlier      mail.ID  // the message that insert found under the same Envelope.Once; 0: none, and this one was stored
}

// finish lets go of the draft after the transaction, and says what became of it.
func (r *sealed) finish() (mail.ID, error) {
	r.release()
	if r.earlier == 0 {
		return r.id, nil
	}
	if r.large {
		r.spool.removeLarge(r.id)
	}
	return r.earlier, ErrRepeated
}

// seal makes a draft ready. RFC 5321 §6.1 is why its file and the directory are synced before any row speaks of them.
func (d *draft) seal() (*sealed, error) {
	if d.err != nil {
		return nil, d.err
	}
	if d.closed || len(d.env.To) == 0 {
		return nil, ErrDraft
	}
	d.env.ID = d.id
	d.env.Priority = min(max(d.env.Priority, mail.MinPriority), mail.MaxPriority)
	r := &sealed{draft: d, large: d.file != nil}
	if r.large {
		if err := d.sync(); err != nil {
			d.err = err
			return nil, err
		}
	}
	var err error
	if r.envelope, err = json.Marshal(&d.env); err != nil {
		return nil, fmt.Errorf("spool: envelope: %w", err)
	}
	r.contents = messageSum(d.sum.bytes(d.body), d.prefix, r.envelope, int64(d.id), r.size(), bit(r.large))
	for _, to := range d.env.To {
		r.destinations = append(r.destinations, d.spool.opts.Destination(d.env.From, to))
	}
	return r, nil
}

// size is that of the whole message.
func (r *sealed) size() int64 { return int64(len(r.prefix)) + r.written }

func (d *draft) sync() error {
	if err := d.file.Sync(); err != nil {
		return d.spool.storageError(err)
	}
	if err := d.spool.opts.FS.SyncDir(d.spool.large); err != nil {
		return d.spool.storageError(err)
	}
	return nil
}

// insert is the draft's part of the transaction that makes it visible. A draft that repeats a message is no error here: its answer
// must wait until the transaction is durable, which may be the one with the message it repeats.
func (r *sealed) insert(tx *db.Tx) error {
	now := time.Now()
	if err := r.recall(tx, now); err != nil || r.earlier != 0 {
		return err
	}
	err := prepare(tx.Conn, "INSERT INTO message(id, size, large, envelope, sum) VALUES(?, ?, ?, CAST(? AS TEXT), ?)").
		int(int64(r.id)).int(r.size()).int(bit(r.large)).blob(r.envelope).sum(r.contents).run()
	if err != nil {
		return err
	}
	if err := r.insertBody(tx); err != nil {
		return err
	}
	due := now
	if r.env.NotBefore.After(now) {
		due = r.env.NotBefore // RFC 4865 §4.2: held until then; its schedule begins there
		tx.OnCommit(func() { r.spool.bell.ringAt(due) })
		if err := r.schedule(tx, now); err != nil {
			return err
		}
	} else {
		tx.OnCommit(r.spool.bell.ring)
	}
	for n := range r.env.To {
		if err := r.insertRecipient(tx, n, due); err != nil {
			return err
		}
	}
	return nil
}

// recall looks for a message that came under the same name, and else remembers this one.
func (r *sealed) recall(tx *db.Tx, now time.Time) error {
	if r.env.Once == "" {
		return nil
	}
	earlier, err := r.spool.earlier(tx.Conn, r.env.Once, now)
	if !errors.Is(err, ErrNotFound) {
		r.earlier = earlier
		return err
	}
	return prepare(tx.Conn, "INSERT OR REPLACE INTO once(key, message, time, sum) VALUES(?, ?, ?, ?)").
		text(r.env.Once).int(int64(r.id)).int(now.UnixNano()).sum(onceSum(r.env.Once, r.id, now.UnixNano())).run()
}

// Earlier is Spool. Readers see only what is durable.
func (s *SQLite) Earlier(ctx context.Context, once string) (id mail.ID, err error) {
	err = s.db.Read(ctx, func(c *sqlite.Conn) (err error) {
		id, err = s.earlier(c, once, time.Now())
		return err
	})
	return id, translate(err)
}

func (s *SQLite) earlier(c *sqlite.Conn, once string, now time.Time) (mail.ID, error) {
	id, ok, err := prepare(c, "SELECT message FROM once WHERE key = ? AND time > ?").text(once).int(now.Add(-s.opts.KeepOnce).UnixNano()).number()
	if err == nil && !ok {
		err = ErrNotFound
	}
	return mail.ID(id), err
}

func (r *sealed) insertBody(tx *db.Tx) error {
	q := prepare(tx.Conn, "INSERT INTO body(message, prefix, body) VALUES(?, ?, ?)").int(int64(r.id)).blob(r.prefix)
	if r.large {
		return q.null().run()
	}
	k := &kept{r.id, r.prefix, r.body, r.env, r.envelope}
	tx.OnCommit(func() { r.spool.recent.put(k) })
	return q.blob(r.body).run()
}

func (r *sealed) insertRecipient(tx *db.Tx, n int, due time.Time) error {
	to := Recipient{Recipient: r.env.To[n], N: n, Destination: r.destinations[n], Due: due, Since: due}
	if err := insertRecipient(tx, &r.env, &to); err != nil || slices.Contains(r.destinations[:n], r.destinations[n]) {
		return err
	}
	return r.spool.markDue(tx, lane{to.Destination, r.env.Priority}, nanos(due))
}

// insertRecipient adds a recipient's row, of any state but Leased.
func insertRecipient(tx *db.Tx, e *mail.Envelope, r *Recipient) error {
	return prepare(tx.Conn, `INSERT INTO recipient(message, n, state, due, since, attempts, last_attempt, warned, notify,
		destination, address, original, last_reply, priority, own, sum)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		int(int64(e.ID)).int(int64(r.N)).int(int64(r.State)).int(nanos(r.Due)).int(nanos(r.Since)).int(int64(r.Attempts)).
		int(nanos(r.LastAttempt)).int(bit(r.Warned)).int(int64(r.Notify)).
		text(r.Destination).text(r.Address.String()).text(r.Original).text(r.LastReply).int(int64(e.Priority)).int(bit(r.Own)).sum(r.sum(e.ID)).run()
}

func (s *SQLite) largePath(id mail.ID) string { return path.Join(s.large, id.String()) }

// storageError is what a failed write or sync of a file means. A sync that failed once is never tried again: the kernel may have
// dropped the pages, and would then report success.
func (s *SQLite) storageError(err error) error {
	if full := noSpace(err); errors.Is(full, ErrFull) {
		return full
	}
	return s.fail(err)
}

// noSpace wraps the errors that say so in ErrFull.
func noSpace(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// removeLarge removes the file of a large body whose row is gone. If that fails, the next start sweeps it.
func (s *SQLite) removeLarge(ids ...mail.ID) {
	for _, id := range ids {
		if err := s.opts.FS.Remove(s.largePath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.opts.Log.Warn("spool: the file of a message that left stays until the next start", "mid", id, "err", err)
		}
	}
}
