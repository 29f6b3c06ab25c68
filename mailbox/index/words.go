package index

import (
	"unicode"
	"unicode/utf8"

	"posthouse/mail/mime"
)

// How collated text is cut. A word is a run of letters, digits and marks. Scripts that are written without spaces would make words of
// whole sentences: of them each two neighbours are a word.
//
// A long word, or a longer one that mixes letters and digits, is noise: a part of a signature, of a Message-ID, of a link. Noise is hardly
// ever the same twice and would fill the vocabulary; of it only the runs of four octets are noted, in a bitmap for each content.
const (
	maxWord    = 40 // octets of a word that is none
	minMixed   = 10 // octets of one with letters and digits that is
	gramSize   = 4
	gramBits   = 20 // of a gram's hash
	separator  = '\n'
	separators = "\n"
)

type class uint8

const (
	between  class = iota // what separates words
	letter                // part of a word
	unspaced              // of a script without spaces
)

// firstUnspaced is the first character of those scripts.
const firstUnspaced = 0x0e00

func unspacedScripts() []*unicode.RangeTable {
	return []*unicode.RangeTable{
		unicode.Thai, unicode.Lao, unicode.Tibetan, unicode.Myanmar, unicode.Khmer, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo, unicode.Han,
	}
}

// asciiLetters tells which octets are letters or digits of ASCII.
var asciiLetters = func() (t [256]bool) {
	for _, c := range []byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if asciiLetters[r] {
			return letter
		}
		return between
	case r >= firstUnspaced && unicode.In(r, unspacedScripts()...):
		return unspaced
	case unicode.In(r, unicode.L, unicode.N, unicode.M):
		return letter
	}
	return between
}

// splitter cuts collated text into words, however it is cut into pieces. It is a mime.Sink.
type splitter struct {
	word func([]byte) // takes a word
	gram func(uint32) // takes the hash of a gram of noise

	run    []byte // a separator and the word under way; of one that is too long, its last octets
	long   bool   // it is
	before []byte // the character before of an unspaced script; empty: none
	alone  bool   // it is in no word yet
	pair   []byte
}

// Begin is mime.Sink.
func (s *splitter) Begin(mime.Place) { s.end() }

// end ends a text.
func (s *splitter) end() {
	s.endRun()
	s.endUnspaced()
}

// Take is mime.Sink.
func (s *splitter) Take(text []byte) bool {
	for len(text) > 0 {
		c, n := text[0], 1
		if c >= utf8.RuneSelf {
			var r rune
			r, n = utf8.DecodeRune(text)
			s.take(classOf(r), text[:n])
			text = text[n:]
			continue
		}
		if asciiLetters[c] {
			for n < len(text) && asciiLetters[text[n]] {
				n++
			}
			s.take(letter, text[:n])
		} else {
			for n < len(text) && !asciiLetters[text[n]] && text[n] < utf8.RuneSelf {
				n++
			}
			s.take(between, text[:n])
		}
		text = text[n:]
	}
	return true
}

// take takes characters of one class; of unspaced ones, one.
func (s *splitter) take(class class, text []byte) {
	if class != letter {
		s.endRun()
	}
	if class != unspaced {
		s.endUnspaced()
	}
	switch class {
	case letter:
		s.extend(text)
	case unspaced:
		if s.alone = len(s.before) == 0; !s.alone {
			s.pair = append(append(s.pair[:0], s.before...), text...)
			s.word(s.pair)
		}
		s.before = append(s.before[:0], text...)
	}
}

// extend adds to the word under way. The run has a separator before the word: where noise begins and ends is in its grams.
func (s *splitter) extend(text []byte) {
	if len(s.run) == 0 {
		s.run = append(s.run, separator)
	}
	for len(text) > 0 {
		n := min(len(text), maxWord+2-len(s.run))
		s.run, text = append(s.run, text[:n]...), text[n:]
		if len(s.run) > maxWord+1 {
			s.long = true
			grams(s.run, s.gram)
			s.run = append(s.run[:0], s.run[len(s.run)-gramSize+1:]...)
		}
	}
}

func (s *splitter) endRun() {
	if len(s.run) > 0 {
		if s.long || isNoise(s.run[1:]) {
			grams(append(s.run, separator), s.gram)
		} else {
			s.word(s.run[1:])
		}
	}
	s.run, s.long = s.run[:0], false
}

func (s *splitter) endUnspaced() {
	if s.alone && len(s.before) > 0 {
		s.word(s.before)
	}
	s.before, s.alone = s.before[:0], false
}

func isNoise(word []byte) bool {
	if len(word) < minMixed || len(word) > maxWord {
		return len(word) > maxWord
	}
	digits := 0
	for _, c := range word {
		if '0' <= c && c <= '9' {
			digits++
		}
	}
	return digits > 0 && digits < len(word)
}

// grams gives the hashes of the runs of four octets.
func grams(word []byte, each func(uint32)) {
	for i := 0; i+gramSize <= len(word); i++ {
		w := uint32(word[i]) | uint32(word[i+1])<<8 | uint32(word[i+2])<<16 | uint32(word[i+3])<<24
		each(w * 0x9e3779b1 >> (32 - gramBits))
	}
}
