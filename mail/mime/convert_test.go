package mime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

var forms = []Form{{}, {SevenBit: true}, {ASCIIHeader: true}}

func convert(message string, form Form) (string, error) {
	var b strings.Builder
	err := Convert(&b, strings.NewReader(message), int64(len(message)), form)
	return b.String(), err
}

// TestConvert: RFC 3030 §3 and RFC 6152 §3; what is not at hand where it goes is encoded, and the rest is left alone.
func TestConvert(t *testing.T) {
	eight, seven, header := forms[0], forms[1], forms[2]
	crlf := strings.NewReplacer("\n", "\r\n")
	for name, c := range map[string]struct {
		form     Form
		in, want string
	}{
		"nothing to do": {seven, "Subject: x\n\nbody\n", "Subject: x\n\nbody\n"},
		"8-bit text": {seven, "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nжук = bug, and more. \nsix\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=D0=B6=D1=83=D0=BA =3D bug, and more.=20\nsix\n"},
		"8-bit text where it may be": {eight, "Content-Transfer-Encoding: 8bit\n\nжук\n", "Content-Transfer-Encoding: 8bit\n\nжук\n"},
		"8bit in name only":          {seven, "Content-Transfer-Encoding: 8bit\n\nbug\n", "Content-Transfer-Encoding: 7bit\n\nbug\n"},
		"binary in name only":        {eight, "Content-Transfer-Encoding: binary\n\nжук\n", "Content-Transfer-Encoding: 8bit\n\nжук\n"},
		"a message of no MIME": {seven, "Subject: x\n\nJos\xe9 was here\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nJos=E9 was here\n"},
		"mostly 8-bit": {seven, "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nжжжж\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n0LbQttC20LYNCg==\n"},
		"a delimiter that is none": {seven, "Content-Type: text/plain\n\n--\xff begins this long line of thirty words or so\n",
			"Content-Type: text/plain\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=2D-=FF begins this long line of thirty words or so\n"},
		"multipart": {seven, "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\nжук\n--b\n\nasis\n--b\nContent-Type: image/x\nContent-Transfer-Encoding: binary\n\n\xff\xfe\n--b--\n",
			"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\n??????\n--b\n\nasis\n--b\nContent-Type: image/x\nContent-Transfer-Encoding: base64\n\n//4=\n\n--b--\n"},
		"message inside": {seven, "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: ж\nMIME-Version: 1.0\nContent-Type: text/html\n\nabcd\xff\n",
			"MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: =?utf-8?b?0LY=?=\nMIME-Version: 1.0\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\nabcd=FF\n"},
		"signed, and fits": {seven, "Content-Type: multipart/signed; boundary=b\n\n--b\n\nжук\n--b--\n", ""},
		"header":           {header, "Subject: =?utf-8?q?caf=C3=A9?= ж\nFrom: Жук <bob@пример.test>, \"a, b\" <carol@north.test>\n\nжук\n", "Subject: =?utf-8?b?Y2Fmw6kg0LY=?=\nFrom: =?utf-8?b?0JbRg9C6?= <bob@xn--e1afmkfd.test>,\n \"a, b\" <carol@north.test>\n\nжук\n"},
		"group":            {header, "To: Друзья: bob@south.test, Ж <carol@north.test>;\n\n", "To: =?utf-8?b?0JTRgNGD0LfRjNGP?=:\n <bob@south.test>,\n =?utf-8?b?0JY=?= <carol@north.test>;\n\n"},
		"parameters": {header, "Content-Type: image/x; name=\"жук.gif\"; a=b\n\n",
			"Content-Type: image/x;\n\tname*=utf-8''%D0%B6%D1%83%D0%BA.gif;\n\ta=\"b\"\n\n"},
		"trace":          {header, "Received: from x by y for <ж@south.test>; z\n\n", "Received: from x by y for <?@south.test>; z\n\n"},
		"message/global": {header, "Content-Type: Message/Global\n\nSubject: ж\n\n", "Content-Type: Message/rfc822\n\nSubject: =?utf-8?b?0LY=?=\n\n"},
	} {
		if c.want == "" {
			if got, err := convert(crlf.Replace(c.in), c.form); !errors.Is(err, ErrSealed) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			continue
		}
		got, err := convert(crlf.Replace(c.in), c.form)
		if want := crlf.Replace(c.want); err != nil || got != want {
			t.Errorf("%s: %v\n%q\nwant\n%q", name, err, got, want)
		}
	}
}

