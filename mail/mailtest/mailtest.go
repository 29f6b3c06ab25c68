// Package mailtest makes the nouns of mail for tests.
package mailtest

import "posthouse/mail"

// Address is an address that the test has made; empty: the null one. It panics if it is none.
func Address(s string) mail.Address {
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}
