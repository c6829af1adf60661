package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/internal/safetensors"
	"facepipe/internal/seal"
)

// Keys of a checkpoint's metadata.
const (
	positionKey = "pipe.position"
	sealKey     = "pipe.position.sha256" // of the position's text; older versions have none
)

// Save writes a checkpoint of a run, says which one is the best, and drops those that are
// neither that nor among the newest, keep in number.
func Save(run string, tensors []safetensors.Source, at Position, keep int) error {
	folder := Folder(run)
	if err := durable.MkdirBelow(run, filepath.Base(folder), 0o755); err != nil {
		return err
	}
	if err := Write(filepath.Join(folder, Name(at.Step)), tensors, at); err != nil {
		return fmt.Errorf("write a checkpoint: %w", err)
	}
	if err := NoteBest(run, at.Best); err != nil {
		return err
	}
	return prune(run, keep, at.Best)
}

// Write puts tensors with their position and digest into a file. The tensors are fetched
// twice, for the digest and for the file, and never all at once.
func Write(path string, tensors []safetensors.Source, at Position) error {
	var err error
	if at.Digest, err = digest(tensors); err != nil {
		return err
	}
	at.Version = max(at.Version, Version)
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	w, err := durable.Create(path)
	if err != nil {
		return err
	}
	if err := safetensors.Write(w, tensors, map[string]string{positionKey: string(text), sealKey: seal.Digits(text)}); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// digest is the SHA-256 of a file of the tensors without metadata.
func digest(tensors []safetensors.Source) (string, error) {
	h := sha256.New()
	err := safetensors.Write(h, tensors, nil)
	return hex.EncodeToString(h.Sum(nil)), err
}

func prune(run string, keep int, b *Best) error {
	files, err := List(run)
	if err != nil {
		return err
	}
	for _, old := range files[min(keep, len(files)):] {
		if b != nil && filepath.Base(old) == Name(b.Step) {
			continue
		}
		if err := os.Remove(old); err != nil {
			return err
		}
	}
	return nil
}

// BestFile is the file that names the best checkpoint, for people and programs that
// look for it. It is derived: the newest checkpoint knows better.
func BestFile(run string) string { return filepath.Join(Folder(run), "best.json") }

// bestFile is the content of best.json.
type bestFile struct {
	File string `json:"file"`
	Best
}

// NoteBest writes best.json, or removes it where no checkpoint is the best.
func NoteBest(run string, b *Best) error {
	path := BestFile(run)
	if b != nil {
		if _, err := os.Stat(filepath.Join(Folder(run), Name(b.Step))); err == nil {
			text, err := json.Marshal(bestFile{Name(b.Step), *b})
			if err != nil {
				return err
			}
			return durable.WriteFile(path, append(text, '\n'), 0o644)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// CheckBest reports if best.json is not what the newest checkpoint says of the best one.
func CheckBest(run string, b *Best) error {
	const remedy = "distill --resume writes it anew"
	data, err := regular.ReadOwn(BestFile(run), MaxRunBytes)
	if errors.Is(err, os.ErrNotExist) {
		if _, there := os.Stat(bestCheckpoint(run, b)); b != nil && there == nil {
			return errors.New("missing: " + remedy)
		}
		return nil
	}
	if err != nil {
		return err
	}
	var said bestFile
	if err := json.Unmarshal(data, &said); err != nil {
		return fmt.Errorf("%w; delete it: %s", err, remedy)
	}
	if b == nil || said != (bestFile{Name(b.Step), *b}) {
		return fmt.Errorf("is not what the newest checkpoint says of the best one; delete it: %s", remedy)
	}
	return nil
}

// bestCheckpoint is the file of the best checkpoint, "" for none.
func bestCheckpoint(run string, b *Best) string {
	if b == nil {
		return ""
	}
	return filepath.Join(Folder(run), Name(b.Step))
}
