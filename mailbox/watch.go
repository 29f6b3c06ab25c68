package mailbox

import "context"

// watcher is one caller of Watch.
type watcher struct{ c chan ModSeq }

// Watch is Account. The channel is closed when ctx ends.
func (a *account) Watch(ctx context.Context) (<-chan ModSeq, error) {
	w := &watcher{make(chan ModSeq, 1)}
	a.retain()
	a.mu.Lock()
	a.watchers[w] = struct{}{}
	a.mu.Unlock()
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		delete(a.watchers, w)
		close(w.c)
		a.mu.Unlock()
		a.release()
	})
	return w.c, nil
}

// send replaces what was not yet received. Only one goroutine sends at a time: the account's mu is held.
func (w *watcher) send(n ModSeq) {
	select {
	case <-w.c:
	default:
	}
	w.c <- n
}
