package db

import (
	"math"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// ReleaseMemory has all databases of the process let go of the pages that they hold and do not use just now; they read them again when they
// need them. SQLite's memory goes back to the system in pieces of 64 KiB: once many databases were closed, the few pages of those that stay
// open keep most of it. It returns how many octets they held.
func ReleaseMemory() int {
	tls := libc.NewTLS()
	defer tls.Close()
	return int(sqlite3.Xsqlite3_release_memory(tls, math.MaxInt32))
}