// TestConvertRefuses: nothing is lost or broken to make a message fit.
func TestConvertRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		form Form
		in   string
		want error
	}{
		"address":           {Form{ASCIIHeader: true}, "From: ж@north.test\r\n\r\n", ErrAddress},
		"address in a name": {Form{SevenBit: true}, "To: Ж <\"ж ж\"@north.test>\r\n\r\n", ErrAddress},
		"signed": {Form{SevenBit: true},
			"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n", ErrSealed},
		"binary and encrypted": {Form{},
			"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n\x00\r\n--b--\r\n", ErrSealed},
		"partial":   {Form{SevenBit: true}, "Content-Type: message/partial\r\n\r\n\xff\r\n", ErrForm},
		"multipart": {Form{SevenBit: true}, "Content-Type: multipart/mixed; boundary=b\r\n\r\n\xff no delimiter\r\n", ErrForm},
		"reference": {Form{SevenBit: true}, "Content-Type: message/external-body\r\n\r\nSubject: \xff\r\n", ErrForm},
		"encoding":  {Form{SevenBit: true}, "Content-Transfer-Encoding: x-uue\r\n\r\n\xff\r\n", ErrForm},
		"boundary":  {Form{SevenBit: true}, "Content-Type: multipart/mixed; boundary=\"\xff\"\r\n\r\n--\xff\r\n", ErrForm},
	} {
		if got, err := convert(c.in, c.form); !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// randomMessage is well formed, and has parts of any octets.
func randomMessage(r *rand.Rand, depth int) string {
	encoding := []string{"7bit", "8bit", "binary", "base64", "quoted-printable"}[r.IntN(5)]
	switch n := r.IntN(6); {
	case n == 0 && depth < 4:
		return "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nMIME-Version: 1.0\r\n" + randomMessage(r, depth+1)
	case n < 3 && depth < 4:
		var b strings.Builder
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\nContent-Transfer-Encoding: binary\r\n\r\npreamble\r\n", depth)
		for range 1 + r.IntN(3) {
			fmt.Fprintf(&b, "--b%d\r\n%s\r\n", depth, randomMessage(r, depth+1))
		}
		fmt.Fprintf(&b, "--b%d--\r\n", depth)
		return b.String()
	}
	content := make([]byte, r.IntN(200))
	for i := range content {
		content[i] = "abc =-\t\x00\r\n\xd0\xb6\xff"[r.IntN(13)]
	}
	return fmt.Sprintf("Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", []string{"text/plain", "image/x"}[r.IntN(2)], encoding, content)
}

// TestConvertLosesNothing: of any well-formed message every part's content is what it was, in a form that fits, and converting again
// changes nothing.
func TestConvertLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 700 {
		message := "MIME-Version: 1.0\r\n" + randomMessage(r, 0)
		for _, form := range forms {
			got, err := convert(message, form)
			if err != nil {
				t.Fatalf("%q: %v", message, err)
			}
			checkForm(t, got, form)
			want := leaves(t, message)
			if have := leaves(t, got); fmt.Sprint(have) != fmt.Sprint(want) {
				t.Fatalf("%+v: %q\nbecame %q\n%q\n%q", form, message, got, want, have)
			}
			if again, err := convert(got, form); err != nil || again != got {
				t.Fatalf("%+v: %q\nbecame %q\nand then %q, %v", form, message, got, again, err)
			}
		}
	}
}

// leaves are the decoded contents of a message's parts, in order.
func leaves(t testing.TB, message string) (all []string) {
	var walk func(p *Part)
	walk = func(p *Part) {
		inside := p.Parts
		if p.Message != nil {
			inside = []*Part{p.Message}
		}
		for _, part := range inside {
			walk(part)
		}
		if len(inside) > 0 {
			return
		}
		r, err := NewDecoder(strings.NewReader(message[p.Body.Off:p.Body.End()]), p.Encoding)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Type+" "+string(content))
	}
	walk(parse([]byte(message)))
	return all
}

// checkForm holds a message against a form.
func checkForm(t testing.TB, message string, form Form) {
	t.Helper()
	bare := strings.ReplaceAll(message, "\r\n", "")
	if strings.ContainsAny(bare, "\r\n\x00") || form.SevenBit && !isASCII([]byte(message)) || message != "" && !strings.HasSuffix(message, "\r\n") {
		t.Fatalf("%+v: %q", form, message)
	}
}

func FuzzConvert(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.message)
	}
	f.Add([]byte("From: ж <a@пример.test>, b: c;\r\nSubject: \xff\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--"))
	f.Add([]byte("To: \xff <a@b.test>, \"c\\\rd\"@e.test"))
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, form := range forms {
			var b bytes.Buffer
			err := Convert(&b, bytes.NewReader(message), int64(len(message)), form)
			if err != nil && !errors.Is(err, ErrSealed) && !errors.Is(err, ErrAddress) && !errors.Is(err, ErrForm) {
				t.Fatal(err)
			}
			if err == nil {
				checkForm(t, b.String(), form)
			}
		}
	})
}

// TestConvertMemory: a large message costs no more memory than a small one.
func TestConvertMemory(t *testing.T) {
	for _, text := range []string{
		"Content-Type: image/x\r\n\r\n" + strings.Repeat("\xff", 5<<20), strings.Repeat("\r\nSome words are \xd0\xb6.", 100_000),
	} {
		message := strings.NewReader(text)
		if n := testing.AllocsPerRun(1, func() {
			if err := Convert(io.Discard, message, message.Size(), Form{SevenBit: true}); err != nil {
				t.Error(err)
			}
		}); n > 100 {
			t.Errorf("%v allocations", n)
		}
	}
}
