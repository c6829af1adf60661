package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/regular"
	"facepipe/internal/seal"
	"facepipe/student/net"
)

// RunFile is the file that says what a run is.
func RunFile(run string) string { return filepath.Join(run, "run.json") }

// MaxRunBytes bounds a run.json: its settings take some thousands.
const MaxRunBytes = 16 << 20

// RunID is what the checkpoints of a run know it by: the SHA-256 of its run.json.
func RunID(text []byte) string { return seal.Digits(text) }

// IDOf is the id of the run in a folder, "" if that has no run.json. That of an older version has the
// id that it will have when it is sealed.
//
// Errors: those of [ReadRunFile].
func IDOf(run string) (string, error) {
	text, sealed, err := ReadRunFile(RunFile(run))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err == nil && !sealed {
		text = seal.Close(text)
	}
	return RunID(text), err
}

// ReadRunFile reads a run.json; a missing one is [os.ErrNotExist]. sealed is whether it carries its
// digest: those of older versions do not.
//
// Errors: [seal.ErrDamaged], with what can be done.
func ReadRunFile(path string) (text []byte, sealed bool, err error) {
	if text, err = regular.ReadOwn(path, MaxRunBytes); err != nil {
		return nil, false, err
	}
	var said struct {
		Seal *string `json:"seal"`
	}
	if err = json.Unmarshal(text, &said); err == nil && said.Seal != nil {
		sealed, err = true, seal.Verify(text)
	}
	if err != nil {
		return nil, false, DamagedRunFile(path, err)
	}
	return text, sealed, nil
}

// DamagedRunFile says what is wrong with a run.json that is not what was written, and what can be
// done.
func DamagedRunFile(path string, what error) error {
	return fmt.Errorf("%s: %w: %w; take it from a copy, or delete it and resume with the settings of distill.yaml: it is made anew, and compared with what the checkpoints know",
		path, seal.ErrDamaged, what)
}

// runFacts are what a run.json says that checkpoints say, too.
type runFacts struct {
	Options struct {
		Network string     `json:"student"`
		Size    net.Config `json:"size"`
	} `json:"options"`
	Dataset     string `json:"dataset_digest"`
	CropsDigest string `json:"crops_digest"`
	Fingerprint string `json:"teacher_fingerprint"`

	id string
}

// readRun is the run.json of a run's folder, nil if it has none.
func readRun(folder string) (*runFacts, error) {
	path := RunFile(folder)
	text, _, err := ReadRunFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &runFacts{id: RunID(text)}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, DamagedRunFile(path, err)
	}
	return r, nil
}

// differs says in what a checkpoint is not of the run, "" if it is. One of an older version does
// not know its run, but what it trained on what.
func (r *runFacts) differs(at Position) string {
	if at.Run != "" {
		if at.Run == r.id {
			return ""
		}
		return fmt.Sprintf("that one's SHA-256 was %.12s…, and is %.12s… here", at.Run, r.id)
	}
	dataset, runs := at.CropsDigest, r.CropsDigest
	if dataset == "" || runs == "" {
		dataset, runs = at.Dataset, r.Dataset
	}
	for _, f := range []struct{ what, own, run string }{
		{"network", at.Network, r.Options.Network},
		{"embedding's length", number(at.Size.Dim), number(r.Options.Size.Dim)},
		{"width", number(at.Size.Width), number(r.Options.Size.Width)},
		{"teacher", at.Fingerprint, r.Fingerprint},
		{"dataset", dataset, runs},
	} {
		if f.own != "" && f.run != "" && f.own != f.run {
			return fmt.Sprintf("its %s is %s, that of the run %s", f.what, f.own, f.run)
		}
	}
	return ""
}

// number is a number in words, "" for none.
func number[T int | float64](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
