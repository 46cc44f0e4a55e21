package dynamodb

import "sync"

// cacheSize bounds each of a store's memories. What is forgotten costs one more call.
const cacheSize = 50_000

// cache is a bounded map. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[k]
	return v, ok
}

// make returns the value of a key, which fresh makes when there is none.
func (c *cache[K, V]) make(k K, fresh func() V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[k]
	if !ok {
		v = fresh()
		c.set(k, v)
	}
	return v
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(k, v)
}

// set stores a value; a full cache forgets some quarter, as maps are walked at random.
func (c *cache[K, V]) set(k K, v V) {
	if c.m == nil {
		c.m = make(map[K]V)
	}
	if _, known := c.m[k]; !known && len(c.m) >= cacheSize {
		n := 0
		for old := range c.m {
			delete(c.m, old)
			if n++; n > cacheSize/4 {
				break
			}
		}
	}
	c.m[k] = v
}

func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
}
