package main

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts plays the dialogues with the command line below testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits}})
}

// exits runs posthouse and checks its exit code: exits CODE ARGUMENTS.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	c := exec.Command("posthouse", args[1:]...)
	c.Dir, c.Env = ts.Getenv("WORK"), append(os.Environ(), "HOME="+ts.Getenv("WORK"), socketEnv+"=")
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	code := map[string]int{"ok": 0, "failed": exitFailed, "usage": exitUsage, "not-running": exitNotRunning}
	if want, ok := code[args[0]]; !ok || c.ProcessState.ExitCode() != want {
		ts.Fatalf("exit code %d, want %s\n%s", c.ProcessState.ExitCode(), args[0], out)
	}
}
