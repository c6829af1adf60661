package synthface

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
)

// FolderOptions says which faces a folder holds.
type FolderOptions struct {
	Identities    int     `json:"identities"`     // number of people, at least 1
	PerIdentity   int     `json:"per_identity"`   // pictures of each, at least 1
	FirstIdentity int     `json:"first_identity"` // index of the first person; other ranges are other people
	Size          int     `json:"size"`           // of a photo, as in PhotoOptions
	Seed          uint64  `json:"seed"`
	Hard          float64 `json:"hard"` // as in PhotoOptions
}

// Manifest is what WriteFolder wrote.
type Manifest struct {
	Images        int    // number of photos
	Identities    int    // number of people
	ImageDir      string // holds one folder a person
	LandmarksFile string // one line a photo: key, tab, x1 y1 … x5 y5
	PairsFile     string // verification pairs in LFW's format, "" if none can be formed
	Pairs         int    // number of those pairs, half of them of one person
}

// ErrOtherFaces marks a folder that holds other faces than those asked for.
var ErrOtherFaces = errors.New("folder holds other faces")

// renderer counts the changes of this package that alter pictures.
const renderer = 1

// The layout of a folder.
const (
	imagesName      = "images"
	landmarksName   = "landmarks.txt"
	pairsName       = "pairs.txt"
	descriptionName = "faces.json"
	unfinishedName  = ".tmp-images"
)

// description is the content of faces.json.
type description struct {
	Renderer int           `json:"renderer"`
	Options  FolderOptions `json:"options"`
}

// WriteFolder renders photos of people into dir:
//
//	dir/images/id_0007/id_0007_0001.jpg   person 7's first picture
//	dir/landmarks.txt                     their landmarks, by paths below images
//	dir/pairs.txt                         10 folds of pairs to verify
//	dir/faces.json                        the options
//
// Every byte follows from the options. The folder of images appears last and at
// once, so that an interrupted call leaves none behind; calling again then does
// the work again, and a call that finds the same faces in place does none.
// Different ones are not touched: ErrOtherFaces. If the context ends, so does
// WriteFolder, with its error.
func WriteFolder(ctx context.Context, dir string, o FolderOptions) (Manifest, error) {
	if err := o.validate(); err != nil {
		return Manifest{}, err
	}
	m := o.manifest(dir)
	if found, err := o.alreadyIn(dir); err != nil || found {
		return m, err
	}
	unfinished := filepath.Join(dir, unfinishedName)
	if err := os.RemoveAll(unfinished); err != nil {
		return Manifest{}, fmt.Errorf("remove unfinished images: %w", err)
	}
	if err := o.writeImages(ctx, unfinished); err != nil {
		return Manifest{}, err
	}
	if err := o.writeLists(ctx, dir, m); err != nil {
		return Manifest{}, err
	}
	if err := os.Rename(unfinished, m.ImageDir); err != nil {
		return Manifest{}, fmt.Errorf("put images in place: %w", err)
	}
	return m, durable.SyncDir(dir)
}

func (o FolderOptions) validate() error {
	if o.Identities < 1 || o.PerIdentity < 1 || o.FirstIdentity < 0 {
		return fmt.Errorf("synthface: %d pictures each of %d people from number %d on is not a folder",
			o.PerIdentity, o.Identities, o.FirstIdentity)
	}
	return o.photo().Validate()
}

func (o FolderOptions) photo() PhotoOptions { return PhotoOptions{Size: o.Size, Hard: o.Hard} }

func (o FolderOptions) manifest(dir string) Manifest {
	m := Manifest{
		Images:        o.Identities * o.PerIdentity,
		Identities:    o.Identities,
		ImageDir:      filepath.Join(dir, imagesName),
		LandmarksFile: filepath.Join(dir, landmarksName),
		Pairs:         2 * folds * o.pairsPerFold(),
	}
	if m.Pairs > 0 {
		m.PairsFile = filepath.Join(dir, pairsName)
	}
	return m
}

// maxDescription is the longest description of faces that is read, in bytes.
const maxDescription = 1 << 20

