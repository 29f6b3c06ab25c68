package imapd

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mailbox"
)

// Every parser takes or refuses any text, and never panics; what it refuses has a reply.
func FuzzParsers(f *testing.F) {
	for _, args := range []string{
		" 1:*,$ (FLAGS BODY.PEEK[1.2.HEADER.FIELDS.NOT (a b)]<0.5> BINARY.SIZE[1])", " 1 +FLAGS.SILENT (\\Seen key)", " $ foo",
		" RETURN (MIN SAVE) CHARSET UTF-8 OR (NOT SEEN FROM \"x\") SINCE 1-Feb-1994 UID 1:* HEADER a b BODY {3+}\r\nabc",
		" (SUBSCRIBED RECURSIVEMATCH) \"\" (% foo/*) RETURN (CHILDREN STATUS (MESSAGES))", " INBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {3+}\r\nabc",
		" 1:* (MODSEQ PREVIEW (LAZY) EMAILID SAVEDATE) (CHANGEDSINCE 3 VANISHED PARTIAL 1:2)", " 1:* (UNCHANGEDSINCE 4) FLAGS ()",
		" RETURN (PARTIAL -1:-5 COUNT) (REVERSE DATE SUBJECT DISPLAYFROM) UTF-8 MODSEQ \"/flags/\\\\Seen\" all 7", " REFS UTF-8 OLDER 3 SAVEDSINCE 1-Feb-2020",
		" 1 INBOX CATENATE (URL \"/INBOX;UIDVALIDITY=1/;UID=1/;SECTION=1;PARTIAL=0.5\" TEXT {3+}\r\nabc)", " \"\" (DEPTH infinity MAXSIZE 9) (/private/comment /shared/x)",
		" INBOX (/private/comment {3+}\r\nabc /shared/x NIL)", " INBOX (QRESYNC (1 2 3:4 (5 6)) CONDSTORE)",
		" foo (USE (\\Sent))", " PLAIN =", " \"a\" {1+}\r\nb", " (\"name\" NIL)", " IMAP4rev2", " INBOX (MESSAGES SIZE)", "", " x",
		" foo (USE (\\Sent))", " PLAIN =", " \"a\" {1+}\r\nb", " (\"name\" NIL)", " IMAP4rev2", " INBOX (MESSAGES SIZE)", " IN (subtree (a b) selected) RETURN (ALL) ALL", "", " x",
		" foo (USE (\\Sent))", " PLAIN =", " \"a\" {1+}\r\nb", " (\"name\" NIL)", " IMAP4rev2", " INBOX (MESSAGES SIZE)", " IN (subtree (a b) selected) RETURN (ALL) ALL", " SET (selected (MessageNew (uid) MessageExpunge)) (subtree a NONE)", "", " x",
	} {
		for i := range 3 {
			f.Add(byte(i*11), args)
		}
	}
	tab := newTable(extensions(&Limits{}))
	var names []string
	for _, e := range extensions(&Limits{}) {
		for _, c := range e.commands {
			names = append(names, c.name)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, args string) {
		name := names[int(which)%len(names)]
		d := lineDecoder("a " + name + args + "\r\n")
		p := &parser{d, tab}
		var tag, got string
		if !p.Tag(&tag) || !p.SP() || !p.name(&got) || tab.commands[got] == nil {
			return
		}
		c, err := tab.commands[got].parse(p)
		if (err == nil) != (c != nil) {
			t.Fatalf("%q: %v, %v", got+args, c, err)
		}
		if err != nil {
			if r, _ := replyTo(err); d.Gone() == nil && (r.status == statusOK || r.text == "Expected " || r == errServerBug) {
				t.Fatalf("%q is answered %v", got+args, r)
			}
			return
		}
		if f, ok := c.(*fetchCommand); ok {
			checkItems(t, tab, f)
		}
	})
}

// A filter is search criteria, and nothing beside them: those that may be set can be part of a search.
func FuzzFilter(f *testing.F) {
	for _, value := range []string{"SEEN", "OR SMALLER 5 FROM \"x\"", "BODY {3+}\r\nabc", "BODY {3}\r\nabc SEEN", "(", "SEEN\r\nDRAFT", "FILTER a", ""} {
		f.Add(value)
	}
	tab := newTable(extensions(&Limits{}))
	f.Fuzz(func(t *testing.T, value string) {
		g, m := &program{}, matcher(nil)
		if !g.parseFilter(tab, []byte(value), &m) {
			return
		}
		whole := &program{}
		p := &parser{lineDecoder("(" + value + ")\r\n"), tab}
		if _, ok := p.searchKey(whole); !ok || !p.End() {
			t.Fatalf("%q is a filter, and no list of keys: %v", value, p.Err())
		}
	})
}

