package mailbox

import (
	"fmt"
	"hash/crc32"
	"slices"

	"zombiezen.com/go/sqlite"
)

// A content is a row each in content (its references), facts and header, and chunks. The header's octets are in its row if they are
// at most MaxCachedHeader, and the chunks hold what follows; else that row has none (NULL) and the chunks hold everything. Chunks are of chunkSize octets, but
// the last.
const (
	chunkSize = 64 << 10
	chunkBits = 20 // of a chunk's key count the chunks of a content, the others are its BlobID
)

// How a chunk's data is encoded.
const (
	codingRaw = iota
	codingZstd
)

// chunkKey is the row key of chunk n of a content.
func chunkKey(blob BlobID, n int64) int64 { return int64(blob)<<chunkBits | n }

// chunk is a piece of content, as it is stored.
type chunk struct {
	n      int64
	coding int64
	crc    uint32 // CRC-32C of the octets
	data   []byte
}

func makeChunk(n int64, octets []byte) chunk {
	return chunk{n: n, coding: codingRaw, crc: crc32.Checksum(octets, castagnoli), data: octets}
}

// split cuts octets into chunks from number n on; they share the octets.
func split(n int64, octets []byte) (chunks []chunk) {
	for piece := range slices.Chunk(octets, chunkSize) {
		chunks = append(chunks, makeChunk(n, piece))
		n++
	}
	return chunks
}

// readChunk reads chunk n of a content.
func readChunk(conn *sqlite.Conn, blob BlobID, n int64) (*piece, error) {
	p := &piece{n: n}
	err := rows(conn, "SELECT coding, crc, data FROM chunk WHERE key = ?", func(s *sqlite.Stmt) error {
		p.octets = columnBytes(s, 2)
		if coding := s.ColumnInt64(0); coding != codingRaw {
			return fmt.Errorf("%w: chunk %d of content %d is encoded in way %d", ErrCorrupt, n, blob, coding)
		}
		if crc32.Checksum(p.octets, castagnoli) != uint32(s.ColumnInt64(1)) {
			return fmt.Errorf("%w: the checksum of chunk %d of content %d", ErrCorrupt, n, blob)
		}
		return nil
	}, chunkKey(blob, n))
	return p, err
}

func writeChunks(conn *sqlite.Conn, blob BlobID, chunks []chunk) error {
	for _, k := range chunks {
		err := execWith(conn, "INSERT INTO chunk VALUES(?, ?, ?, ?)", func(s *sqlite.Stmt) {
			bindInts(s, []int64{chunkKey(blob, k.n), k.coding, int64(k.crc)})
			s.BindBytes(4, k.data)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
