package spool

import (
	"encoding/binary"
	"hash/crc32"

	"posthouse/mail"
)

// checksum is a CRC-32C of what a row says, so that bit rot is found where SQLite cannot see it: inside values. A row without one was
// written by an earlier format.
type checksum uint32

// castagnoli is the polynomial that processors compute by themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c checksum) bytes(p []byte) checksum { return checksum(crc32.Update(uint32(c), castagnoli, p)) }

// texts adds strings, each with its length before it.
func (c checksum) texts(all ...string) checksum {
	var room [128]byte
	for _, s := range all {
		c = c.ints(int64(len(s)))
		for len(s) > 0 {
			n := copy(room[:], s)
			c, s = c.bytes(room[:n]), s[n:]
		}
	}
	return c
}

func (c checksum) ints(all ...int64) checksum {
	var room [9 * 8]byte
	b := room[:0]
	for _, n := range all {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return c.bytes(b)
}

// sum is a recipient's checksum: of everything but its state, which the indices, which SQLite checks, say once more.
func (r *Recipient) sum(id mail.ID) checksum {
	return checksum(0).ints(int64(id), int64(r.N), nanos(r.Due), nanos(r.Since), int64(r.Attempts), nanos(r.LastAttempt), bit(r.Warned), int64(r.Notify), bit(r.Own)).
		texts(r.Destination, r.Address.String(), r.Original, r.LastReply)
}

// messageSum is a message's checksum: body is that of its body, on which it is built.
func messageSum(body checksum, prefix, envelope []byte, ints ...int64) checksum {
	return body.bytes(prefix).bytes(envelope).ints(ints...).ints(int64(len(prefix)), int64(len(envelope)))
}

// historySum is that of a row of history: ints are its message, time and size.
func historySum(ints []int64, envelope, events []byte) checksum {
	return checksum(0).ints(ints...).ints(int64(len(envelope))).bytes(envelope).bytes(events)
}

// onceSum is that of a name.
func onceSum(key string, id mail.ID, at int64) checksum {
	return checksum(0).texts(key).ints(int64(id), at)
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
