package study

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/filedigest"
	"facepipe/internal/ort"
	"facepipe/internal/plain"
)

// teacherFile is in the study's folder, teacherCrops are what the teacher is timed on.
const teacherFile, teacherCrops = "teacher.json", 64

// TeacherCost is what a teacher takes, if it is asked in every step and not once.
type TeacherCost struct {
	Model  string `json:"model"`
	Digest string `json:"digest"`
	// SecondsPerCrop is of the processor, with as many threads as the first row is trained with.
	SecondsPerCrop float64 `json:"seconds_per_crop"`
}

// timeTeacher measures the teacher's model once in a study: others wait until it is known.
func (r *runner) timeTeacher(ctx context.Context) (err error) {
	if r.TeacherModel == "" {
		return nil
	}
	if device := r.rows[0].options.Device; device != "cpu" {
		plain.Fprintf(r.o.Progress, "note: the teacher is timed on the processor, which says nothing of steps on %s: what they would take with it is left out\n", device)
		return nil
	}
	digest, err := filedigest.Of(r.TeacherModel)
	if err != nil {
		return fmt.Errorf("%w: teacher_model: %w", ErrUsage, err)
	}
	lock, err := lockTable(ctx, r.o.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	path := filepath.Join(r.o.Out, teacherFile)
	var known TeacherCost
	if _, err := readJSON(path, &known); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if known.Digest == digest {
		r.teacher = &known
		return nil
	}
	m, err := embed.Open(ctx, r.TeacherModel, embed.Options{Crop: r.train.Contract().CropSize, Runtime: ort.Options{Library: r.o.ONNXRuntime, Threads: r.rows[0].options.Threads}})
	if err != nil {
		return fmt.Errorf("teacher_model %s: %w", r.TeacherModel, err)
	}
	defer m.Close()
	crops := r.train.CropReader()
	defer crops.Close()
	n := min(teacherCrops, r.train.Rows())
	var begun time.Time
	for range 2 { // the first time warms up
		begun = time.Now()
		_, err := m.Stream(ctx, n, func(i int, rgb []byte) error { return crops.DecodeRGB(r.train.Locate(i), rgb) },
			func(int, [][]float32) error { return nil }, embed.StreamOptions{Flips: []bool{false}})
		if err != nil {
			return fmt.Errorf("teacher_model %s: %w", r.TeacherModel, err)
		}
	}
	r.teacher = &TeacherCost{r.TeacherModel, digest, time.Since(begun).Seconds() / float64(n)}
	return writeJSON(path, r.teacher)
}
