package mailbox

import "context"

// usage counts what is in all boxes of a layer.
func (l *layer) usage() (u Usage) {
	for _, b := range l.all() {
		u.Octets += b.Size
		u.Messages += b.Messages
		u.Boxes++
	}
	return u
}

// within refuses the change if it leaves more than that, and more than there was.
func (c *change) within(w Within) error {
	if w == (Within{}) {
		return nil
	}
	had, has := c.under.usage(), c.usage()
	if w.Octets > 0 && has.Octets > w.Octets && has.Octets > had.Octets || w.Messages > 0 && has.Messages > w.Messages && has.Messages > had.Messages {
		return ErrOverQuota
	}
	return nil
}

// Usage is Account.
func (a *account) Usage(context.Context) (Usage, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.base.usage(), nil
}
