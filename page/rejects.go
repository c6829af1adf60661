package page

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"path/filepath"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
	"facepipe/store"
)

// Photographs larger than this are not opened for a thumbnail.
const (
	maxPhotoBytes  = 32 << 20
	maxPhotoPixels = 50_000_000
)

// reason is why inputs were rejected: at which stage, and in which words.
type reason struct{ stage, words string }

// rejects are the inputs that were refused, by reason, with some of the photographs where
// these are still reachable.
func (d dataset) rejects(ctx context.Context) (Section, error) {
	s := Section{ID: "rejects", Title: "Rejects"}
	t := &Table{Head: "Reason", Columns: []Column{{Title: "stage", Words: true}, {Title: "inputs"}}}
	total := 0
	var frequent []reason
	for _, stage := range d.info.Rejects {
		total += stage.Count
		for _, r := range stage.Reasons {
			t.Rows = append(t.Rows, Row{Head: r.Reason, Cells: cells(stage.Stage, count(r.Count))})
			frequent = append(frequent, reason{stage.Stage, r.Reason})
		}
	}
	if total == 0 {
		return s, nil
	}
	s.Lead = many(total, "input") + " gave no crop."
	s.Blocks = []Block{{Table: t.cut()}}
	examples, err := d.examples(ctx, frequent[:min(len(frequent), maxReasons)])
	if err != nil {
		return s, err
	}
	for _, r := range frequent[:min(len(frequent), maxReasons)] {
		var faces []Face
		for _, reject := range examples[r] {
			faces = append(faces, Face{Source: d.photograph(reject), Key: reject.Key})
		}
		if len(faces) > 0 {
			s.Blocks = append(s.Blocks, Block{Title: r.words, Faces: faces})
		}
	}
	return s, nil
}

// errEnough ends a walk through rejects.
var errEnough = errors.New("enough")

// maxVisited rejects are looked at for examples.
const maxVisited = 200_000

// examples are the first rejects of each reason.
func (d dataset) examples(ctx context.Context, of []reason) (map[reason][]store.Reject, error) {
	wanted := map[reason]bool{}
	for _, r := range of {
		wanted[r] = true
	}
	found, visited, open := map[reason][]store.Reject{}, 0, len(wanted)
	err := d.EachReject(func(r store.Reject) error {
		why := reason{r.Stage, r.Reason}
		if visited++; visited > maxVisited || open == 0 {
			return errEnough
		}
		if wanted[why] && len(found[why]) < maxRejectsEach {
			found[why] = append(found[why], r)
			if len(found[why]) == maxRejectsEach {
				open--
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("read rejects: %w", err)
	}
	return found, err
}

// photograph is a thumbnail of a rejected input, "" if it cannot be had: its source is no
// folder, or it is gone, or is no image.
func (d dataset) photograph(r store.Reject) template.URL {
	sources := d.Sources()
	if r.Source < 0 || r.Source >= len(sources) || sources[r.Source].Kind != "folder" || !filepath.IsLocal(r.Key) {
		return ""
	}
	data, err := regular.Read(filepath.Join(sources[r.Source].Path, filepath.FromSlash(r.Key)), maxPhotoBytes)
	if err != nil {
		return ""
	}
	photo, err := imgcodec.OpenPhoto(data, imgcodec.Limits{Pixels: maxPhotoPixels})
	if err != nil {
		return ""
	}
	defer photo.Close()
	w, h := photo.Size()
	picture, err := photo.Decode(imgcodec.ReductionOf(float64(max(w, h)) / thumbSide))
	if err != nil {
		return ""
	}
	defer photo.Recycle(picture)
	return d.m.album.thumb(picture.Image)
}
