package sasl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/mail"
)

var (
	ctx      = context.Background()
	home     = netip.MustParseAddr("192.0.2.1")
	stranger = netip.MustParseAddr("198.51.100.1")
)

func mustParse(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// open is a directory with bob, ж and gone, who is disabled; passwords are "posthouse".
func open(t testing.TB) *directory.SQLite {
	t.Helper()
	d, err := directory.Open(filepath.Join(t.TempDir(), "directory.db"), directory.Options{
		Domains: []directory.Domain{{Name: "south.test"}}, Cost: password.Cost{Memory: 8, Time: 1, Iterations: 4096},
		SCRAM: []password.Hash{password.SHA256, password.SHA1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"bob", "ж", "gone", "a,b=c"} {
		text := name + "@south.test"
		if name == "a,b=c" {
			text = `"a,b=c"@south.test`
		}
		if _, err := d.AddAccount(ctx, mustParse(t, text), "posthouse"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetDisabled(ctx, mustParse(t, "gone@south.test"), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	return d
}

// certify makes a certificate that signs itself.
func certify(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mail.south.test"},
		IsCA: true, BasicConstraintsValid: true,
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// ends are what the two ends of a connection know of it.
type ends struct{ client, server tls.ConnectionState }

// connect does a handshake.
func connect(t testing.TB, client, server *tls.Config) ends {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	c, s := tls.Client(a, client), tls.Server(b, server)
	done := make(chan error, 1)
	go func() {
		done <- errors.Join(s.HandshakeContext(ctx), write(s))
	}()
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return ends{c.ConnectionState(), s.ConnectionState()}
}

// write says one octet, since under TLS 1.3 a client is through before its server.
func write(c net.Conn) error {
	_, err := c.Write([]byte("x"))
	return err
}

// secure is a protected channel to SMTP, without TLS.
func secure(client netip.Addr) Channel {
	return Channel{Plaintext: true, Scope: directory.ScopeSMTP, Client: client}
}

// run plays a client's responses; nil among them first: none with the command.
func run(a *Authenticator, ch Channel, mechanism string, responses ...[]byte) (directory.Account, [][]byte, error) {
	x, err := a.Start(mechanism, ch)
	if err != nil {
		return directory.Account{}, nil, err
	}
	var challenges [][]byte
	for _, r := range responses {
		challenge, done, err := x.Next(ctx, r)
		if err != nil || done {
			return x.Account, challenges, err
		}
		challenges = append(challenges, challenge)
	}
	return directory.Account{}, challenges, errors.New("the server wants more")
}

func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
