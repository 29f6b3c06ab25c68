// Package certs keeps the TLS certificates of this server: from files, self-signed, from a local authority for development, or by ACME.
//
// It must not know what is spoken over TLS. A Keeper's configurations look the certificate up at every handshake, so that a new one is
// used without dropping a connection.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// How long certificates of our own making last, and how long before their end they are made anew.
const (
	lifetime = 398 * 24 * time.Hour // what clients take at most
	renewal  = 30 * 24 * time.Hour
	caYears  = 10
)

// Keeper holds the certificate in use. All methods may be called from many goroutines.
type Keeper struct {
	load    func() (*tls.Certificate, error)
	current atomic.Pointer[tls.Certificate]

	// By ACME only: what an authority gave for hosts, or its challenge; current serves where there is none.
	challenge func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	hosts     []string
}

func newKeeper(load func() (*tls.Certificate, error)) (*Keeper, error) {
	k := &Keeper{load: load}
	return k, k.Reload()
}

// Files keeps a certificate chain and key in PEM files.
func Files(cert, key string) (*Keeper, error) {
	return newKeeper(func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(cert, key)
		return &c, err
	})
}

// SelfSigned keeps a certificate that nobody vouches for in dir, made when it is missing, nearly over or for other hosts.
func SelfSigned(dir string, hosts []string) (*Keeper, error) {
	return newKeeper(func() (*tls.Certificate, error) { return keep(dir, hosts, nil) })
}

// Reload reads the certificate anew; on an error the old one stays.
func (k *Keeper) Reload() error {
	c, err := k.load()
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	k.current.Store(c)
	return nil
}

// Config is a server's configuration: TLS 1.2 or later, Go's choice of suites. Each call makes one of its own, so that a session ticket
// of one listener is worth nothing at another.
func (k *Keeper) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: k.get,
	}
}

// Shown is the certificate that a server of Config shows to who asks for a name.
func (k *Keeper) Shown(serverName string) *x509.Certificate {
	c, err := k.get(&tls.ClientHelloInfo{ServerName: serverName, Conn: nowhere{}})
	if err != nil {
		return nil
	}
	return c.Leaf
}

// nowhere is the connection of a handshake that is none: the ACME library logs where one comes from.
type nowhere struct{ net.Conn }

// LocalAddr is net.Conn.
func (nowhere) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is net.Conn.
func (nowhere) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (k *Keeper) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if k.challenge != nil {
		named := *hello
		if named.ServerName == "" {
			named.ServerName = k.hosts[0] // SMTP clients often name nobody: RFC 6066 §3 is optional there
		}
		if c, err := k.challenge(&named); err == nil {
			return c, nil
		}
	}
	return k.current.Load(), nil
}

// CA is a local authority for development and tests.
type CA struct {
	// File is the authority's certificate, for clients to trust.
	File string
	cert *tls.Certificate
}

// OpenCA opens the authority in dir, made if it is missing. Its certificate is written to file.
func OpenCA(dir, file string) (*CA, error) {
	cert, err := keep(dir, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	if err := write(file, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return &CA{File: file, cert: cert}, nil
}

// Keeper keeps a certificate for hosts, signed by the authority, in dir.
func (ca *CA) Keeper(dir string, hosts []string) (*Keeper, error) {
	return newKeeper(func() (*tls.Certificate, error) { return keep(dir, hosts, ca.cert) })
}

// Pool holds the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert.Leaf)
	return pool
}

// keep reads the certificate in dir, and makes it first if it is missing, nearly over, for other hosts or of another issuer.
// Without hosts it is an authority; without an issuer it signs itself.
func keep(dir string, hosts []string, issuer *tls.Certificate) (*tls.Certificate, error) {
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	c, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case err == nil && fits(c.Leaf, hosts, issuer):
		return &c, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err // a damaged key is for a person to look at
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := keepKey(keyFile)
	if err != nil {
		return nil, err
	}
	der, err := issue(hosts, issuer, key)
	if err != nil {
		return nil, err
	}
	if err := write(certFile, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return nil, err
	}
	c, err = tls.LoadX509KeyPair(certFile, keyFile)
	return &c, err
}

// keepKey reads a private key, and makes it if it is missing. It outlives its certificates, so that a crash between the two files never
// leaves a pair that does not match.
func keepKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(file)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not a PEM file", file)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T is not of our making", file, private)
	}
	return key, nil
}

func makeKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, write(file, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func fits(leaf *x509.Certificate, hosts []string, issuer *tls.Certificate) bool {
	if time.Now().After(leaf.NotAfter.Add(-renewal)) {
		return false
	}
	for _, h := range hosts {
		if leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return issuer == nil || leaf.CheckSignatureFrom(issuer.Leaf) == nil
}

func issue(hosts []string, issuer *tls.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Posthouse local authority"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.AddDate(caYears, 0, 0), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	if hosts != nil {
		t.Subject.CommonName, t.NotAfter, t.IsCA = hosts[0], now.Add(lifetime), false
		t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		for _, h := range hosts {
			if ip := net.ParseIP(h); ip != nil {
				t.IPAddresses = append(t.IPAddresses, ip)
			} else {
				t.DNSNames = append(t.DNSNames, h)
			}
		}
	}
	parent, signer := t, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	return x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
}

// write replaces a file as a whole, synced before it takes its name.
func write(name string, mode fs.FileMode, block *pem.Block) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = errors.Join(pem.Encode(f, block), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
