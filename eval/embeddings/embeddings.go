// Package embeddings reads and writes files of embeddings, as people keep them: NumPy's .npy and
// .npz, CSV and TSV, Arrow.
//
// Of an .npz the matrix of numbers is taken, and of the lists as long as it the one of texts that
// are all different for keys, another for identities. Nothing is unpickled.
package embeddings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/filedigest"
	"facepipe/internal/npy"
	"facepipe/internal/regular"
)

// ErrFormat marks a file that holds no embeddings that can be read.
var ErrFormat = errors.New("no readable embeddings")

// Table is embeddings, a row each, with what is known of them. All are in memory, as 4 bytes a
// number.
type Table struct {
	// Path is as given, Digest the file's SHA-256.
	Path, Digest string
	// Keys name the rows, each once; nil without keys.
	Keys []string
	// Identities are the persons by name, "" for nobody known; nil if the file does not say.
	Identities []string
	// Notes say what was guessed.
	Notes []string

	dim    int
	values []float32
}

// Len is the number of rows.
func (t *Table) Len() int {
	if t.dim == 0 {
		return 0
	}
	return len(t.values) / t.dim
}

// Dim is the length of an embedding.
func (t *Table) Dim() int { return t.dim }

// Row copies an embedding; it is always there.
func (t *Table) Row(i int, dst []float32) (bool, error) {
	copy(dst, t.values[i*t.dim:(i+1)*t.dim])
	return true, nil
}

func (t *Table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// Open reads a file; its first bytes say of what kind it is. [ErrFormat], or an error of the file.
func Open(ctx context.Context, path string) (*Table, error) {
	t := &Table{Path: path}
	file, info, err := regular.OpenInput(path)
	if err != nil {
		return nil, fmt.Errorf("embeddings %s: %w", path, err)
	}
	defer file.Close()
	if err := t.read(file, info.Size()); err != nil {
		return nil, fmt.Errorf("embeddings %s: %w", path, err)
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("embeddings %s: %w", path, err)
	}
	if t.Digest, err = filedigest.OfFile(ctx, file); err != nil {
		return nil, fmt.Errorf("embeddings %s: %w", path, err)
	}
	return t, nil
}

// read reads what the file is.
func (t *Table) read(file *os.File, size int64) error {
	head := make([]byte, 8)
	n, _ := file.ReadAt(head, 0)
	switch text := string(head[:n]); {
	case n == 0:
		return fmt.Errorf("%w: the file is empty", ErrFormat)
	case strings.HasPrefix(text, "\x93NUMPY"):
		return t.readNPY(file, size)
	case strings.HasPrefix(text, "PK\x03\x04"):
		return t.readNPZ(file, size)
	case strings.HasPrefix(text, "ARROW1"):
		return t.readArrow(file, size)
	case strings.HasPrefix(text, "\xff\xff\xff\xff"):
		return fmt.Errorf("%w: it is an Arrow stream; write a file: pyarrow.ipc.new_file, or feather", ErrFormat)
	case strings.HasPrefix(text, "PAR1"):
		return fmt.Errorf("%w: it is Parquet; write it as Arrow, CSV or .npy", ErrFormat)
	case strings.HasPrefix(text, "\x89HDF"):
		return fmt.Errorf("%w: it is HDF5; write it as .npy: np.save('FILE.npy', array)", ErrFormat)
	case text[0] == 0x80 || strings.HasPrefix(text, "(lp") || strings.HasPrefix(text, "(dp"):
		return fmt.Errorf("%w: it is a pickle, which is never loaded; %s", ErrFormat, saveMatrix)
	case strings.ContainsRune(text, 0):
		return fmt.Errorf("%w: it is neither .npy, .npz, Arrow nor text", ErrFormat)
	}
	return t.readText(file)
}

// saveMatrix is the remedy for what needs unpickling.
const saveMatrix = "write a plain matrix: np.save('FILE.npy', np.stack(list(embeddings)).astype('float32')), and the keys to FILE.npy.keys.txt, one a line"

// check holds keys and identities against the rows.
func (t *Table) check() error {
	rows := t.Len()
	if rows == 0 {
		return fmt.Errorf("%w: no row in it", ErrFormat)
	}
	if t.Keys == nil {
		t.note("it has no keys: row i is taken for face i")
		return nil
	}
	if len(t.Keys) != rows {
		return fmt.Errorf("%w: %d keys for %d rows", ErrFormat, len(t.Keys), rows)
	}
	if twice := repeated(t.Keys); twice >= 0 {
		return fmt.Errorf("%w: the key %q is there twice, the second time in row %d", ErrFormat, t.Keys[twice], twice)
	}
	return nil
}

// repeated is the place of the first text that was there before, -1 if all differ.
func repeated(texts []string) int {
	met := make(map[string]bool, len(texts))
	for i, text := range texts {
		if met[text] {
			return i
		}
		met[text] = true
	}
	return -1
}

// KeysFile is the file of keys that [Create] writes beside an .npy file.
func KeysFile(path string) string { return path + ".keys.txt" }

// readKeys looks for a file of keys beside an array.
func (t *Table) readKeys() error {
	stem := strings.TrimSuffix(t.Path, filepath.Ext(t.Path))
	for _, path := range []string{KeysFile(t.Path), KeysFile(stem), filepath.Join(filepath.Dir(t.Path), "keys.txt")} {
		file, _, err := regular.OpenInput(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("keys %s: %w", path, err)
		}
		t.Keys, err = npy.ReadKeys(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("keys %s: %w", path, err)
		}
		if rows := t.Len(); len(t.Keys) != rows {
			return fmt.Errorf("%w: %s has %d keys, and there are %d rows", ErrFormat, path, len(t.Keys), rows)
		}
		t.note("keys are those of %s", path)
		return nil
	}
	return nil
}