// alreadyIn says whether dir holds the finished faces of these options.
func (o FolderOptions) alreadyIn(dir string) (bool, error) {
	images := filepath.Join(dir, imagesName)
	if _, err := os.Stat(images); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look for faces: %w", err)
	}
	data, err := regular.Read(filepath.Join(dir, descriptionName), maxDescription)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%w: %s is there, %s is not", ErrOtherFaces, images, descriptionName)
	} else if err != nil {
		return false, fmt.Errorf("read description of faces: %w", err)
	}
	if !bytes.Equal(data, o.describe()) {
		return false, fmt.Errorf("%w: %s describes them", ErrOtherFaces, filepath.Join(dir, descriptionName))
	}
	return true, nil
}

func (o FolderOptions) describe() []byte {
	o.Size = o.photo().size()
	data, err := json.MarshalIndent(description{Renderer: renderer, Options: o}, "", "  ")
	if err != nil {
		panic(err) // numbers that passed validate have a JSON form
	}
	return append(data, '\n')
}

// writeImages renders all photos, people side by side.
func (o FolderOptions) writeImages(ctx context.Context, root string) error {
	g := New(o.Seed)
	group, inGroup := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := o.FirstIdentity; i < o.FirstIdentity+o.Identities && inGroup.Err() == nil; i++ {
		group.Go(func() error { return o.writeIdentity(inGroup, g, root, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (o FolderOptions) writeIdentity(ctx context.Context, g *Generator, root string, i int) error {
	if err := os.MkdirAll(filepath.Join(root, name(i)), 0o755); err != nil {
		return fmt.Errorf("make folder of a person: %w", err)
	}
	for j := range o.PerIdentity {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, _ := g.JPEG(i, j, o.photo())
		if err := regular.WriteNew(filepath.Join(root, filepath.FromSlash(Key(i, j))), data, 0o644); err != nil {
			return fmt.Errorf("write photo: %w", err)
		}
	}
	return nil
}

// writeLists writes everything but the images. Landmarks are computed once more,
// which is much cheaper than rendering and needs no memory.
func (o FolderOptions) writeLists(ctx context.Context, dir string, m Manifest) error {
	if err := o.writeLandmarks(ctx, m.LandmarksFile); err != nil {
		return fmt.Errorf("write %s: %w", m.LandmarksFile, err)
	}
	if m.PairsFile != "" {
		if err := durable.WriteFile(m.PairsFile, o.pairs(), 0o644); err != nil {
			return fmt.Errorf("write pairs: %w", err)
		}
	}
	if err := durable.WriteFile(filepath.Join(dir, descriptionName), o.describe(), 0o644); err != nil {
		return fmt.Errorf("write description of faces: %w", err)
	}
	return nil
}

func (o FolderOptions) writeLandmarks(ctx context.Context, file string) error {
	w, err := durable.Create(file)
	if err != nil {
		return err
	}
	g := New(o.Seed)
	var line []byte
	for n := range o.Identities * o.PerIdentity {
		i, j := o.FirstIdentity+n/o.PerIdentity, n%o.PerIdentity
		line = append(line[:0], Key(i, j)...)
		separator := byte('\t')
		for _, v := range g.Landmarks(i, j, o.photo()) {
			line = strconv.AppendFloat(append(line, separator), v, 'f', 3, 64)
			separator = ' '
		}
		_, err := w.Write(append(line, '\n'))
		if err = errors.Join(err, ctx.Err()); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Commit()
}

// Key is the path of picture j of person i below a folder's images. As in LFW,
// pictures are numbered from one.
func Key(i, j int) string {
	return slashpath.Join(name(i), fmt.Sprintf("%s_%04d.jpg", name(i), j+1))
}

func name(i int) string { return fmt.Sprintf("id_%04d", i) }

// JPEG renders a photo as Photo does and encodes it with the quality that is one
// of the picture's circumstances.
func (g *Generator) JPEG(i, j int, o PhotoOptions) ([]byte, [10]float64) {
	img, landmarks := g.Photo(i, j, o)
	quality := g.shot(i, j, o.Hard).camera.quality
	return imgcodec.EncodeJPEG(img, quality), landmarks
}
