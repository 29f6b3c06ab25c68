package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// subjects are the keys of contents, "-" for those there are none of.
func subjects(t *testing.T, a Account, ids ...BlobID) (all []string) {
	t.Helper()
	known := make(map[BlobID]string)
	for f, err := range a.Facts(context.Background(), WantKeys|WantTexts, slices.Values(ids)) {
		switch {
		case err != nil:
			t.Fatal(err)
		case f.Keys == nil:
			known[f.Blob] = "no keys"
		case f.Texts == nil || !f.Texts.Contain("subject", f.Keys.Subject):
			t.Errorf("content %d: %+v", f.Blob, f)
		default:
			known[f.Blob] = f.Keys.Subject
		}
	}
	for _, id := range ids {
		if s, is := known[id]; is {
			all = append(all, s)
		} else {
			all = append(all, "-")
		}
	}
	return all
}

// TestRowsInMemory asks for the same rows again and again, while contents come: what is held in memory is what the table says.
func TestRowsInMemory(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	a := take(t, s, "alice")
	inbox, err := a.Box(ctx, Inbox)
	if err != nil {
		t.Fatal(err)
	}
	var ids []BlobID
	var want []string
	add := func(text, subject string) {
		t.Helper()
		id, err := a.Stage(ctx, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := subjects(t, a, id); got[0] != "-" { // it is not there yet
			t.Errorf("staged: %s", got)
		}
		if _, err := a.Apply(ctx, Add{Box: inbox.ID, Blob: id}); err != nil {
			t.Fatal(err)
		}
		ids, want = append(ids, id), append(want, subject)
	}
	for i := range 3 << blockBits {
		add(fmt.Sprintf("Subject: no. %d\r\n\r\n", i), fmt.Sprintf("NO. %d", i))
	}
	add("X-Long: "+strings.Repeat("x", MaxCachedHeader)+"\r\nSubject: long\r\n\r\n", "no keys")
	for range 2 {
		if got := subjects(t, a, ids...); !slices.Equal(got, want) {
			t.Errorf("%q\nwant\n%q", got, want)
		}
	}
	if n := s.rows.order.Len(); n != 4 || s.rows.size <= 0 || s.rows.size > rowCacheSize {
		t.Errorf("%d blocks of %d octets", n, s.rows.size)
	}
	add("Subject: late\r\n\r\n", "LATE")
	if got := subjects(t, a, ids...); !slices.Equal(got, want) {
		t.Errorf("%q", got[len(got)-3:])
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestRowCacheMakesRoom holds no more than it may, and takes nothing from an account for its own next block.
func TestRowCacheMakesRoom(t *testing.T) {
	c := newRowCache()
	one, two := new(account), new(account)
	for n := range int64(6) {
		c.put(blockKey{one, n}, new(block), rowCacheSize/4)
	}
	if len(c.blocks) != 4 || c.get(blockKey{one, 0}) == nil || c.get(blockKey{one, 5}) != nil {
		t.Errorf("%d blocks", len(c.blocks))
	}
	c.put(blockKey{two, 0}, new(block), rowCacheSize/2)
	if len(c.blocks) != 3 || c.get(blockKey{two, 0}) == nil || c.get(blockKey{one, 0}) == nil || c.size > rowCacheSize {
		t.Errorf("%d blocks, %d octets", len(c.blocks), c.size)
	}
	c.grow(blockKey{two, 0}, rowCacheSize/2)
	if len(c.blocks) != 1 || c.size != rowCacheSize {
		t.Errorf("%d blocks, %d octets", len(c.blocks), c.size)
	}
	c.grow(blockKey{two, 0}, 1)
	if len(c.blocks) != 0 || c.size != 0 {
		t.Errorf("%d blocks, %d octets", len(c.blocks), c.size)
	}
	c.put(blockKey{one, 0}, new(block), 1)
	c.forget(two)
	c.forget(one)
	if c.size != 0 || c.order.Len() != 0 || len(c.blocks) != 0 {
		t.Errorf("%d octets are left", c.size)
	}
}
