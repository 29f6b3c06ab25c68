package imapd

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthouse/directory/sasl"
	"posthouse/mail"
	"posthouse/mailbox"
)

// Two or three sessions of one account do at random what they like, some commands in one packet, and a model says what must come of it:
// the world is what the account must hold, a believer is a client that knows nothing but what it is told. After each answer a believer
// knows what is there, as far as RFC 9051 §7.5.1 lets it be told; whoever comes back with QRESYNC does as well.
//
// What fails is made as short as it can be, and printed as a transcript.

// modelSeeds is the environment variable for how many histories are played, instead of the usual number.
const modelSeeds = "POSTHOUSE_MODEL_SEEDS"

const (
	usualSeeds   = 260
	modelTurns   = 70               // of one history
	shrinkingFor = 90 * time.Second // at most
)

// turn is what one session does at a time. What it is follows from the seed and from what the session knows, so that it makes sense
// without the turns that shrinking took away.
type turn struct {
	peer int
	seed uint64
}

// game plays a history.
type game struct {
	t       *testing.T
	addr    string
	account string
	world   *world
	store   mailbox.Account
	peers   []*believer
	failure error
	script  []exchange
}

// fail keeps what went wrong first.
func (g *game) fail(format string, args ...any) {
	if g.failure == nil {
		g.failure = fmt.Errorf(format, args...)
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(modelSeeds), strconv.Itoa(usualSeeds)))
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		n = min(n, 30)
	}
	o := testOptions(t)
	o.Log, o.Auth = slog.New(slog.DiscardHandler), sasl.New(sasl.Options{Directory: everybody{}})
	o.Store = unhurried{o.Store}
	_, addr := start(t, o)
	games := 0
	play := func(seed int, turns []turn) *game {
		games++
		g := &game{t: t, addr: addr, account: fmt.Sprintf("model-%d", games), world: newWorld()}
		g.play(o.Store, seed, turns)
		return g
	}
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 9051)) //nolint:gosec // it is a seed
		var turns []turn
		for range modelTurns {
			turns = append(turns, turn{1 + r.IntN(2+seed%2), r.Uint64()})
		}
		g := play(seed, turns)
		if g.failure == nil {
			continue
		}
		turns = shrink(turns, func(some []turn) bool { return play(seed, some).failure != nil })
		if again := play(seed, turns); again.failure != nil {
			g = again
		}
		t.Fatalf("seed %d, after %d turns: %v\n\n%s", seed, len(turns), g.failure, g.transcript())
	}
}

// unhurried is a store whose bodies are searched when others have had their turn, so that commands overtake searches.
type unhurried struct{ mailbox.Store }

type unhurriedAccount struct{ mailbox.Account }

func (u unhurried) Account(ctx context.Context, id mail.AccountID) (mailbox.Account, error) {
	a, err := u.Store.Account(ctx, id)
	return unhurriedAccount{a}, err
}

func (a unhurriedAccount) Facts(ctx context.Context, want mailbox.FactSet, blobs iter.Seq[mailbox.BlobID]) iter.Seq2[*mailbox.Facts, error] {
	if want&mailbox.WantParts != 0 {
		for range 2000 {
			runtime.Gosched()
		}
	}
	return a.Account.Facts(ctx, want, blobs)
}

// shrink takes turns away as long as what is left fails: first halves, then less.
func shrink(turns []turn, fails func([]turn) bool) []turn {
	end := time.Now().Add(shrinkingFor)
	for size := len(turns) / 2; size > 0; {
		shorter := false
		for at := 0; at < len(turns) && time.Now().Before(end); {
			rest := slices.Concat(turns[:at], turns[min(at+size, len(turns)):])
			if fails(rest) {
				turns, shorter = rest, true
			} else {
				at += size
			}
		}
		if !shorter || size > 1 {
			size /= 2
		}
	}
	return turns
}

// play plays the turns, and in the end everybody has one more.
func (g *game) play(store mailbox.Store, seed int, turns []turn) {
	var err error
	if g.store, err = store.Account(g.t.Context(), mail.AccountID(g.account)); err != nil {
		g.t.Fatal(err)
	}
	defer g.store.Close()
	for n := range 2 + seed%2 {
		b := &believer{g: g, n: n + 1}
		g.peers = append(g.peers, b)
		defer func() { b.conn.Close() }()
		b.connect(rand.New(rand.NewPCG(uint64(seed), uint64(n))))
	}
	for _, turn := range turns {
		g.peers[turn.peer-1].turn(rand.New(rand.NewPCG(turn.seed, 0)))
		g.check()
	}
	for _, b := range g.peers {
		if b.wake(); b.box != nil && !b.box.deleted {
			b.run([]*modelCommand{b.noop(nil), b.learn(nil), b.noop(nil)})
		}
		g.check()
	}
}

