package testkit

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// CyrusRoot is the environment variable that says where Debian's packages cyrus-common and cyrus-imapd are unpacked (dpkg-deb -x), which
// cannot be installed beside Dovecot. They need a system user cyrus.
const CyrusRoot = "POSTHOUSE_CYRUS"

const cyrusImapd = `configdirectory: DIR/conf
partition-default: DIR/mail
defaultpartition: default
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: DIR/conf/sasldb2
sasl_mech_list: PLAIN
autocreate_quota: 0
autocreate_post: yes
unixhierarchysep: yes
altnamespace: yes
virtdomains: off
servername: mail.cyrus.test
lmtpsocket: DIR/conf/socket/lmtp
idlesocket: DIR/conf/socket/idle
notifysocket: DIR/conf/socket/notify
maxlogins_per_user: 0
duplicatesuppression: no
delete_mode: immediate
`

const cyrusServices = `START {
  recover cmd="BIN/ctl_cyrusdb -C DIR/imapd.conf -r"
  idled cmd="BIN/idled -C DIR/imapd.conf"
}
SERVICES {
  imap cmd="BIN/imapd -C DIR/imapd.conf -U 30" listen="IMAP" prefork=2 maxchild=6000
  lmtp cmd="BIN/lmtpd -C DIR/imapd.conf -a" listen="LMTP" prefork=1
}
EVENTS {
}
`

// Cyrus starts a Cyrus IMAP server with users (no domain, all with one password), and tells where it speaks IMAP and LMTP, and its process.
func Cyrus(t testing.TB, password string, users ...string) (imap, lmtp string, pid int) {
	t.Helper()
	root := os.Getenv(CyrusRoot)
	bin := filepath.Join(root, "usr/lib/cyrus/bin")
	if _, err := os.Stat(filepath.Join(bin, "master")); err != nil {
		missing(t, "Cyrus is not there; see "+CyrusRoot)
	}
	NeedRoot(t)
	dir := OpenDir(t, "cyrus", "conf", "mail")
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*/libcyrus.so.*"))
	if err != nil || len(libraries) == 0 {
		t.Fatal("Cyrus has no libraries: ", err)
	}
	imap, lmtp = FreePort(t), FreePort(t)
	fill := strings.NewReplacer("DIR", dir, "BIN", bin, "IMAP", imap, "LMTP", lmtp)
	writeFile(t, filepath.Join(dir, "imapd.conf"), fill.Replace(cyrusImapd))
	writeFile(t, filepath.Join(dir, "cyrus.conf"), fill.Replace(cyrusServices))
	for _, user := range users {
		c := exec.Command(Peer(t, "saslpasswd2"), "-p", "-c", "-f", filepath.Join(dir, "conf/sasldb2"), "-u", "mail.cyrus.test", user)
		c.Stdin = strings.NewReader(password + "\n")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, d := range []string{"proc", "socket", "db", "log", "lock"} {
		if err := os.Mkdir(filepath.Join(dir, "conf", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", "cyrus", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := Start(t, exec.Command(filepath.Join(bin, "master"), "-C", filepath.Join(dir, "imapd.conf"), "-M", filepath.Join(dir, "cyrus.conf"),
		"-p", filepath.Join(dir, "conf/pid"), "-D"), "LD_LIBRARY_PATH="+filepath.Dir(libraries[0]))
	for _, addr := range []string{imap, lmtp} {
		WaitPort(t, addr)
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
		}
	}
	return imap, lmtp, p.Pid()
}
