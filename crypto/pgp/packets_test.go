package pgp

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestEncrypted(t *testing.T) {
	a, b := alice(t), bob(t)
	whole := encrypted(t, strings.Repeat("x", 100_000), Encrypt{To: []*Cert{a.Public(), b.Public()}})
	newer := encrypted(t, "x", Encrypt{To: []*Cert{b.Public()}})
	armored := encrypted(t, "x", Encrypt{To: []*Cert{a.Public()}, Armor: true})
	session, err := readSessionKeys(newPackets(bytes.NewReader(whole)))
	if err != nil {
		t.Fatal(err)
	}
	literal := appendPacket(nil, tagLiteral, []byte("b\x00\x00\x00\x00\x00x"))
	ids := func(all ...*Key) (ids []KeyID) {
		for _, k := range all {
			if k == nil {
				ids = append(ids, 0)
				continue
			}
			ids = append(ids, k.KeyIDs()[1])
		}
		return ids
	}
	for what, c := range map[string]struct {
		data string
		to   []KeyID
	}{
		"two recipients":    {string(whole), ids(a, b)},
		"version 6":         {string(newer), ids(b)},
		"armor":             {string(armored), ids(a)},
		"armor, blanks":     {string(armored) + "\r\n \r\n", ids(a)},
		"hidden":            {string(encrypted(t, "x", Encrypt{Hidden: []*Cert{a.Public()}})), ids(nil)},
		"armor and words":   {string(armored) + "and some words\n", nil},
		"words, armor":      {"Dear Bob\n" + string(armored), nil},
		"two in one":        {string(whole) + string(whole), nil},
		"a text after it":   {string(whole) + string(literal), nil},
		"no container":      {string(appendPacket(nil, tagPKESK, session[0].content)), nil},
		"a text instead":    {string(append(appendPacket(nil, tagPKESK, session[0].content), literal...)), nil},
		"old container":     {string(appendPacket(appendPacket(nil, tagPKESK, session[0].content), 9, make([]byte, 99))), nil},
		"password only":     {string(encrypted(t, "x", Encrypt{Passwords: []string{"x"}})), nil},
		"container only":    {string(appendPacket(nil, tagSEIPD, make([]byte, 99))), nil},
		"container of none": {string(appendPacket(appendPacket(nil, tagPKESK, session[0].content), tagSEIPD, nil)), nil},
		"cut off":           {string(whole[:len(whole)-1]), nil},
		"words":             {"-----BEGIN PGP MESSAGE-----\n\nnot so\n", nil},
		"signed":            {string(literal), nil},
		"nothing":           {"", nil},
	} {
		to, ok, err := Encrypted(strings.NewReader(c.data))
		if err != nil || ok != (c.to != nil) || !slices.Equal(to, c.to) {
			t.Errorf("%s: %v %v %v", what, to, ok, err)
		}
	}
}

func TestPackets(t *testing.T) {
	for data, want := range map[string]string{
		"\xcb\x03abc": "abc",
		"\xcb\xc0\x00" + strings.Repeat("x", 192): strings.Repeat("x", 192),
		"\xcb\xff\x00\x00\x00\x02ab":              "ab",
		"\xcb\xe1ab\x01c":                         "abc", // in two chunks
		"\xac\x03abc":                             "abc", // old, a length of one octet
		"\xad\x00\x03abc":                         "abc",
		"\xae\x00\x00\x00\x03abc":                 "abc",
		"\xafabc":                                 "abc", // until the end
	} {
		p := newPackets(strings.NewReader(data))
		tag, body, err := p.next()
		if err != nil || tag != tagLiteral {
			t.Fatalf("%q: %d, %v", data, tag, err)
		}
		got, err := io.ReadAll(body)
		if _, _, end := p.next(); err != nil || string(got) != want || end != io.EOF {
			t.Errorf("%q: %q, %v, %v", data, got, err, end)
		}
	}
	for _, data := range []string{"\x0b\x03abc", "\xcb", "\xcb\xff\x00", "\xcb\xe1ab", "\xae\x00", "\xcb\x03ab"} {
		p := newPackets(strings.NewReader(data))
		_, body, err := p.next()
		if err == nil {
			_, err = io.ReadAll(body)
		}
		if err == nil || err == io.EOF {
			t.Errorf("%q: %v", data, err)
		}
	}
}