// check compares the store with the world, when nothing is under way.
func (g *game) check() {
	if g.failure != nil {
		return
	}
	if err := g.world.compare(g.t.Context(), g.store); err != nil {
		g.fail("%w", err)
	}
}

// connect logs in anew, and enables this or that.
func (b *believer) connect(r *rand.Rand) {
	conn, err := net.Dial("tcp", b.g.addr)
	if err != nil {
		b.g.t.Fatal(err)
	}
	*b = believer{g: b.g, n: b.n, cache: b.cache, conn: conn, r: bufio.NewReader(conn)}
	b.read()
	b.do(&modelCommand{text: "LOGIN " + b.g.account + " posthouse"})
	var names []string
	for _, e := range []struct {
		name   string
		chance int
		set    *bool
	}{{"QRESYNC", 2, &b.vanished}, {"CONDSTORE", 4, &b.modSeqs}, {"UIDONLY", 6, &b.uidOnly}, {"IMAP4rev2", 3, &b.rev2}} {
		if r.IntN(e.chance) == 0 {
			names = append(names, e.name)
			*e.set = true
		}
	}
	b.modSeqs = b.modSeqs || b.vanished
	if names != nil {
		b.do(&modelCommand{text: "ENABLE " + strings.Join(names, " ")})
	}
	for range 4 { // as a rule it does something with a mailbox
		if b.box == nil && b.g.failure == nil {
			b.do(b.selectCommand(r))
		}
	}
}

// turn is what a session does at a time.
func (b *believer) turn(r *rand.Rand) {
	if b.wake(); b.g.failure != nil {
		return
	}
	switch n := r.IntN(20); {
	case b.box != nil && b.box.deleted:
		b.lose(r)
	case n < 2:
		b.leave()
		b.hangUp(r)
	case n < 4:
		b.idle()
	case n < 9:
		var burst []*modelCommand
		for range 2 + r.IntN(3) {
			burst = append(burst, b.randomCommand(r))
		}
		b.run(burst)
	default:
		b.do(b.randomCommand(r))
	}
}

// lose is the end of a session whose mailbox was deleted: it hears BYE.
func (b *believer) lose(r *rand.Rand) {
	b.send("x NOOP\r\n")
	b.hearEnd()
	b.hangUp(r)
}

// hangUp loses the connection and makes another one.
func (b *believer) hangUp(r *rand.Rand) {
	b.conn.Close()
	b.g.record(b.n, '!', "")
	b.connect(r)
}

func (b *believer) hearEnd() {
	for b.g.failure == nil {
		raw, err := readResponse(b.r)
		b.g.record(b.n, 'S', raw)
		if err != nil {
			b.g.fail("there is no BYE: %v", err)
		}
		if strings.HasPrefix(raw, "* BYE") {
			return
		}
	}
}

func (b *believer) send(text string) {
	if _, err := b.conn.Write([]byte(text)); err != nil {
		b.g.fail("%v", err)
	}
	b.g.record(b.n, 'C', text)
}

func (b *believer) do(c *modelCommand) { b.run([]*modelCommand{c}) }

// run sends commands, all before the first answer, and hears the answers. While others wait in IDLE, it sends one after the other: what
// was there for a moment only may be told or not.
func (b *believer) run(commands []*modelCommand) {
	if b.g.failure != nil {
		return
	}
	if len(commands) > 1 && slices.ContainsFunc(b.g.peers, func(p *believer) bool { return p.waiting != nil }) {
		for _, c := range commands {
			b.do(c)
		}
		return
	}
	if n := secondLate(commands); n > 0 { // what one found and the other did not know would depend on which ended first
		b.run(commands[:n])
		b.run(commands[n:])
		return
	}
	var text strings.Builder
	for i, c := range commands {
		fmt.Fprintf(&text, "%c%d %s\r\n", 'a'+byte(b.n), b.tags+i, c.text)
	}
	b.send(text.String())
	for _, c := range commands {
		if !c.beside {
			b.hearLate()
		}
		p := &pending{c: c, tag: fmt.Sprintf("%c%d", 'a'+byte(b.n), b.tags), a: b.newHeard(!c.quiet)}
		b.tags++
		if c.late {
			b.begin(p)
			b.late = p
		} else {
			b.hearAnswer(p)
		}
		if b.g.failure != nil {
			return
		}
	}
	b.hearLate()
	for _, p := range b.g.peers {
		p.catchUp()
	}
}

