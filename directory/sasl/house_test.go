package sasl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/directory/directorytest"
	"posthouse/internal/testkit"
	"posthouse/mail/mailtest"
)

var (
	ctx      = context.Background()
	home     = netip.MustParseAddr("192.0.2.1")
	stranger = netip.MustParseAddr("198.51.100.1")
)

// open is a directory with bob, ж gone, who is disabled, and team, a shared account; passwords are "posthouse".
func open(t testing.TB) *directory.SQLite {
	t.Helper()
	d := directorytest.House(t, "bob", "ж", "gone", `"a,b=c"`)
	if err := d.SetDisabled(ctx, mailtest.Address("gone@south.test"), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddSharedAccount(ctx, mailtest.Address("team@south.test")); err != nil {
		t.Fatal(err)
	}
	return d
}

func serverCertificate() tls.Certificate {
	return testkit.Certificate(x509.Certificate{DNSNames: []string{"mail.south.test"}})
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
