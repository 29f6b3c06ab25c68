package pgp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"io"
	"os"
)

// spooled keeps a text until it is known what it is worth: maxHeld octets in memory, and more in a file that has no name, enciphered by a key
// that only this process has.
type spooled struct {
	memory bytes.Buffer
	file   *os.File
	write  io.Writer // to the file
	block  cipher.Block
}

func (s *spooled) Write(p []byte) (int, error) {
	if s.file == nil && s.memory.Len()+len(p) <= maxHeld {
		return s.memory.Write(p)
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	return s.write.Write(p)
}

func (s *spooled) open() error {
	var key [32]byte
	rand.Read(key[:])
	var err error
	if s.block, err = aes.NewCipher(key[:]); err != nil {
		return err
	}
	if s.file, err = os.CreateTemp("", "posthouse-"); err != nil {
		return err
	}
	s.write = cipher.StreamWriter{S: s.stream(), W: s.file}
	return os.Remove(s.file.Name())
}

// stream is the cipher from its beginning. The key is used for one file only, so that no nonce is needed.
func (s *spooled) stream() cipher.Stream {
	return cipher.NewCTR(s.block, make([]byte, aes.BlockSize))
}

// reader reads the text from its beginning.
func (s *spooled) reader() (io.Reader, error) {
	held := bytes.NewReader(s.memory.Bytes())
	if s.file == nil {
		return held, nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(held, cipher.StreamReader{S: s.stream(), R: s.file}), nil
}

// to writes the text, from its beginning, to w.
func (s *spooled) to(w io.Writer) error {
	r, err := s.reader()
	if err == nil {
		_, err = io.Copy(w, r)
	}
	return err
}

func (s *spooled) close() {
	if s.file != nil {
		s.file.Close()
	}
}
