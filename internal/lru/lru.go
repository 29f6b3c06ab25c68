// Package lru is a bounded map that forgets what was not used for longest.
//
// It knows nothing of what it holds.
package lru

import (
	"container/list"
	"iter"
	"sync"
)

// Cache is the map. All methods may be called from many goroutines.
type Cache[K comparable, V any] struct {
	max   int
	mu    sync.Mutex
	items map[K]*list.Element
	order *list.List // of entry, most recently used first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New makes a cache of at most so many entries.
func New[K comparable, V any](most int) *Cache[K, V] {
	return &Cache[K, V]{max: most, items: map[K]*list.Element{}, order: list.New()}
}

// Get finds a value for which keep is true; one for which it is not is forgotten.
func (c *Cache[K, V]) Get(key K, keep func(V) bool) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return value, false
	}
	found := e.Value.(entry[K, V])
	if !keep(found.value) {
		c.order.Remove(e)
		delete(c.items, key)
		return value, false
	}
	c.order.MoveToFront(e)
	return found.value, true
}

// Put adds or replaces a value.
func (c *Cache[K, V]) Put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, value)
}

// Update replaces a value by what f makes of it, of the zero value if there is none, and returns that. f must not use the cache.
func (c *Cache[K, V]) Update(key K, f func(V) V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	var value V
	if e, ok := c.items[key]; ok {
		value = e.Value.(entry[K, V]).value
	}
	value = f(value)
	c.put(key, value)
	return value
}

// Delete forgets a key.
func (c *Cache[K, V]) Delete(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.order.Remove(e)
		delete(c.items, key)
	}
}

// All are the entries as they are now, those used last first.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries := make([]entry[K, V], 0, len(c.items))
	for e := c.order.Front(); e != nil; e = e.Next() {
		entries = append(entries, e.Value.(entry[K, V]))
	}
	return func(yield func(K, V) bool) {
		for _, e := range entries {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

func (c *Cache[K, V]) put(key K, value V) {
	if e, ok := c.items[key]; ok {
		e.Value = entry[K, V]{key, value}
		c.order.MoveToFront(e)
		return
	}
	c.items[key] = c.order.PushFront(entry[K, V]{key, value})
	if c.order.Len() > c.max {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.items, oldest.Value.(entry[K, V]).key)
	}
}

// Len is the number of entries.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
