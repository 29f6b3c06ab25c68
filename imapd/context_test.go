package imapd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/internal/link"
	"posthouse/mailbox"
)

// resultModel is the outcome of a search as a client keeps it by what it is told: RFC 5267 §4.3.3, §4.3.4.
type resultModel struct {
	t       *testing.T
	results []string
}

// hear takes the data items of an ESEARCH response.
func (m *resultModel) hear(items string) {
	for items != "" {
		name, rest, _ := strings.Cut(items, " (")
		list, after, ok := strings.Cut(rest, ")")
		if !ok {
			m.t.Fatalf("%q", items)
		}
		items = strings.TrimPrefix(after, " ")
		words := strings.Fields(list)
		for i := 0; i+1 < len(words); i += 2 {
			position, err := strconv.Atoi(words[i])
			if err != nil {
				m.t.Fatalf("%q: %v", list, err)
			}
			set := expand(m.t, words[i+1])
			switch {
			case position == 0 && name == "ADDTO":
				m.results = append(m.results, set...)
				slices.SortFunc(m.results, func(a, b string) int { return len(a)*100 + strings.Compare(a, b) - len(b)*100 })
			case position == 0:
				m.results = slices.DeleteFunc(m.results, func(s string) bool { return slices.Contains(set, s) })
			case name == "ADDTO":
				m.results = slices.Insert(m.results, position-1, set...)
			case slices.Equal(m.results[position-1:position-1+len(set)], set):
				m.results = slices.Delete(m.results, position-1, position-1+len(set))
			default:
				m.t.Fatalf("%s are not at %d of %s", set, position, m.results)
			}
		}
	}
}

// expand are the numbers of a set, in its order.
func expand(t *testing.T, set string) (numbers []string) {
	t.Helper()
	for part := range strings.SplitSeq(set, ",") {
		from, to, isRange := strings.Cut(part, ":")
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil {
			t.Fatalf("%q", set)
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, strconv.Itoa(n))
		}
	}
	return numbers
}

// Whatever is done to a mailbox, a client that follows the updates knows what it would find if it searched again.
func TestUpdatesKeepTheClientUpToDate(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5267, 1))
	_, addr := start(t, testOptions(t))
	c, other := dial(t, addr).login(), dial(t, addr).login()
	searches := map[string]string{"u": "UID SEARCH RETURN (%s) UNFLAGGED", "v": "UID SORT RETURN (%s) (REVERSE SUBJECT) UTF-8 UNSEEN"}
	models := map[string]*resultModel{}
	for tag, search := range searches {
		models[tag] = &resultModel{t: t}
		c.send(tag + " " + fmt.Sprintf(search, "UPDATE ALL") + "\r\n")
		c.until(tag + " OK")
	}
	hear := func(until string) {
		for line := c.line(); !strings.HasPrefix(line, until); line = c.line() {
			for tag, m := range models {
				if items, ok := strings.CutPrefix(line, `* ESEARCH (TAG "`+tag+`") UID `); ok {
					m.hear(items)
				}
			}
		}
	}
	count := 0
	for range 150 {
		by := []*client{c, other}[r.IntN(2)]
		command := ""
		switch n := r.IntN(5); {
		case n < 2:
			message := fmt.Sprintf("Subject: %c%c\r\n\r\nx\r\n", 'a'+rune(r.IntN(20)), 'a'+rune(r.IntN(3)))
			command = fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(message), message)
			count++
		case n < 4 && count > 0:
			first := 1 + r.IntN(count)
			flag := []string{`\Flagged`, `\Seen`, `\Deleted`}[r.IntN(3)]
			command = fmt.Sprintf("UID STORE %d:%d %cFLAGS.SILENT (%s)", first, first+r.IntN(4), "+-"[r.IntN(2)], flag)
		default:
			command = "EXPUNGE"
		}
		by.send("x " + command + "\r\n")
		if by == other {
			other.until("x OK")
		} else {
			hear("x OK")
		}
		c.send("n NOOP\r\n")
		hear("n OK")
		for tag, search := range searches {
			c.send("y " + fmt.Sprintf(search, "ALL") + "\r\n")
			var want []string
			if _, set, found := strings.Cut(c.until("* ESEARCH"), " ALL "); found {
				want = expand(t, set)
			}
			c.until("y OK")
			if got := models[tag].results; !slices.Equal(got, want) {
				t.Fatalf("after %q %s is %v, and should be %v", command, search, got, want)
			}
		}
	}
}

// Messages that become too old leave the outcome as time passes, with the next thing that is told.
func TestUpdatesAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Unix()
		slab := &mailbox.Slab{Messages: []mailbox.Message{{UID: 1, Internal: begin - 50}, {UID: 2, Internal: begin - 5}}}
		now := mailbox.NewSnapshot(mailbox.Box{ID: 1, UIDNext: 3}, nil, []*mailbox.Slab{slab})
		out := &bytes.Buffer{}
		s := &session{server: &Server{}, tag: "a", out: link.NewWriter(out), view: newView(&place{rights: mailbox.AllRights}, now, &awareness{})}
		c := parseCommand(t, "a UID SEARCH RETURN (UPDATE COUNT) YOUNGER 60\r\n")
		follow := func() string {
			out.Reset()
			if err := s.view.follow(t.Context(), s.out, now, telling{expunge: true}); err != nil {
				t.Fatal(err)
			}
			if err := s.out.Flush(); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		mustRun(t, s, c)
		if told := follow(); told != "" {
			t.Error(told)
		}
		time.Sleep(20 * time.Second)
		if told := follow(); told != "* ESEARCH (TAG \"a\") UID REMOVEFROM (0 1)\r\n" {
			t.Error(told)
		}
		time.Sleep(time.Minute)
		if told := follow(); told != "* ESEARCH (TAG \"a\") UID REMOVEFROM (0 2)\r\n" {
			t.Error(told)
		}
	})
}
