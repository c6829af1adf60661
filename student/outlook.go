package student

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"facepipe/student/net"
)

// Outlook is what a run would be, found without training.
type Outlook struct {
	// Digest is the SHA-256 of all that the run depends on: what its run.json will say.
	Digest string `json:"digest"`
	// Manifest is that run.json, but for what a loss derives from a teacher's cache.
	Manifest json.RawMessage `json:"manifest"`
	// Loss is the canonical form of its expression.
	Loss string `json:"loss"`
	// Crops to train on, in so many Steps of StepCrops each.
	Crops     int `json:"crops"`
	Steps     int `json:"steps"`
	StepCrops int `json:"step_crops"`
	// Parameters of the student.
	Parameters int `json:"parameters"`
	// Flip is whether crops are mirrored at random.
	Flip bool `json:"flip"`
	// Held says of the rows that were asked for which are trained on.
	Held []bool `json:"-"`
}

// Foresee says what [Distill] would do, and refuses what it would refuse before the engine is
// asked: [ErrUsage], [store.ErrDamaged], [store.ErrNotFound]. It leaves o.Out alone. Of the rows of
// the dataset it tells whether they are among those that are trained on.
func Foresee(ctx context.Context, o Options, rows ...int) (a Outlook, err error) {
	if err := o.validate(); err != nil {
		return Outlook{}, err
	}
	r := &run{o: o}
	defer func() { err = r.close(err) }()
	r.manifest.Version = manifestVersion
	if err := r.openDataset(ctx); err != nil {
		return Outlook{}, err
	}
	// The crops' digest stands for the dataset: what was rejected changes no run.
	r.manifest.CropsDigest = r.ds.CropsDigest()
	if err := r.openData(ctx); err != nil {
		return Outlook{}, err
	}
	if err := r.serves(r.o.Loss); err != nil {
		return Outlook{}, err
	}
	n, err := net.New(r.o.Network, r.o.Size)
	if err != nil {
		return Outlook{}, usage(err)
	}
	a = Outlook{Loss: r.o.Loss.Canonical(), Crops: r.loader.Crops(), Steps: r.schedule.Total, StepCrops: r.o.Batch * r.o.Accumulate,
		Parameters: n.Parameters(), Flip: r.flip}
	for _, row := range rows {
		a.Held = append(a.Held, r.loader.Holds(row))
	}
	if a.Manifest, err = json.Marshal(r.manifest); err != nil {
		return Outlook{}, err
	}
	sum := sha256.Sum256(a.Manifest)
	a.Digest = hex.EncodeToString(sum[:])
	return a, nil
}