// secondLate is where the second search is that others may overtake; 0: there is none.
func secondLate(commands []*modelCommand) int {
	late := 0
	for i, c := range commands {
		if c.late {
			late++
		}
		if late > 1 {
			return i
		}
	}
	return 0
}

// pending is a command whose answer has not come yet.
type pending struct {
	c     *modelCommand
	tag   string
	a     *heard
	check func() // nil: the server has not begun with it, as far as anybody knows
}

// begin does what the server does when it begins with a command.
func (b *believer) begin(p *pending) {
	p.check = func() {}
	switch {
	case p.c.selected && b.box == nil:
		p.check = b.expect(p.a, "BAD")
	case p.c.numbered && b.uidOnly:
		p.check = b.expect(p.a, "BAD")
	case p.c.begin != nil:
		if p.c.syncs {
			b.coming = b.untold(len(b.box.messages))
		}
		p.check = p.c.begin(p.a)
	}
}

// hearLate hears the answer to the search that others may have overtaken, if it has not come yet.
func (b *believer) hearLate() {
	if b.late != nil {
		b.hearAnswer(b.late)
	}
}

// newHeard is nothing yet.
func (b *believer) newHeard(expunge bool) *heard {
	return &heard{fetched: map[*modelMessage]map[string]datum{}, expunge: expunge, aware: b.modSeqs}
}

// response is one line of an answer, or more with literals.
type response struct {
	raw   string
	words []datum
}

// hearAnswer hears everything up to the tagged reply of a command. The answer to a search before it may come first, as a whole. As long
// as that is to come EXPUNGE must not be told, except to who has UIDs only (RFC 9051 §5.5): it need not be then.
func (b *believer) hearAnswer(of *pending) {
	var answer []response
	for b.g.failure == nil {
		raw, words, ok := b.read()
		if !ok {
			return
		}
		if raw[:2] == "* " {
			answer = append(answer, response{raw, words})
			continue
		}
		p := of
		if b.late != nil && b.late.tag == words[0].text {
			p, b.late = b.late, nil
		}
		if p.tag != words[0].text {
			b.g.fail("%q has another tag", raw)
			return
		}
		if p.check == nil {
			b.begin(p)
		}
		p.a.expunge = p.a.expunge && (b.uidOnly || b.late == nil)
		for _, r := range answer {
			b.hear(r.raw, r.words, p.a)
		}
		answer = nil
		p.a.status = words[1].text
		if code := codeOf(raw); code != nil {
			b.hearCode(code, p.a)
		}
		if p.check(); b.g.failure == nil && p == of {
			b.settle(p.a)
		}
		if b.g.failure != nil {
			b.g.failure = fmt.Errorf("at %s: %w", p.tag, b.g.failure)
		}
		if p == of {
			return
		}
	}
}

// idle begins to wait; what others do from now on comes by itself.
func (b *believer) idle() {
	b.send("i IDLE\r\n")
	a := b.newHeard(true)
	for {
		raw, words, ok := b.read()
		if !ok {
			return
		}
		if raw[:2] == "+ " {
			break
		}
		b.hear(raw, words, a)
	}
	b.settle(a)
	b.waiting = b.newHeard(true)
}

// wake ends waiting, once everything was told.
func (b *believer) wake() {
	if b.waiting == nil || b.g.failure != nil {
		return
	}
	a := b.waiting
	b.waiting = nil
	if b.box != nil && b.box.deleted {
		b.hearEnd()
		b.hangUp(rand.New(rand.NewPCG(1, 1)))
		return
	}
	b.send("DONE\r\n")
	b.hearAnswer(&pending{tag: "i", a: a, check: func() {}})
}

// catchUp hears in IDLE what others did.
func (b *believer) catchUp() {
	if b.waiting == nil || b.box == nil || b.box.deleted {
		return
	}
	for b.behind(true) != "" {
		raw, words, ok := b.read()
		if !ok {
			b.g.failure = fmt.Errorf("%w, while it waits in IDLE: %s", b.g.failure, b.behind(true))
			return
		}
		b.hear(raw, words, b.waiting)
	}
}
