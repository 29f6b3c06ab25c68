package mime

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// pieces is a Sink that keeps all.
type pieces struct {
	texts  []string
	places []Place
}

func (p *pieces) Begin(place Place) {
	p.texts, p.places = append(p.texts, ""), append(p.places, place)
}

func (p *pieces) Take(piece []byte) bool {
	p.texts[len(p.texts)-1] += string(piece)
	return true
}

func scanned(t *testing.T, message string) *pieces {
	t.Helper()
	parser := NewParser()
	if _, err := parser.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
	var s Scanner
	var got pieces
	if err := s.Scan(bytes.NewReader([]byte(message)), parser.Close(), &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestScan(t *testing.T) {
	got := scanned(t, "Subject: =?utf-8?q?=C3=BC?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"+
		"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nna=\r\n=EFve\r\n"+
		"--b\r\nContent-Type: application/octet-stream\r\n\r\nhidden\r\n"+
		"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: unheard-of\r\n\r\nhidden\r\n"+
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\nepilogue\r\n")
	want := []string{
		"SUBJECT: U\u0308\nCONTENT-TYPE: MULTIPART/MIXED; BOUNDARY=B\n",
		"CONTENT-TYPE: TEXT/PLAIN; CHARSET=ISO-8859-1\nCONTENT-TRANSFER-ENCODING: QUOTED-PRINTABLE\n", "NAI\u0308VE",
		"CONTENT-TYPE: APPLICATION/OCTET-STREAM\n",
		"CONTENT-TYPE: TEXT/PLAIN\nCONTENT-TRANSFER-ENCODING: UNHEARD-OF\n",
		"CONTENT-TYPE: MESSAGE/RFC822\n", "SUBJECT: INNER\n", "TEXT",
	}
	places := []Place{InHeader, InHeader, InBody, InHeader, InHeader, InHeader, InBody, InBody}
	if len(got.texts) != len(want) {
		t.Fatalf("%q", got.texts)
	}
	for i := range want {
		if got.texts[i] != want[i] || got.places[i] != places[i] {
			t.Errorf("%d: %q in %d, not %q in %d", i, got.texts[i], got.places[i], want[i], places[i])
		}
	}
}

// However a text is cut into pieces on its way, it is collated as a whole.
func TestScanPieces(t *testing.T) {
	letters := []string{"a", "e\u0301\u0323", "\u00fc", "\u0323", "\u0301", "한", "漢", "\U0001f600", "\xff", "\xe2\x82", " "}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var text []byte
		for range 100 {
			text = append(text, letters[r.IntN(len(letters))]...)
		}
		var got pieces
		s := &scan{Scanner: &Scanner{}, to: &got}
		s.begin(InBody)
		for rest := text; len(rest) > 0; {
			n := 1 + r.IntN(min(7, len(rest)))
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := s.end(); err != nil {
			t.Fatal(err)
		}
		if want := Collate(string(text)); got.texts[0] != want {
			t.Fatalf("%q:\n%q, not\n%q", text, got.texts[0], want)
		}
	}
}