// checkItems checks that the names of sections in answers are sections again, and the same.
func checkItems(t *testing.T, tab *table, c *fetchCommand) {
	for _, item := range c.items {
		section, ok := item.(*sectionItem)
		if !ok || strings.HasPrefix(section.name, "RFC822") {
			continue
		}
		name := section.name
		if section.asked { // The answer has only the first octet.
			name = strings.TrimSuffix(name, ">") + ".1>"
		}
		p := &parser{lineDecoder(name + "\r\n"), tab}
		var again []fetcher
		if !p.fetchItems(&again) || !p.End() || len(again) != 1 || again[0].(*sectionItem).name != section.name {
			t.Fatalf("%q is no section: %v", name, p.Err())
		}
	}
}

// everybody logs in, each to an account of the name.
type everybody struct{ directory.Directory }

func (everybody) Authenticate(_ context.Context, l directory.Login) (directory.Account, error) {
	address, err := mail.ParseAddress("bob@south.test")
	return directory.Account{ID: mail.AccountID(l.Name), Login: address}, err
}

// neighbours are accounts named by the local parts of addresses: "o-x" shares with x.
type neighbours struct{}

func (neighbours) SetQuota(context.Context, mail.Address, directory.Quota) error { return nil }

func (neighbours) Account(_ context.Context, login mail.Address) (directory.Account, error) {
	return directory.Account{ID: mail.AccountID(login.Local()), Login: login}, nil
}

func (n neighbours) AccountByID(ctx context.Context, id mail.AccountID) (directory.Account, error) {
	login, err := mail.ParseAddress(string(id) + "@south.test")
	if err != nil {
		return directory.Account{}, directory.ErrNoAccount
	}
	return n.Account(ctx, login)
}

func (neighbours) Share(context.Context, mail.AccountID, mail.AccountID) error   { return nil }
func (neighbours) Unshare(context.Context, mail.AccountID, mail.AccountID) error { return nil }

func (neighbours) MayShare(_ context.Context, owner, with mail.AccountID) (bool, error) {
	return owner == "o-"+with, nil
}

func (n neighbours) SharedWith(ctx context.Context, id mail.AccountID) ([]directory.Account, error) {
	if !strings.HasPrefix(string(id), "fuzz-") {
		return nil, nil
	}
	a, err := n.AccountByID(ctx, "o-"+id)
	return []directory.Account{a}, err
}

var fuzzServer = sync.OnceValues(func() (*Server, error) {
	store, err := mailbox.OpenSQLite(mailbox.Options{Dir: houseDir, Log: slog.New(slog.DiscardHandler)})
	return NewServer(Options{
		Hostname: "h", Store: store, Auth: sasl.New(sasl.Options{Directory: everybody{}}), Sharing: neighbours{}, AllowPlaintextAuth: true,
		Limits: Limits{MessageSize: 10_000, IdleTime: time.Second, LoginDelay: 1},
	}), err
})

var fuzzAccount atomic.Int64

const fuzzMessage = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n--b--\r\n"

// prologues bring a session into each state.
var prologues = []string{
	"",
	"p1 LOGIN %s x\r\n",
	"p1 LOGIN %s x\r\np2 APPEND INBOX {" + strconv.Itoa(len(fuzzMessage)) + "+}\r\n" + fuzzMessage + "\r\np3 SELECT INBOX\r\n",
	"p1 LOGIN %s x\r\np2 ENABLE IMAP4rev2\r\np3 APPEND INBOX (\\Deleted key) {3+}\r\nabc\r\np4 EXAMINE INBOX\r\n",
	"p1 LOGIN o-%s x\r\np2 APPEND INBOX {3+}\r\nabc\r\np3 SETACL INBOX %s@south.test lrswipkxtea\r\np4 UNAUTHENTICATE\r\np5 LOGIN %s x\r\n" +
		"p6 SELECT \"Other Users/o-%s@south.test/INBOX\"\r\n",
	"p1 LOGIN %s x\r\np2 ENABLE QRESYNC UIDONLY METADATA UTF8=ACCEPT\r\np3 APPEND INBOX (\\Deleted) {3+}\r\nabc {3+}\r\ndef\r\np4 SELECT INBOX\r\n",
	"p1 LOGIN %s x\r\np2 APPEND INBOX {3+}\r\nabc\r\np3 SELECT INBOX\r\n" + compressing,
}

