package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthouse/internal/dns"
	"posthouse/internal/testkit"
)

// pebble starts Let's Encrypt's test authority, which asks our DNS where the hosts are, and tells where its directory is.
// It is given the certificate in certs.
func pebble(t *testing.T, certs string, httpPort int) (directory string) {
	t.Helper()
	program := testkit.Peer(t, "pebble")
	zone, err := dns.ParseZone("mail.north.test. A 127.0.0.1\n")
	if err != nil {
		t.Fatal(err)
	}
	names, err := dns.Serve(zone, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	dir, addr := t.TempDir(), testkit.FreePort(t)
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": testkit.FreePort(t), "certificate": filepath.Join(certs, "cert.pem"),
		"privateKey": filepath.Join(certs, "key.pem"), "httpPort": httpPort, "tlsPort": 1, "ocspResponderURL": "", "externalAccountBindingRequired": false,
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Start(t, exec.Command(program, "-config", file, "-dnsserver", names.Addr.String(), "-strict=false"), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	testkit.WaitPort(t, addr)
	return "https://" + addr + "/dir"
}

// retried is time for a second order: the library waits a minute after one that failed, as on a busy machine it may.
const retried = 3 * time.Minute

func TestACME(t *testing.T) {
	dir := t.TempDir()
	ca, err := OpenCA(filepath.Join(dir, "ca"), filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Keeper(filepath.Join(dir, "pebble"), []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(testkit.FreePort(t))
	if err != nil {
		t.Fatal(err)
	}
	httpPort, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	directory := pebble(t, filepath.Join(dir, "pebble"), httpPort)
	ctx, cancel := context.WithTimeout(t.Context(), retried)
	defer cancel()
	log := slog.New(slog.NewTextHandler(t.Output(), nil)) // shown if the test fails
	k, err := ACME(ctx, ACMEOptions{Dir: dir, Hosts: []string{"mail.north.test"}, Directory: directory, RootFile: ca.File, HTTPPort: httpPort, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	anybody := &tls.Config{InsecureSkipVerify: true} // names no host, as SMTP clients do
	if _, err := meet(t, k.Config(), anybody); err != nil {
		t.Errorf("before the first certificate: %v", err)
	}
	testkit.Within(t, retried, "an issued certificate", func() bool {
		c, err := meet(t, k.Config(), anybody)
		return err == nil && strings.Contains(c.Issuer.CommonName, "Pebble") && c.VerifyHostname("mail.north.test") == nil
	})
	c, err := meet(t, k.Config(), anybody)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "mail.north.test"} {
		if shown := k.Shown(name); shown == nil || !shown.Equal(c) {
			t.Errorf("%q is said to be shown another certificate", name)
		}
	}
}
