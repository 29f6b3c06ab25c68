package testkit

import (
	"encoding/hex"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A small list of top-level domains: the whole one takes rspamd seconds to compile.
const rspamdConfig = `
options { pidfile = "DIR/pid"; url_tld = "DIR/tld"; hs_cache_dir = "DIR"; filters = ""; enable_test_patterns = true; dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; } }
logging { type = "console"; level = "info"; }
worker "rspamd_proxy" { bind_socket = "ADDRESS"; milter = yes; timeout = 10s; count = 1; upstream "local" { default = yes; self_scan = yes; } }
actions { reject = 15; add_header = 6; greylist = null; }
`

// Rspamd starts an rspamd of its own that speaks the milter protocol, and tells where. It knows nothing but the GTUBE patterns.
func Rspamd(t testing.TB) (addr string) {
	t.Helper()
	program := Peer(t, "rspamd")
	NeedRoot(t)
	dir, addr := OpenDir(t, "nobody"), FreePort(t)
	config := filepath.Join(dir, "rspamd.conf")
	writeFile(t, filepath.Join(dir, "tld"), "com\ntest\n")
	writeFile(t, config, strings.NewReplacer("DIR", dir, "ADDRESS", addr).Replace(rspamdConfig))
	Start(t, exec.Command(program, "-f", "-i", "-c", config))
	WaitPort(t, addr)
	return addr
}

// OpenDKIM starts an OpenDKIM of its own with a configuration, in which DIR stands for its folder, and tells where it listens. The files
// are put into the folder.
func OpenDKIM(t testing.TB, config string, files map[string]string) (addr string) {
	t.Helper()
	program := Peer(t, "opendkim")
	NeedRoot(t)
	dir, addr := OpenDir(t, "nobody"), FreePort(t)
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	file := filepath.Join(dir, "opendkim.conf")
	writeFile(t, file, strings.ReplaceAll(config, "DIR", dir)+"\nSocket inet:"+port(t, addr)+"@127.0.0.1\nRequireSafeKeys no\nUMask 077\n")
	p := Start(t, exec.Command(program, "-f", "-x", file))
	t.Cleanup(p.Kill) // it would take seconds to end by itself, and keeps nothing
	WaitPort(t, addr)
	return addr
}

// Clamd starts a clamd of its own that knows one virus, any file with the words, and takes a megabyte; it tells the path of its socket.
func Clamd(t testing.TB, virus, words string) (socket string) {
	t.Helper()
	program := Peer(t, "clamd")
	NeedRoot(t)
	dir := OpenDir(t, "root", "db")
	writeFile(t, filepath.Join(dir, "db", "test.ndb"), virus+":0:*:"+hex.EncodeToString([]byte(words))+"\n")
	socket = filepath.Join(dir, "clamd.sock")
	config := filepath.Join(dir, "clamd.conf")
	writeFile(t, config, strings.ReplaceAll("Foreground yes\nUser root\nLocalSocket DIR/clamd.sock\nDatabaseDirectory DIR/db\nStreamMaxLength 1M\n", "DIR", dir))
	Start(t, exec.Command(program, "-c", config))
	Until(t, "clamd at "+socket, func() bool {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return socket
}
