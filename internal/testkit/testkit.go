// Package testkit is what tests of several rooms need: other mail programs as processes, free ports, conditions that become true.
//
// It knows no mail.
package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RequirePeers is the environment variable under which a missing program fails a test; without it the test is skipped.
const RequirePeers = "POSTHOUSE_REQUIRE_PEERS"

// CrashRounds is how often a test kills a process: usual times, fewer under -short, or as often as the environment says (make crash).
func CrashRounds(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("POSTHOUSE_CRASH_ROUNDS")); err == nil {
		return n
	}
	if testing.Short() {
		return 2
	}
	return usual
}

const (
	patience = 30 * time.Second      // for anything that must happen
	step     = 20 * time.Millisecond // between two looks
	stopTime = 5 * time.Second       // from SIGTERM to SIGKILL
)

// Peer is the path of another program.
func Peer(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, program+" is not installed")
	}
	return path
}

// The ports that FreePort gives. They lie below those that systems give to clients, which would take one away again.
const (
	firstPort = 20_000
	lastPort  = 32_767
)

// FreePort is an address on loopback that nobody listens at, for programs that cannot pick one themselves. Nobody else gets it from here
// until the test ends, be it in another process: a UDP socket with its number says so.
func FreePort(t testing.TB) string {
	t.Helper()
	for range lastPort - firstPort {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort+1))
		sign, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			t.Cleanup(func() { sign.Close() })
			return addr
		}
		sign.Close()
	}
	t.Fatal("no port is free")
	return ""
}

// output gathers what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is what was printed so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Process is a program that a test started.
type Process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
}

// Start starts a program in a process group of its own, with more environment. When the test ends the group is stopped; if the test
// failed, what the program printed is shown.
func Start(t testing.TB, cmd *exec.Cmd, env ...string) *Process {
	t.Helper()
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.Env = append(cmd.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	cmd.Stderr = &p.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait() // how it ended is for the test to find out
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopTime):
		}
		p.Kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", cmd.Path, p.out.String())
		}
	})
	return p
}

// Signal sends a signal to the whole group.
func (p *Process) Signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// Kill ends the whole group at once (SIGKILL) and waits for the program.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Pid is its process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// ExitCode is that of a program that has ended.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Output is what it printed so far.
func (p *Process) Output() string { return p.out.String() }

// Until waits for a condition, and fails the test if it does not come true.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	Within(t, patience, what, condition)
}

// Within is Until with another patience, for what retries by a clock of its own.
func Within(t testing.TB, patience time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(step)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain after %s: %s", patience, what)
		}
	}
}

// WaitPort waits until somebody accepts connections at addr.
func WaitPort(t testing.TB, addr string) {
	t.Helper()
	Until(t, "somebody listens on "+addr, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
