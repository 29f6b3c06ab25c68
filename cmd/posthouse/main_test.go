package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary the command posthouse as well: on PATH for tests that start real processes, and in scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"posthouse": main})
}
