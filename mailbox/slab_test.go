package mailbox

import (
	"testing"
)

func BenchmarkParseSlab(b *testing.B) {
	m := make([]Message, 1000)
	for i := range m {
		m[i] = Message{UID: UID(i + 1 + i/100), Blob: BlobID(i * 2), Flags: Flags(i % 9), ModSeq: ModSeq(i), Size: int64(i * i), Internal: int64(1700000000 + i*1000), Saved: int64(1700000000 + i*1001)}
	}
	e := appendSlab(nil, m)
	b.ReportMetric(float64(len(e)), "octets")
	for b.Loop() {
		if _, err := parseSlab(e); err != nil {
			b.Fatal(err)
		}
	}
}
func BenchmarkAppendSlab(b *testing.B) {
	m := make([]Message, 1000)
	for i := range m {
		m[i] = Message{UID: UID(i + 1 + i/100), Blob: BlobID(i * 2), Flags: Flags(i % 9), ModSeq: ModSeq(i), Size: int64(i * i), Internal: int64(1700000000 + i*1000), Saved: int64(1700000000 + i*1001)}
	}
	e := appendSlab(nil, m)
	for b.Loop() {
		e = appendSlab(e[:0], m)
	}
}
