package sasl

import (
	"crypto/tls"
	"testing"
)

// What every EHLO and CAPABILITY costs under TLS.
func BenchmarkOffered(b *testing.B) {
	state := connect(b, &tls.Config{InsecureSkipVerify: true}, &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}).server
	a := New(Options{})
	b.ReportAllocs()
	for b.Loop() {
		a.Offered(Channel{TLS: &state})
	}
}

// A login by a password that was proven before, as every connection of a mail program is one.
func BenchmarkPassword(b *testing.B) {
	a := New(Options{Directory: open(b)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Password(ctx, secure(home), "bob@south.test", "posthouse"); err != nil {
			b.Fatal(err)
		}
	}
}
