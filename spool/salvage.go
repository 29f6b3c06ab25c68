package spool

import (
	"posthouse/internal/db"
	"posthouse/mail"
)

// layout is how the rows of a table are told from those of others: by the types of their columns, the last of which rows of an earlier
// format may lack.
type layout struct {
	table   bool   // it has a rowid; else it is WITHOUT ROWID
	columns string // i a number, s text, b octets, 0 NULL; upper case: or NULL
	least   int    // columns of the first format
	sql     string // takes the row over, its rowid first
	whole   func(v []any) bool
}

func layouts() []layout {
	return []layout{
		{true, "0iisi", 4, "INSERT OR IGNORE INTO message(id, size, large, envelope, sum) VALUES(?, ?, ?, ?, ?)", nil},
		{true, "0bB", 3, "INSERT OR IGNORE INTO body(message, prefix, body) VALUES(?, ?, ?)", nil},
		{true, "0iiISsi", 6, "INSERT OR IGNORE INTO history(seq, message, time, size, envelope, events, sum) VALUES(?, ?, ?, ?, ?, ?, ?)", wholeHistory},
		{true, "0siii", 4, "INSERT OR IGNORE INTO once(seq, key, message, time, sum) VALUES(?, ?, ?, ?, ?)", wholeName},
		{false, "iiiiiiiiissssiii", 13, `INSERT OR IGNORE INTO recipient(message, n, state, due, since, attempts, last_attempt, warned,
			notify, destination, address, original, last_reply, priority, own, sum) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			wholeRecipient},
	}
}

// fill adds the values of columns that a row lacks: those of ALTER TABLE. The last is the checksum.
func (l *layout) fill(v []any) []any {
	for len(v) < len(l.columns)-1 {
		v = append(v, int64(0))
	}
	if len(v) < len(l.columns) {
		v = append(v, nil)
	}
	return v
}

func (l *layout) fits(row db.Row) bool {
	if row.Table != l.table || len(row.Values) < l.least || len(row.Values) > len(l.columns) {
		return false
	}
	for i, v := range row.Values {
		kind := l.columns[i]
		if v == nil && (kind == '0' || kind < 'a' || i == len(l.columns)-1) {
			continue
		}
		is := byte('0')
		switch v.(type) {
		case int64:
			is = 'i'
		case string:
			is = 's'
		case []byte:
			is = 'b'
		}
		if is != kind|0x20 {
			return false
		}
	}
	return true
}

// salvage takes a row over if it is one of ours and as it was written. Whether a message is, is seen when all its rows are there.
func salvage(tx *db.Tx, row db.Row) error {
	for _, l := range layouts() {
		if !l.fits(row) {
			continue
		}
		v := l.fill(row.Values)
		if l.table {
			v[0] = row.Key
		}
		if l.whole != nil && !l.whole(v) {
			return nil
		}
		return prepare(tx.Conn, l.sql).values(v).run()
	}
	return nil
}

func wholeHistory(v []any) bool {
	sum, ok := v[6].(int64)
	size, _ := v[3].(int64)
	envelope, _ := v[4].(string)
	return !ok || checksum(sum) == historySum([]int64{v[1].(int64), v[2].(int64), size}, []byte(envelope), []byte(v[5].(string)))
}

func wholeRecipient(v []any) bool {
	number := func(i int) int64 { return v[i].(int64) }
	text := func(i int) string { return v[i].(string) }
	r := Recipient{N: int(number(1)), Due: timeOf(number(3)), Since: timeOf(number(4)), Attempts: int(number(5)), LastAttempt: timeOf(number(6)),
		Warned: number(7) != 0, Destination: text(9), LastReply: text(12)}
	r.Notify, r.Original, r.Own = mail.Notify(number(8)), text(11), number(14) != 0
	sum, ok := v[15].(int64)
	return r.Address.UnmarshalText([]byte(text(10))) == nil && (!ok || checksum(sum) == r.sum(mail.ID(number(0))))
}

func wholeName(v []any) bool {
	sum, ok := v[4].(int64)
	return !ok || checksum(sum) == onceSum(v[1].(string), mail.ID(v[2].(int64)), v[3].(int64))
}

// values binds values as SQLite has them.
func (q *query) values(all []any) *query {
	for _, v := range all {
		switch v := v.(type) {
		case nil:
			q.null()
		case int64:
			q.int(v)
		case string:
			q.text(v)
		case []byte:
			q.blob(v)
		}
	}
	return q
}
