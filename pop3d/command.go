package pop3d

import (
	"context"
	"strconv"
	"strings"

	"posthouse/internal/link"
)

// command is one row of the table of commands.
type command struct {
	name string // "RETR"
	rfc  string // "RFC 1939 §5"
	in   states
	long bool // its line may be as long as a response of SASL
	run  func(ctx context.Context, s *session, args string) (answer, error)
}

// answer is what a command is answered.
type answer struct {
	reply reply
	// body writes the lines after the first, with the one that ends them (RFC 1939 §3). Nil: there are none. If it fails the session ends,
	// or what the client has would look whole.
	body func(out *link.Writer) error
}

// say is an answer of one line.
func say(r reply) (answer, error) { return answer{reply: r}, nil }

// states is a set of the states of RFC 1939 §3. UPDATE is the end of QUIT.
type states uint8

const (
	authorization states = 1 << iota
	transaction

	anyState = authorization | transaction
)

// alone is a command without arguments.
func alone(f func(context.Context, *session) (answer, error)) func(context.Context, *session, string) (answer, error) {
	return func(ctx context.Context, s *session, args string) (answer, error) {
		if strings.TrimRight(args, " ") != "" {
			return answer{}, errArguments
		}
		return f(ctx, s)
	}
}

// numbers are the arguments of a command that takes n of them.
func numbers(args string, n int) ([]int, error) {
	words := strings.Fields(args)
	if len(words) != n {
		return nil, errArguments
	}
	list := make([]int, n)
	for i, word := range words {
		number, err := strconv.ParseUint(word, 10, 31)
		if err != nil {
			return nil, errArguments
		}
		list[i] = int(number)
	}
	return list, nil
}

// listing is the answer of a line for each message, or for the one that is named: RFC 1939 §5, §7. line appends what is said of it after
// its number.
func listing(s *session, args string, line func(b []byte, position int) []byte) (answer, error) {
	numbered := func(b []byte, position int) []byte {
		b = strconv.AppendInt(b, int64(position)+1, 10)
		return line(append(b, ' '), position)
	}
	if strings.TrimSpace(args) != "" {
		n, err := numbers(args, 1)
		if err != nil {
			return answer{}, err
		}
		position, err := s.drop.position(n[0])
		if err != nil {
			return answer{}, err
		}
		return say(ok(string(numbered(nil, position))))
	}
	return answer{ok(s.drop.summary()), func(out *link.Writer) error {
		for position := range s.drop.messages() {
			if err := out.Advance(append(numbered(out.Available(), position), "\r\n"...)); err != nil {
				return err
			}
		}
		return out.WriteString(".\r\n")
	}}, nil
}
