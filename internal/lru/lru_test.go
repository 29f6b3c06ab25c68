package lru

import (
	"sync"
	"testing"
)

func always(int) bool { return true }

func TestLeastRecentlyUsedGoes(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	if v, ok := c.Get("a", always); !ok || v != 1 {
		t.Error(v, ok)
	}
	c.Put("c", 3) // b was not used for longest
	for key, want := range map[string]int{"a": 1, "b": 0, "c": 3} {
		if v, _ := c.Get(key, always); v != want {
			t.Errorf("%s: %d, want %d", key, v, want)
		}
	}
	c.Put("a", 4)
	if v, _ := c.Get("a", always); v != 4 || c.Len() != 2 {
		t.Error(v, c.Len())
	}
	if _, ok := c.Get("a", func(v int) bool { return v != 4 }); ok || c.Len() != 1 {
		t.Error("what is not to be kept was kept")
	}
}

func TestManyAtOnce(t *testing.T) {
	c := New[int, int](10)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				c.Put(i*j%50, j)
				c.Get(j%50, always)
			}
		})
	}
	wg.Wait()
	if c.Len() != 10 {
		t.Error(c.Len())
	}
}

func TestUpdateDeleteAll(t *testing.T) {
	c := New[string, int](2)
	one := func(v int) int { return v + 1 }
	for want := 1; want <= 2; want++ {
		if v := c.Update("a", one); v != want {
			t.Errorf("%d, want %d", v, want)
		}
	}
	c.Update("b", one)
	var keys string
	for k, v := range c.All() {
		keys += k
		if v < 1 {
			t.Error(k, v)
		}
	}
	if keys != "ba" {
		t.Error(keys)
	}
	c.Delete("a")
	c.Delete("a")
	if _, ok := c.Get("a", always); ok || c.Len() != 1 {
		t.Error("it is still there")
	}
}
