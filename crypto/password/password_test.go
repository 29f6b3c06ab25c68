package password

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var cheap = Cost{Memory: 64, Time: 1}

func TestHashAndVerify(t *testing.T) {
	ctx := context.Background()
	h := NewHasher(cheap)
	stored, err := h.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(stored); err != nil {
		t.Error(err)
	}
	if err := h.Verify(ctx, stored, "correct horse"); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "correct hors", "Correct horse", strings.Repeat("x", MaxPassword+1)} {
		if err := h.Verify(ctx, stored, wrong); !errors.Is(err, ErrMismatch) {
			t.Errorf("%.20q: %v", wrong, err)
		}
	}
	if again, _ := h.Hash(ctx, "correct horse"); again == stored {
		t.Error("two hashes share a salt")
	}
}

func TestNobodyHasNoPassword(t *testing.T) {
	if err := NewHasher(cheap).Verify(context.Background(), "", ""); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
}

// The vector is the reference implementation's: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32.
func TestReferenceVector(t *testing.T) {
	const stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if err := NewHasher(cheap).Verify(context.Background(), stored, "password"); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, s := range []string{
		"", "x", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ", "$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ", "$argon2id$v=19$m=64,t=11,p=1$c29tZXNhbHQ$c29tZXNhbHQ",
		"$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$c29tZXNhbHQ", "$argon2id$v=19$m=64,t=1,p=1$$", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$!",
	} {
		if err := Check(s); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// Who waits too long for a turn gives up.
func TestNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(Cost{Memory: 8, Time: 1})
		n := int64(runtime.GOMAXPROCS(0))
		if err := h.turns.Acquire(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := h.Verify(t.Context(), "", "x"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != maxWait {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		h.turns.Release(n)
		if err := h.Verify(t.Context(), "", "x"); !errors.Is(err, ErrMismatch) {
			t.Error(err)
		}
	})
}
