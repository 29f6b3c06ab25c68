package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

// handshake connects a client to a server with the configuration over loopback, and returns the serial number it saw.
func handshake(t *testing.T, server, client *tls.Config) (string, error) {
	t.Helper()
	leaf, err := meet(t, server, client)
	if err != nil {
		return "", err
	}
	return leaf.SerialNumber.String(), nil
}

// meet is handshake for the whole certificate.
func meet(t *testing.T, server, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			c.(*tls.Conn).Handshake() // what the client sees is what counts
			c.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], c.Close()
}

// trusting is a client that trusts the authority and wants the host.
func trusting(ca *CA, host string) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: host}
}

func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	open := func() (*CA, *Keeper) {
		t.Helper()
		ca, err := OpenCA(filepath.Join(dir, "ca"), filepath.Join(dir, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := ca.Keeper(filepath.Join(dir, "tls"), []string{"mail.north.test", "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		return ca, k
	}
	ca, k := open()
	first, err := handshake(t, k.Config(), trusting(ca, "mail.north.test"))
	if err != nil {
		t.Fatal(err)
	}
	if shown := k.Shown("mail.north.test"); shown.SerialNumber.String() != first {
		t.Error("another certificate is said to be shown")
	}
	if _, err := handshake(t, k.Config(), trusting(ca, "127.0.0.1")); err != nil {
		t.Error(err)
	}
	if _, err := handshake(t, k.Config(), trusting(ca, "mail.south.test")); err == nil {
		t.Error("the certificate is good for another host")
	}
	ca, k = open() // everything is kept
	if again, err := handshake(t, k.Config(), trusting(ca, "mail.north.test")); err != nil || again != first {
		t.Errorf("%s, %v; want %s", again, err, first)
	}
	more, err := ca.Keeper(filepath.Join(dir, "tls"), []string{"mail.north.test", "imap.north.test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, more.Config(), trusting(ca, "imap.north.test")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "tls", "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestReloadServesTheNewCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, err := OpenCA(filepath.Join(dir, "ca"), filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	remake := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, "tls")); err != nil {
			t.Fatal(err)
		}
		if _, err := ca.Keeper(filepath.Join(dir, "tls"), []string{"mail.north.test"}); err != nil {
			t.Fatal(err)
		}
	}
	remake()
	k, err := Files(filepath.Join(dir, "tls", "cert.pem"), filepath.Join(dir, "tls", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	config := k.Config()
	first, err := handshake(t, config, trusting(ca, "mail.north.test"))
	if err != nil {
		t.Fatal(err)
	}
	remake()
	if err := k.Reload(); err != nil {
		t.Fatal(err)
	}
	second, err := handshake(t, config, trusting(ca, "mail.north.test"))
	if err != nil || second == first {
		t.Errorf("%s after %s, %v", second, first, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls", "key.pem"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(); err == nil {
		t.Error("a damaged key was taken")
	}
	if kept, err := handshake(t, config, trusting(ca, "mail.north.test")); err != nil || kept != second {
		t.Errorf("%s, %v; want %s", kept, err, second)
	}
	if _, err := ca.Keeper(filepath.Join(dir, "tls"), []string{"mail.north.test"}); err == nil {
		t.Error("a damaged key was replaced without a word")
	}
}

func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	k, err := SelfSigned(dir, []string{"mail.north.test"})
	if err != nil {
		t.Fatal(err)
	}
	leaf := k.current.Load().Leaf
	if err := leaf.VerifyHostname("mail.north.test"); err != nil {
		t.Error(err)
	}
	if leaf.IsCA {
		t.Error("a server's certificate is an authority")
	}
}

// A certificate that is made anew goes with the key that is there, so that a crash before it is written leaves a pair that matches.
func TestANewCertificateKeepsTheKey(t *testing.T) {
	dir := t.TempDir()
	var keys [2][]byte
	for i, host := range []string{"mail.north.test", "mail.south.test"} {
		k, err := SelfSigned(dir, []string{host})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.current.Load().Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
		if keys[i], err = os.ReadFile(filepath.Join(dir, "key.pem")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(keys[0], keys[1]) {
		t.Error("the key was replaced")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	dir := t.TempDir()
	k, err := SelfSigned(dir, []string{"mail.north.test"})
	if err != nil {
		t.Fatal(err)
	}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if _, err := handshake(t, k.Config(), old); err == nil {
		t.Error("TLS 1.1 was taken")
	}
}
