package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// everybody logs in, each to an account of the name.
type everybody struct{ directory.Directory }

func (everybody) Authenticate(_ context.Context, l directory.Login) (directory.Account, error) {
	return directory.Account{ID: mail.AccountID(l.Name), Login: mailtest.Address("bob@south.test")}, nil
}

// fuzzServer has an account "full" with some messages. Sessions that change it find it changed; they are fed to one after another.
var fuzzServer = sync.OnceValue(func() *Server {
	store, err := mailbox.OpenSQLite(mailbox.Options{Dir: fuzzDir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	return NewServer(Options{
		Hostname: "h", Store: store, Auth: sasl.New(sasl.Options{Directory: everybody{}}), AllowPlaintextAuth: true,
		Limits: Limits{IdleTime: time.Second, LoginDelay: 1},
	})
})

// fuzzDir is the server's; it is made by FuzzSession.
var fuzzDir string

func run(s *Server, conn net.Conn) {
	l, err := s.hub.Enter(conn)
	if err != nil {
		panic(err)
	}
	defer s.hub.Leave(l)
	newSession(s, l).serve(context.Background())
}

var prologues = []string{"", "USER full\r\nPASS x\r\n", "UTF8\r\nUSER full\r\nPASS x\r\nDELE 1\r\n", "AUTH PLAIN\r\n"}

var (
	replyForm     = regexp.MustCompile(`^(\+OK|-ERR) (\[[A-Z0-9]+([-/][A-Z0-9]+)*\] )?[^\[\r\n][^\r\n]*\r\n$`)
	challengeForm = regexp.MustCompile(`^\+ [A-Za-z0-9+/=]*\r\n$`)
	multiline     = regexp.MustCompile(`(?i)^(CAPA *|LIST *|UIDL *|RETR .*|TOP .*)$`)
)

// Whatever lines come in whatever state: each has one reply, in order, until the session ends, but for those that answer a challenge; and
// what is sent in a reply with more lines ends where it says so, and nothing in it is a reply.
func FuzzSession(f *testing.F) {
	fuzzDir = f.TempDir()
	for _, s := range []string{
		"STAT\nLIST\nLIST 2\nUIDL\nUIDL 1\nRETR 1\nTOP 2 1\nDELE 1\nRSET\nNOOP\nQUIT\nNOOP", "CAPA\nUSER x\nPASS y z\nSTAT\nAUTH\nSTLS\nUTF8",
		"AUTH PLAIN\nAHgAeQ==\nAUTH LOGIN\n*\nAUTH NONE", "\x00\n\xff\nRETR 99999999999\nTOP 1 -1\nretr 3\nTop 3 0\nRETR  2", "RETR 2\nRETR 3\nTOP 2 99\nDELE 2\nDELE 2\nLIST\nQUIT",
		"USER full\nPASS x\nRETR 2\n+OK\n.\nQUIT", strings.Repeat("x", 300) + "\nNOOP",
	} {
		for state := range prologues {
			f.Add(byte(state), s)
		}
	}
	f.Fuzz(func(t *testing.T, state byte, text string) {
		server := fuzzServer()
		restock(t, server.opts.Store)
		input := prologues[int(state)%len(prologues)]
		for line := range strings.SplitSeq(text, "\n") {
			input += strings.ReplaceAll(line, "\r", "") + "\r\n"
		}
		var out bytes.Buffer
		run(server, &testkit.Conn{In: strings.NewReader(input), Out: &out})
		checkReplies(t, out.Bytes(), strings.Split(strings.TrimSuffix(input, "\r\n"), "\r\n"))
	})
}

var stock = []string{"Subject: x\r\n\r\nbody\r\n", "Subject: y\n\n.\n+OK injected\n..\nend", "Subject: ü\r\n\r\n" + strings.Repeat(".\r\n", 100), ""}

// restock has four messages in the account, or more.
func restock(t *testing.T, store mailbox.Store) {
	t.Helper()
	account, err := store.Account(t.Context(), "full")
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	for _, text := range stock[min(len(stock), inbox(t, account).Len()):] {
		file(t, account, text, "")
	}
}

// checkReplies reads replies as a client would that sent these lines.
func checkReplies(t *testing.T, output []byte, lines []string) {
	r := bufio.NewReader(bytes.NewReader(output))
	asked := false
	next := -1 // the greeting answers nothing
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			break
		}
		if challengeForm.MatchString(line) && next >= 0 {
			asked = true
			next++
			continue
		}
		if !replyForm.MatchString(line) || next >= len(lines) {
			t.Fatalf("reply %q to %d of %q in\n%s", line, next, lines, output)
		}
		if next >= 0 && !asked && strings.HasPrefix(line, "+OK") && multiline.MatchString(lines[next]) {
			skipLines(t, r, output)
		}
		asked = false
		next++
	}
	if last := min(next, len(lines)) - 1; next < len(lines) && !ends(lines, last) && !asked && bytes.Count(output, []byte("-ERR")) < maxFailedLogins {
		t.Fatalf("%q has no reply in\n%s", lines[next], output)
	}
}

// ends tells whether the line may have ended the session.
func ends(lines []string, last int) bool {
	return last >= 0 && strings.EqualFold(strings.TrimRight(lines[last], " "), "QUIT")
}

// skipLines reads on to the line that is a dot.
func skipLines(t *testing.T, r *bufio.Reader, output []byte) {
	for {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "\r\n") {
			t.Fatalf("a line of a reply is %q, %v in\n%s", line, err, output)
		}
		if line == ".\r\n" {
			return
		}
	}
}