// compressing ends a prologue after which everything is compressed.
const compressing = "p4 COMPRESS DEFLATE\r\n"

// literalEnd is how a line announces a literal, shortLiteral one that is sent here.
var (
	literalEnd   = regexp.MustCompile(`\{[0-9]+\+?\}$`)
	shortLiteral = regexp.MustCompile(`\{(0|[1-9][0-9]{0,2})\+?\}$`)
)

// Whatever lines come in whatever state: each tag has one tagged reply, or the session says BYE; only searches may be answered later than
// what comes after them. And every octet that is sent is part of a well-formed response.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"NOOP\nFETCH 1 (BODY[] BINARY[2] ENVELOPE)\nSTORE 1 +FLAGS (\\Seen x)\nSEARCH TEXT one\nEXPUNGE\nCLOSE",
		"CREATE {3+}\nLIST \"\" *\nRENAME a b\nSTATUS \"a\" (MESSAGES SIZE)\nDELETE a\nLSUB \"\" %", "IDLE\nDONE\nAUTHENTICATE PLAIN\n*\nID NIL",
		"LOGIN a b\nAPPEND INBOX ~{5+}\nCOPY 1 Sent\nMOVE 1 Trash\nUID FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]<1.2>\nLOGOUT\nNOOP",
		"SELECT {300}\nFETCH 1 BODY[HEADER.FIELDS ({2+}", "CAPABILITY\nNAMESPACE\nENABLE X\nCHECK\nUNSELECT\nSUBSCRIBE x\nUNSUBSCRIBE x", "\x00\n\xff\n(((((",
		"SEARCH RETURN (RELEVANCY ALL) FUZZY (TEXT a FROM b)\nSORT (RELEVANCY) UTF-8 FUZZY SUBJECT c",
		"GETACL INBOX\nSETACL INBOX a@south.test +lrs\nLISTRIGHTS INBOX anyone\nMYRIGHTS INBOX\nDELETEACL INBOX -a@south.test\nLIST \"\" * RETURN (MYRIGHTS)",
		"COPY 1 Sent\nMOVE 1 Trash\nLIST \"Other Users/\" %\nCREATE \"Other Users/x\"\nSTORE 1 FLAGS.SILENT ()\nGETQUOTAROOT INBOX",
		"GETQUOTA \"\"\nGETQUOTAROOT INBOX\nSETMETADATA INBOX (/private/comment {3+}\n)\nGETMETADATA (DEPTH 1 MAXSIZE 9) INBOX (/private/comment)\nLIST \"\" * RETURN (METADATA (/private/comment))",
		"REPLACE 1 Drafts (\\Seen) {5+}\nUID REPLACE 2 INBOX {0+}\nAPPEND INBOX {3+}\n {4+}\nAPPEND INBOX CATENATE (TEXT {3+}\n URL \"/INBOX/;UID=1/;SECTION=TEXT\")",
		"SORT (REVERSE DATE DISPLAYFROM) UTF-8 ALL\nUID SORT RETURN (PARTIAL 1:5 COUNT) (SUBJECT) UTF-8 SEEN\nUID SORT (FROM SIZE DATE) UTF-8 ALL\nTHREAD REFERENCES UTF-8 ALL\nUID THREAD ORDEREDSUBJECT UTF-8 1:*",
		"UID FETCH 1:* (PREVIEW MODSEQ EMAILID THREADID SAVEDATE) (CHANGEDSINCE 1 VANISHED)\nUID STORE 1 (UNCHANGEDSINCE 1) FLAGS.SILENT x\nUID FETCH 1:* PREVIEW (LAZY)",
		"GENURLAUTH \"imap://x@h/INBOX/;UID=1;URLAUTH=anonymous\" INTERNAL\nRESETKEY INBOX\nURLFETCH \"imap://x@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:00\"\nSETQUOTA \"\" (STORAGE 9)",
		"UID EXPUNGE 1:*\nUID MOVE * Trash\nUID SEARCH RETURN (PARTIAL -1:-2) MODSEQ 1\nSELECT INBOX (QRESYNC (1 1 1:9 (1 1)))\nNOOP\nUNAUTHENTICATE\nNOOP",
		"COMPRESS DEFLATE\nNOOP\nNOOP", "UNSELECT\nSELECT Trash (CONDSTORE)\nUIDBATCHES 1\nSTATUS INBOX (HIGHESTMODSEQ MAILBOXID DELETED DELETED-STORAGE)",
		"NOTIFY SET STATUS (subtree \"Other Users\" (MessageNew MessageExpunge MailboxName))\nESEARCH IN (subtree \"Other Users\") ALL\nSTORE 1 +FLAGS (a)\nNOOP",
		"NOTIFY SET STATUS (selected (MessageNew (uid) MessageExpunge)) (personal (MailboxName MessageNew MessageExpunge))\nCREATE x\nCOPY 1 x\nNOTIFY NONE",
		"SEARCH RETURN (UPDATE) UNSEEN\nUID SORT RETURN (UPDATE ALL) (SIZE) UTF-8 SEEN\nSTORE 1 +FLAGS (\\Seen)\nCANCELUPDATE \"t0\"\nEXPUNGE",
		"SEARCH TEXT one\nUID SEARCH RETURN (ALL) BODY two\nFETCH 1 FLAGS\nESEARCH IN (personal) BODY one\nSORT (DATE) UTF-8 TEXT x\nNOOP\nEXPUNGE",
		"SEARCH RETURN (SAVE ALL) OR SEEN 1:*\nUID SEARCH UID $\nLIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a %) RETURN (STATUS (UNSEEN))",
	} {
		for state := range prologues {
			f.Add(byte(state), s)
		}
	}
	f.Fuzz(func(t *testing.T, state byte, text string) {
		server, err := fuzzServer()
		if err != nil {
			t.Fatal(err)
		}
		account := fmt.Sprintf("fuzz-%d", fuzzAccount.Add(1))
		prologue := strings.ReplaceAll(prologues[int(state)%len(prologues)], "%s", account)
		tags := regexp.MustCompile(`(?m)^p[0-9]`).FindAllString(prologue, -1)
		input, more := commandsOf(text)
		searches := map[string]bool{}
		for _, m := range searching.FindAllStringSubmatch(input, -1) {
			searches[m[1]] = true
		}
		if strings.HasSuffix(prologue, compressing) {
			input = deflate(input)
		}
		tags = append(tags, more...)
		var out bytes.Buffer
		runScript(server, &testkit.Conn{In: io.MultiReader(strings.NewReader(prologue), strings.NewReader(input)), Out: &out})
		checkResponses(t, out.Bytes(), tags, searches)
		for _, id := range []string{account, "o-" + account} {
			if err := server.opts.Store.Remove(t.Context(), mail.AccountID(id)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// commandsOf makes commands of lines, which get tags. One that ends with a short literal gets its octets; the next one belongs to it if
// it begins with a space or a parenthesis.
func commandsOf(text string) (input string, tags []string) {
	lines := strings.Split(text, "\n")
	inside := false
	for i, line := range lines {
		if inside = inside && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, ")")); !inside {
			tag := fmt.Sprintf("t%d", i)
			tags = append(tags, tag)
			line = tag + " " + line
		}
		line = strings.ReplaceAll(line, "\r", "")
		m := shortLiteral.FindStringSubmatch(line)
		if m == nil && literalEnd.MatchString(line) {
			line += " "
		}
		input += line + "\r\n"
		if inside = m != nil && strings.HasSuffix(m[0], "+}"); !inside {
			continue
		}
		size, _ := strconv.Atoi(m[1]) //nolint:errcheck // they are digits
		input += strings.Repeat("x", size)
		if i+1 == len(lines) || !strings.HasPrefix(lines[i+1], " ") && !strings.HasPrefix(lines[i+1], ")") {
			input += "\r\n"
		}
	}
	return input, tags
}

func deflate(text string) string {
	var b strings.Builder
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		panic(err)
	}
	io.WriteString(w, text) //nolint:errcheck // into memory
	w.Flush()               //nolint:errcheck // the same
	return b.String()
}

func runScript(server *Server, conn net.Conn) {
	l, err := server.hub.Enter(conn)
	if err != nil {
		panic(err)
	}
	defer server.hub.Leave(l)
	s := newSession(server, l)
	for rest := s.serve(context.Background(), s.welcome); rest != nil; {
		rest = rest()
	}
}

var (
	taggedForm   = regexp.MustCompile(`^([tp][0-9]+) (OK|NO|BAD) (\[[^\]\r\n]+\] )?[^\[\r\n][^\r\n]*\r\n$`)
	untaggedForm = regexp.MustCompile(`^\* (OK|NO|BAD|BYE|CAPABILITY|ENABLED|LIST|LSUB|STATUS|SEARCH|ESEARCH|COMPARATOR|SORT|THREAD|VANISHED|METADATA|QUOTA|QUOTAROOT|FLAGS|ID|NAMESPACE|` +
		`ACL|MYRIGHTS|LISTRIGHTS|GENURLAUTH|URLFETCH|` +
		`[0-9]+ (EXISTS|EXPUNGE|RECENT|FETCH|UIDFETCH))[ \r]`)
	literalForm = regexp.MustCompile(`~?\{([0-9]+)\}\r\n$`)
)

// searching are the tags of commands that others may overtake.
var searching = regexp.MustCompile(`(?mi)^(t[0-9]+) (?:UID )?(?:E?SEARCH|SORT|THREAD)\b`)

// checkResponses reads responses as a client would, and compares their tags with those of the commands. Only a command that asked for
// more (IDLE, AUTHENTICATE, a synchronizing literal) may have consumed lines after it, which have no reply then.
func checkResponses(t *testing.T, output []byte, tags []string, searches map[string]bool) {
	r := bufio.NewReader(bytes.NewReader(output))
	overtaken := map[string]bool{}
	next, ended := 0, false
	asked, askedBefore, compressed, dropped := false, false, false, false
	for {
		line, err := r.ReadString('\n')
		if (err == io.EOF || compressed && errors.Is(err, io.ErrUnexpectedEOF)) && line == "" {
			break
		}
		if m := taggedForm.FindStringSubmatch(line); m != nil {
			if overtaken[m[1]] {
				delete(overtaken, m[1])
				continue
			}
			for ; next < len(tags) && tags[next] != m[1]; next++ {
				switch {
				case asked || askedBefore || dropped:
				case searches[tags[next]]:
					overtaken[tags[next]] = true
				default:
					t.Fatalf("%s has no reply in\n%s", tags[next], output)
				}
			}
			if next == len(tags) {
				t.Fatalf("a second reply, or one out of order: %q in\n%s", line, output)
			}
			next++
			asked, askedBefore = false, asked
			if strings.Contains(line, " DEFLATE active") {
				r, compressed = bufio.NewReader(flate.NewReader(r)), true
				dropped = m[1][0] == 't' // What comes after it is dropped, or not compressed.
			}
			continue
		}
		if ended = ended || strings.HasPrefix(line, "* BYE "); strings.HasPrefix(line, "+ ") {
			asked = true
			continue
		}
		if !untaggedForm.MatchString(line) {
			t.Fatalf("response %q in\n%s", line, output)
		}
		for m := literalForm.FindStringSubmatch(line); m != nil; m = literalForm.FindStringSubmatch(line) {
			size, _ := strconv.ParseInt(m[1], 10, 64) //nolint:errcheck // they are digits
			if n, _ := io.CopyN(io.Discard, r, size); n < size {
				t.Fatalf("a literal is cut off in\n%s", output)
			}
			line, _ = r.ReadString('\n') //nolint:errcheck // it is looked at
		}
		if !strings.HasSuffix(line, "\r\n") || strings.Count(line, "\r")+strings.Count(line, "\n") != 2 {
			t.Fatalf("response line %q in\n%s", line, output)
		}
	}
	if !ended && len(overtaken) > 0 {
		t.Fatalf("%v have no reply in\n%s", overtaken, output)
	}
	if !ended && next < len(tags) && !asked && !askedBefore && !dropped {
		t.Fatalf("%s has no reply in\n%s", tags[next], output)
	}
}
