package mime

// Find is the part at the part numbers of a section (RFC 9051 §6.4.5), nil if there is none. Part 1 of a message that is not a
// multipart is the message itself; the numbers below a message/rfc822 part are those of the message inside. An empty path is p.
func (p *Part) Find(path []int) *Part {
	if len(path) == 0 {
		return p
	}
	part := p.child(path[0])
	for _, n := range path[1:] {
		if part == nil {
			return nil
		}
		switch {
		case part.Message != nil:
			part = part.Message.child(n)
		case part.Type == "multipart":
			part = part.child(n)
		default:
			return nil
		}
	}
	return part
}

// child is part n of a message or multipart.
func (p *Part) child(n int) *Part {
	if len(p.Parts) == 0 {
		if n == 1 {
			return p
		}
		return nil
	}
	if n < 1 || n > len(p.Parts) {
		return nil
	}
	return p.Parts[n-1]
}
